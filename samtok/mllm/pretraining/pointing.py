"""Supervision of the language model: which image tokens a question is about.

To answer "Find the red circle." with a box, a model must first match the words with what the image
tokens hold. Boxes as text teach that slowly, digit by digit. Here the state that predicts the first
word of an answer is compared with those of the image tokens, after a layer in the middle, so that
later layers can look where it points.

Letters: B conversations, S tokens, T image tokens of each, C channels, K questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from samtok.mllm.collate import IGNORED_LABEL
from samtok.mllm.pretraining.lessons import Lesson
from samtok.scenes import Scene

_TOKEN: Final = 16
"""Pixels along a side of an image token of the tiny model."""


class PointingTargets(NamedTuple):
    """What the questions of a batch are about."""

    rows: Tensor
    """int64, shape (K,): the conversation each is in."""
    places: Tensor
    """int64, shape (K,): of the token that predicts the first of its answer."""
    shares: Tensor
    """float32, shape (K, T + 1): how the targets' pixels lie on the image tokens, row by row; the
    last is 1 where there is no target. Sums to 1."""


def make_pointing_targets(
    scenes: Sequence[Scene], lessons: Sequence[Sequence[Lesson]], labels: Tensor
) -> PointingTargets:
    """Where the questions that are about certain things are, and where these are.

    Args:
        scenes: B, of one size.
        lessons: of each scene, as they are asked.
        labels: int64, shape (B, S), of their conversations, possibly cut off.
    """
    rows, places, shares = [], [], []
    for row, (scene, asked) in enumerate(zip(scenes, lessons, strict=True)):
        for lesson, start in zip(asked, _find_answers(labels[row]), strict=False):
            if lesson.mask_ids is not None:
                rows.append(row)
                places.append(start - 1)
                shares.append(_share_out(scene, lesson.mask_ids))
    num_tokens = scenes[0].image[::_TOKEN, ::_TOKEN, 0].size
    stacked = np.stack(shares) if shares else np.zeros((0, num_tokens + 1), np.float32)
    return PointingTargets(
        torch.tensor(rows, dtype=torch.long),
        torch.tensor(places, dtype=torch.long),
        torch.from_numpy(stacked),
    )


class PointingHead(nn.Module):
    """Compares what asks with what is seen; thrown away after pretraining.

    Args:
        width: channels C of the language model.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.key = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.nothing = nn.Parameter(torch.zeros(width))
        self.scale = width**-0.5

    def forward(
        self, states: Tensor, is_image: Tensor, targets: PointingTargets
    ) -> dict[str, Tensor]:
        """Compare.

        Args:
            states: shape (B, S, C), after a layer of the language model.
            is_image: bool, shape (B, S): the T image tokens of each conversation.
            targets: of the batch.

        Returns:
            Scalars ``pointing`` (cross entropy) and ``pointed_right``, the share of questions whose
            likeliest place is one of a target, or nowhere where there is none; 0 without questions.
        """
        queries = self.query(states[targets.rows, targets.places])
        keys = self.key(states[is_image].view(len(states), -1, states.shape[-1]))
        nowhere = self.nothing.expand(len(keys), 1, -1)
        keys = torch.cat([keys, nowhere], dim=1)[targets.rows]
        logits = (keys @ queries[:, :, None])[..., 0] * self.scale
        likeliest = targets.shares.gather(1, logits.argmax(1, keepdim=True))
        num_questions = max(1, len(targets.rows))
        return {
            "pointing": -(targets.shares * logits.log_softmax(1)).sum() / num_questions,
            "pointed_right": (likeliest > 0).sum() / num_questions,
        }


def _find_answers(labels: Tensor) -> list[int]:
    """Where answers begin."""
    is_answer = labels != IGNORED_LABEL
    begins = is_answer & ~torch.cat([torch.tensor([False]), is_answer[:-1]])
    return [int(place) for place in begins.nonzero()]


def _share_out(scene: Scene, mask_ids: Sequence[str]) -> np.ndarray:
    """float32, shape (T + 1,)."""
    height, width = (side // _TOKEN for side in scene.image.shape[:2])
    wanted = [thing.mask_id in mask_ids for thing in scene.objects]
    pixels = scene.masks[wanted].any(axis=0)
    counts = pixels.reshape(height, _TOKEN, width, _TOKEN).sum(axis=(1, 3), dtype=np.float32)
    total = counts.sum()
    shares = np.append(counts.ravel(), np.float32(total == 0))
    return shares / max(total, np.float32(1))
