"""Conversations about one image in one sequence, which reads the image once.

What they have in common comes first: everything up to the image's last token. What is each one's
own follows, one after the other, with the positions it would have alone. In a packed row each sees
the common part and itself, so losses and gradients are those of the conversations apart, while the
vision tower and the image's tokens are paid once for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from samtok.mllm.collate import EncodedExample


def join_by_image(
    encoded: Sequence[EncodedExample],
    *,
    image_token_id: int,
    capacity: int,
    max_conversations: int,
) -> list[EncodedExample]:
    """Join conversations that hold the very same tensor of pixels.

    Args:
        encoded: single conversations, none longer than `capacity`.
        image_token_id: of the image's tokens.
        capacity: most tokens of a sequence.
        max_conversations: most conversations of a sequence, at least 1.

    Returns:
        Sequences in which every conversation is once; those of an image keep their order.
    """
    of_image: dict[int, list[EncodedExample]] = {}
    for example in encoded:
        of_image.setdefault(id(example.pixel_values), []).append(example)
    return [
        join(group, image_token_id)
        for examples in of_image.values()
        for group in _cut(examples, image_token_id, capacity, max_conversations)
    ]


def join(encoded: Sequence[EncodedExample], image_token_id: int) -> EncodedExample:
    """Conversations about one image as one sequence.

    Args:
        encoded: at least one, each single; all begin with the same tokens up to the image's last.
        image_token_id: of the image's tokens.

    Raises:
        ValueError: they do not begin alike.
    """
    first = encoded[0]
    if len(encoded) == 1:
        return first
    common = _end_of_image(first, image_token_id)
    if any(not torch.equal(each.input_ids[:common], first.input_ids[:common]) for each in encoded):
        raise ValueError("conversations that share an image begin differently")

    def cat(field: str) -> torch.Tensor:
        own = [getattr(each, field)[..., common:] for each in encoded]
        return torch.cat([getattr(first, field)[..., :common], *own], dim=-1)

    lengths = torch.tensor([common, *(len(each) - common for each in encoded)])
    return EncodedExample(
        input_ids=cat("input_ids"),
        labels=cat("labels"),
        position_ids=cat("position_ids"),
        pixel_values=first.pixel_values,
        image_grid_thw=first.image_grid_thw,
        branches=torch.repeat_interleave(torch.arange(len(lengths)), lengths),
    )


def _end_of_image(example: EncodedExample, image_token_id: int) -> int:
    return int((example.input_ids == image_token_id).nonzero()[-1]) + 1


def _cut(
    examples: Sequence[EncodedExample], image_token_id: int, capacity: int, max_conversations: int
) -> Iterator[list[EncodedExample]]:
    common = _end_of_image(examples[0], image_token_id)
    group: list[EncodedExample] = []
    length = common
    for example in examples:
        own = len(example) - common
        if group and (length + own > capacity or len(group) == max_conversations):
            yield group
            group, length = [], common
        group.append(example)
        length += own
    yield group
