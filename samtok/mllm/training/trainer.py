"""The step of supervised fine-tuning, on one process or many.

A step's batch is a list of micro-batches, the *lanes*, dealt out to the processes in order; see
:mod:`samtok.training.lanes`. The loss is the mean over all answer tokens of all lanes, whatever
lane they are in, and dropout belongs to the lane, so that the result does not depend on the number
of processes but for rounding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from samtok.mllm.model import Mllm
from samtok.mllm.training.base import MllmTrainer
from samtok.mllm.training.batches import SftBatch
from samtok.mllm.training.config import SftConfig
from samtok.mllm.training.objective import AnswerLosses, AnswerObjective, count_answer_tokens
from samtok.mllm.vocabulary import mask_token_ids
from samtok.training.collectives import num_processes, sum_over_processes
from samtok.training.lanes import first_lane, seed_of_lane
from samtok.training.sharding import without_sync


class SftTrainer(MllmTrainer):
    """A model with everything a training step needs.

    Args:
        mllm: trained in place; its vocabulary has the mask words.
        config: settings.
        device: where to train.
        dtype: autocast dtype of the forward pass.
    """

    def __init__(
        self,
        mllm: Mllm,
        config: SftConfig,
        *,
        device: torch.device,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.config = config
        super().__init__(mllm, config, lambda model: AnswerObjective(model, dtype), device=device)
        ids = mask_token_ids(mllm.tokenizer)
        self._code_ids = torch.cat([ids.book_0, ids.book_1]).to(device)

    def train_step(self, lanes: Sequence[SftBatch]) -> dict[str, float]:
        """One optimizer step on this process's lanes of the batch.

        Args:
            lanes: at least one micro-batch, each with at least one answer token; as many on every
                process.

        Returns:
            Loss per answer token (of the whole batch, the same on every process), that of mask
            words alone (``word_loss``: per code word; left out where no answer has any), gradient
            norm, learning rate, and the numbers of conversations, tokens and answer tokens.
        """
        self._model.train()
        batches = [batch.to(self.device) for batch in lanes]
        conversations, tokens, answer_tokens = self._count(batches)
        first, last = first_lane(len(lanes)), len(lanes) - 1
        sums = torch.zeros(3, device=self.device)  # losses; those of code words; how many these are
        for position, batch in enumerate(batches):
            torch.manual_seed(seed_of_lane(self.config.seed, self.step, first + position))
            with without_sync(self._parallel, waits=position < last):
                losses, _, token_ids = self._parallel(batch.inputs)
                # Data-parallel training averages gradients.
                (losses.sum() / answer_tokens * num_processes()).backward()
            of_words = losses.detach()[torch.isin(token_ids, self._code_ids)]
            sums += torch.stack(
                [losses.detach().sum(), of_words.sum(), losses.new_tensor(len(of_words))]
            )
        taken = self._optimize()
        self.step += 1
        loss, word_loss, words = sum_over_processes(sums).tolist()
        return {
            "loss": loss / answer_tokens,
            **({"word_loss": word_loss / words} if words else {}),
            **taken,
            "num_conversations": float(conversations),
            "num_tokens": float(tokens),
            "num_answer_tokens": float(answer_tokens),
        }

    @torch.no_grad()
    def measure(self, batch: SftBatch) -> AnswerLosses:
        """Losses without learning from them; with FSDP every process takes part."""
        self._model.eval()
        losses: AnswerLosses = self._objective(batch.to(self.device).inputs)
        return losses

    def _count(self, batches: list[SftBatch]) -> list[int]:
        counts = torch.tensor(
            [
                [batch.num_conversations, batch.num_tokens, count_answer_tokens(batch.inputs)]
                for batch in batches
            ],
            device=self.device,
        ).sum(0)
        return sum_over_processes(counts).tolist()
