"""What is handed over between controller, rollout actors and trainer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from samtok.masks.rle import Rle
from samtok.metrics.segmentation import Overlap
from samtok.mllm.collate import EncodedExample
from samtok.mllm.group_generation import SampledAnswer
from samtok.rewards import Reward


@dataclass(frozen=True, slots=True)
class PromptTask:
    """A conversation whose last answer is to be written."""

    number: int
    """Of the prompt in the stream of prompts, from 0: a prompt has one whenever it comes."""
    row: dict[str, Any]
    """Of `columns.CONVERSATIONS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutGroup:
    """The answers to one prompt, judged."""

    number: int
    """Of the prompt."""
    task: str
    question: str
    """The last thing that the user says."""
    target: str
    """The right answer."""
    version: int
    """Of the weights that wrote the answers: the number of steps they had learned."""
    prompt: EncodedExample
    answers: list[SampledAnswer]
    """G."""
    texts: list[str]
    """G, without the word that ends a turn."""
    rewards: list[Reward]
    """G."""

    @property
    def num_tokens(self) -> int:
        """Of the prompt and all answers."""
        return len(self.prompt) + sum(len(answer.token_ids) for answer in self.answers)

    @property
    def is_flat(self) -> bool:
        """Whether all answers are worth the same."""
        return len({reward.total for reward in self.rewards}) == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """What came of a call of a rollout actor."""

    groups: list[RolloutGroup]
    rejected: dict[int, dict[str, Any]]
    """Number of a prompt that cannot be asked → its row of `columns.QUARANTINE`."""
    seconds: float
    """That the actor worked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchShare:
    """What one training worker gets of a step's batch."""

    lanes: list[list[RolloutGroup]]
    """Micro-batches, those of the first minibatch first."""
    next_prompt: int
    """Number of the first prompt that no step has used yet."""
    figures: dict[str, float]
    """Of the whole batch, every prompt tried."""
    rejected: list[dict[str, Any]]
    """Rows of `columns.QUARANTINE`; on rank 0 only."""


@dataclass(frozen=True, slots=True)
class AuditTask:
    """A held-out conversation with its true masks."""

    row: dict[str, Any]
    """Of `columns.CONVERSATIONS`."""
    true_masks: list[Rle]
    """Of the right last answer."""
    is_drawn: bool
    """Whether its masks are wanted for a picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditedAnswer:
    """A held-out answer, by its text and by its masks."""

    task: str
    question: str
    target: str
    text: str
    reward: Reward
    overlap: Overlap
    """Of all masks of the answer merged, on all true ones merged."""
    row: dict[str, Any] | None = None
    """Of the conversation, where it is drawn."""
    masks: dict[str, Rle] = field(default_factory=dict)
    """Words of question, answer and target → mask, where it is drawn."""
