"""Conversations become batches: token ids, labels of the answers, pixels; padded or packed.

Encoding needs the processor alone, so CPU workers do it and never hold a model. Texts are tokenized
piece by piece: a prompt gets the very ids that generation starts from, and labels need no search.

Letters: S tokens, P patches, D values of a patch, B rows, N examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import torch
from PIL import Image
from torch.nn.utils.rnn import pad_sequence

from samtok.errors import InputError
from samtok.mllm.positions import find_positions
from samtok.mllm.prompts import Piece, render_prompt, split_answers
from samtok.tasks.conversation import Conversation, Message
from samtok.tokenizer.image_transform import ImageInput, load_rgb

IGNORED_LABEL: Final = -100
"""Label of what no loss is taken from."""


class EncodedImage(NamedTuple):
    """An image as a model takes it."""

    pixel_values: torch.Tensor
    """float32, shape (P, D)."""
    image_grid_thw: torch.Tensor
    """int64, shape (1, 3): time, height, width in patches."""


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation with its image."""

    conversation: Conversation
    """What is said."""
    image: ImageInput | EncodedImage
    """What it is about."""


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """One sequence of a model, without padding."""

    input_ids: torch.Tensor
    """int64, shape (S,); the image's placeholder repeated for each of its tokens."""
    labels: torch.Tensor
    """int64, shape (S,): the ids of answers, ends of turns included; -100 elsewhere."""
    position_ids: torch.Tensor
    """int64, shape (3, S), see :mod:`samtok.mllm.positions`."""
    pixel_values: torch.Tensor
    """float32, shape (P, D)."""
    image_grid_thw: torch.Tensor
    """int64, shape (1, 3): time, height, width in patches."""
    branches: torch.Tensor
    """int64, shape (S,): 0 everywhere in a single conversation. Where several about one image share
    it (:mod:`samtok.mllm.shared_image`), 0 for what they have in common, which comes first, and
    1, 2, … for what is each one's own."""

    def __len__(self) -> int:
        return len(self.input_ids)

    @property
    def num_conversations(self) -> int:
        """In the sequence."""
        return max(1, int(self.branches.max()))


def encode_example(example: Example, processor: Any, max_length: int) -> EncodedExample:
    """Turn a conversation into the tensors it is learned from.

    Args:
        example: conversation and image.
        processor: of the model.
        max_length: most tokens allowed, the image's included.

    Raises:
        InputError: ``conversation_too_long``, ``control_word_in_text``, ``image_too_narrow``, or
            what :func:`~samtok.tokenizer.image_transform.load_rgb` raises.
        ConfigError: the chat template rewrites earlier turns.
    """
    pieces = split_answers(processor, example.conversation.messages)
    encoded = _encode(pieces, example.image, processor)
    if len(encoded) > max_length:
        raise InputError(
            "conversation_too_long",
            f"conversation {example.conversation.conversation_id} takes {len(encoded)} tokens; at "
            f"most {max_length} are allowed: raise the limit, or lower the processor's image size",
        )
    return encoded


def encode_image(image: ImageInput, processor: Any) -> EncodedImage:
    """Turn an image into patches; several conversations about it can take the result.

    Raises:
        InputError: ``image_too_narrow``, or what
            :func:`~samtok.tokenizer.image_transform.load_rgb` raises.
    """
    picture = Image.fromarray(load_rgb(image))
    try:
        inputs = processor.image_processor(images=[picture], return_tensors="pt")
    except ValueError as error:
        raise InputError(
            "image_too_narrow",
            f"an image of {picture.width} x {picture.height} pixels is refused: {error}",
        ) from error
    return EncodedImage(inputs["pixel_values"], inputs["image_grid_thw"])


def encode_prompt(messages: Sequence[Message], image: ImageInput, processor: Any) -> EncodedExample:
    """Turn an open conversation, whose last turn is the user's, into what generation starts from.

    Raises:
        InputError: as :func:`encode_example`, but for the length.
    """
    return _encode([Piece(render_prompt(processor, messages), is_answer=False)], image, processor)


def collate(encoded: Sequence[EncodedExample], *, pad_token_id: int) -> dict[str, torch.Tensor]:
    """One row for each example, padded on the right to the longest.

    Args:
        encoded: N examples.
        pad_token_id: any id; padding is masked.

    Returns:
        What ``model(**batch)`` takes; its loss is the mean over answer tokens: input_ids,
        attention_mask (1 for tokens) and labels (B, S), position_ids (3, B, S), pixel_values
        (P, D) and image_grid_thw (B, 3) of all images in order of rows.

    Raises:
        ValueError: conversations share an image; only packed rows keep them apart.
    """
    _refuse_shared(encoded, "rows with a mask of tokens alone")
    rows = [_Row((example,)) for example in encoded]
    batch = _stack(rows, pad_token_id)
    lengths = torch.tensor([len(example) for example in encoded])
    attends = torch.arange(int(lengths.max())) < lengths[:, None]
    return {**batch, "attention_mask": attends.long()}


