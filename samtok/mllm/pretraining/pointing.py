"""Supervision of the language model: which image tokens a question is about.

To answer "Find the red circle." with a box, a model must first match the words with what the image
tokens hold. Boxes as text teach that slowly, digit by digit. Here the states from which an answer
or a box in it begins are compared with those of the image tokens, after a layer in the middle, and
the layer after it is to hold the box of what they point at. Those within a box do not point: its
first digits would tell them where.

Letters: B conversations, S tokens, T image tokens of each, C channels, K states that point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from samtok.mllm.collate import IGNORED_LABEL
from samtok.mllm.pretraining.lessons import Lesson, relative_box
from samtok.scenes import Scene

_TOKEN: Final = 16
"""Pixels along a side of an image token of the tiny model."""


class PointingTargets(NamedTuple):
    """What the questions of a batch are about."""

    rows: Tensor
    """int64, shape (K,): the conversation each state is in."""
    places: Tensor
    """int64, shape (K,): its token, one that predicts the first token of an answer or the first
    digit of a box."""
    shares: Tensor
    """float32, shape (K, T + 1): how the targets' pixels lie on the image tokens, row by row; the
    last is 1 where there is no target. Sums to 1."""
    boxes: Tensor
    """float32, shape (K, 4): xyxy of the one thing, fractions of the picture; NaN of others."""


def make_pointing_targets(
    scenes: Sequence[Scene],
    lessons: Sequence[Sequence[Lesson]],
    labels: Tensor,
    *,
    box_token_id: int,
) -> PointingTargets:
    """Where the questions that are about certain things are, and where these are.

    Args:
        scenes: B, of one size.
        lessons: of each scene, as they are asked.
        labels: int64, shape (B, S), of their conversations, possibly cut off.
        box_token_id: of ``[``, with which a box begins.
    """
    rows: list[int] = []
    places: list[int] = []
    shares, boxes = [], []
    for row, (scene, asked) in enumerate(zip(scenes, lessons, strict=True)):
        for lesson, (start, end) in zip(asked, _find_answers(labels[row]), strict=False):
            pointed = [] if lesson.mask_ids is None else [(start - 1, lesson.mask_ids)]
            opened = start + (labels[row, start:end] == box_token_id).nonzero()[:, 0]
            things = [(mask_id,) for mask_id in lesson.boxed]
            pointed += zip(opened.tolist(), things, strict=False)
            for place, mask_ids in pointed:
                rows.append(row)
                places.append(place)
                shares.append(_share_out(scene, mask_ids))
                boxes.append(_box(scene, mask_ids))
    num_tokens = scenes[0].image[::_TOKEN, ::_TOKEN, 0].size
    return PointingTargets(
        torch.tensor(rows, dtype=torch.long),
        torch.tensor(places, dtype=torch.long),
        torch.from_numpy(np.array(shares, np.float32).reshape(-1, num_tokens + 1)),
        torch.tensor(boxes).view(-1, 4),
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
        self.box = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4))
        self.scale = width**-0.5

    def forward(
        self, states: Tensor, later_states: Tensor, is_image: Tensor, targets: PointingTargets
    ) -> dict[str, Tensor]:
        """Compare.

        Args:
            states: shape (B, S, C), after a layer of the language model.
            later_states: likewise, after the next one.
            is_image: bool, shape (B, S): the T image tokens of each conversation.
            targets: of the batch.

        Returns:
            Scalars, means over states (0 without any): ``pointing`` (cross entropy),
            ``pointed_box`` (L1, of those that point at one thing), and ``pointed_right``, the share
            whose likeliest place is one of a target, or nowhere where there is none.
        """
        rows, places, shares, boxes = targets
        queries = self.query(states[rows, places])
        keys = self.key(states[is_image].view(len(states), -1, states.shape[-1]))
        nowhere = self.nothing.expand(len(keys), 1, -1)
        keys = torch.cat([keys, nowhere], dim=1)
        # With those of all conversations, then the own: indexing keys by rows would add up their
        # gradients in any order.
        all_logits = torch.einsum("kc,btc->kbt", queries, keys) * self.scale
        logits = all_logits[torch.arange(len(rows), device=rows.device), rows]
        losses = -(shares * logits.log_softmax(1)).sum(1)
        is_right = shares.gather(1, logits.argmax(1, keepdim=True))[:, 0] > 0
        has_box = ~boxes.isnan().any(1)
        distances = (self.box(later_states[rows, places]) - boxes)[has_box].abs().mean(1)
        return {
            "pointing": _mean(losses),
            "pointed_box": _mean(distances),
            "pointed_right": _mean(is_right.float()),
        }


def _mean(values: Tensor) -> Tensor:
    return values.sum() / max(1, len(values))


def _find_answers(labels: Tensor) -> list[tuple[int, int]]:
    """Where answers begin and end."""
    is_answer = (labels != IGNORED_LABEL).long()
    edges = is_answer.diff(prepend=torch.zeros(1), append=torch.zeros(1)).nonzero().flatten()
    return [(int(start), int(end)) for start, end in edges.view(-1, 2)]


def _box(scene: Scene, mask_ids: Sequence[str]) -> tuple[float, ...]:
    if len(mask_ids) != 1:
        return (float("nan"),) * 4
    thing = next(thing for thing in scene.objects if thing.mask_id == mask_ids[0])
    return relative_box(scene, thing)


def _share_out(scene: Scene, mask_ids: Sequence[str]) -> np.ndarray:
    """float32, shape (T + 1,)."""
    height, width = (side // _TOKEN for side in scene.image.shape[:2])
    wanted = [thing.mask_id in mask_ids for thing in scene.objects]
    pixels = scene.masks[wanted].any(axis=0)
    counts = pixels.reshape(height, _TOKEN, width, _TOKEN).sum(axis=(1, 3), dtype=np.float32)
    total = counts.sum()
    shares = np.append(counts.ravel(), np.float32(total == 0))
    return shares / max(total, np.float32(1))