def pack(
    encoded: Sequence[EncodedExample], *, capacity: int, pad_token_id: int, attention: str = "sdpa"
) -> dict[str, torch.Tensor]:
    """Several examples in a row, each blind to the others; rows padded on the right.

    Longest examples are placed first, each in the first row with room for it.

    Args:
        encoded: N examples, none longer than `capacity`.
        capacity: most tokens of a row.
        pad_token_id: any id; padding is masked.
        attention: the model's attention implementation (``model.config._attn_implementation``).
            ``"sdpa"`` and ``"eager"`` get a block-diagonal mask, (B, 1, S, S). FlashAttention gets
            no mask: it tells examples apart where positions start anew, and only in a batch of one
            row, so all go into one, whatever `capacity` (not run yet).

    Returns:
        As :func:`collate`, with position_ids (4, B, S): positions in the text, then the three of
        M-RoPE, all starting anew with each example.

    Raises:
        ValueError: an example does not fit, or conversations share an image and FlashAttention,
            which has no masks, is to keep them apart.
    """
    is_flash = attention.startswith("flash_attention")
    if is_flash:
        _refuse_shared(encoded, attention)
    rows = [_Row(encoded)] if is_flash else _fill_rows(encoded, capacity)
    batch = _stack(rows, pad_token_id)
    length = batch["input_ids"].shape[1]
    text_positions = _pad([row.text_positions() for row in rows])
    batch["position_ids"] = torch.cat([text_positions[None], batch["position_ids"]])
    if is_flash:
        return batch
    segments = torch.stack([row.segments(length) for row in rows])
    branches = _pad([row.join("branches") for row in rows])
    is_same = segments[:, :, None] == segments[:, None, :]
    attends = (is_same & see_own_branch(branches))[:, None]
    if attention == "eager":  # added to the scores
        lowest = torch.finfo(torch.float32).min
        return {**batch, "attention_mask": torch.where(attends, 0.0, lowest)}
    return {**batch, "attention_mask": attends}


def see_own_branch(branches: torch.Tensor) -> torch.Tensor:
    """Who sees whom: every place what is before it, in the common part or in its own branch.

    Args:
        branches: int64, shape (B, S), 0 for the common part.

    Returns:
        bool, shape (B, S, S): rows see columns; each at least itself.
    """
    length = branches.shape[1]
    is_seen = (branches[:, None, :] == 0) | (branches[:, :, None] == branches[:, None, :])
    return is_seen & torch.ones(length, length, dtype=torch.bool).tril()


@dataclass(frozen=True, slots=True)
class _Row:
    """Examples that share a row of a batch."""

    examples: Sequence[EncodedExample]

    def join(self, field: str) -> torch.Tensor:
        return torch.cat([getattr(example, field) for example in self.examples], dim=-1)

    def segments(self, length: int) -> torch.Tensor:
        """Number of the example each place belongs to; padding counts as one more."""
        lengths = [len(example) for example in self.examples]
        lengths.append(length - sum(lengths))
        return torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))

    def text_positions(self) -> torch.Tensor:
        """Place of each token in its conversation."""
        return torch.cat([_text_positions(example.branches) for example in self.examples])


def _stack(rows: Sequence[_Row], pad_token_id: int) -> dict[str, torch.Tensor]:
    examples = [example for row in rows for example in row.examples]

    def pad(field: str, value: int) -> torch.Tensor:
        return _pad([row.join(field).movedim(-1, 0) for row in rows], value)

    return {
        "input_ids": pad("input_ids", pad_token_id),
        "labels": pad("labels", IGNORED_LABEL),
        "position_ids": pad("position_ids", 0).movedim(-1, 0),
        "pixel_values": torch.cat([example.pixel_values for example in examples]),
        "image_grid_thw": torch.cat([example.image_grid_thw for example in examples]),
    }


def _pad(columns: Sequence[torch.Tensor], value: int = 0) -> torch.Tensor:
    return pad_sequence(list(columns), batch_first=True, padding_value=value)


def _text_positions(branches: torch.Tensor) -> torch.Tensor:
    """Each branch goes on from where the common part ends."""
    _, counts = torch.unique_consecutive(branches, return_counts=True)
    starts = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    common = torch.where(branches > 0, (branches == 0).sum(), 0)
    return torch.arange(len(branches)) - starts + common


def _refuse_shared(encoded: Sequence[EncodedExample], where: str) -> None:
    if any(example.num_conversations > 1 for example in encoded):
        raise ValueError(f"conversations that share an image would see each other in {where}")


def _fill_rows(encoded: Sequence[EncodedExample], capacity: int) -> list[_Row]:
    rows: list[list[EncodedExample]] = []
    for example in sorted(encoded, key=len, reverse=True):
        if len(example) > capacity:
            raise ValueError(f"an example of {len(example)} tokens does not fit rows of {capacity}")
        room = (row for row in rows if sum(map(len, row)) + len(example) <= capacity)
        row = next(room, None)
        if row is None:
            rows.append([example])
        else:
            row.append(example)
    return [_Row(row) for row in rows]


def _encode(
    pieces: Sequence[Piece], image: ImageInput | EncodedImage, processor: Any
) -> EncodedExample:
    encoded = image if isinstance(image, EncodedImage) else encode_image(image, processor)
    pixels, grids = encoded
    merge_size = processor.image_processor.merge_size
    num_image_tokens = int(grids.prod()) // merge_size**2
    texts = [piece.text for piece in pieces]
    ids_of_pieces = processor.tokenizer(texts, add_special_tokens=False)["input_ids"]
    ids: list[int] = []
    labels: list[int] = []
    for piece, piece_ids in zip(pieces, ids_of_pieces, strict=True):
        for token_id in piece_ids:
            times = num_image_tokens if token_id == processor.image_token_id else 1
            ids += [token_id] * times
            labels += [token_id if piece.is_answer else IGNORED_LABEL] * times
    input_ids = torch.tensor(ids)
    return EncodedExample(
        input_ids=input_ids,
        labels=torch.tensor(labels),
        position_ids=find_positions(input_ids, processor.image_token_id, grids, merge_size),
        pixel_values=pixels,
        image_grid_thw=grids,
        branches=torch.zeros_like(input_ids),
    )
