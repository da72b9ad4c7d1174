"""Calls of many clients through one tokenizer: a backbone pass per image, however many ask.

- A batch is grouped by image, and images of earlier batches are in the cache.
- Masks of one image to be encoded go through the heads together, whoever sent them.
- Codes to be decoded go call by call: an answer is bit for bit what the library gives for the call
  alone, which heads run on more masks at once do not quite keep (logits differ in the last digits).
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from pipelines.image_decoding import decode_image
from pipelines.serving.calls import (
    Call,
    DecodeCall,
    Decoded,
    EncodeCall,
    Encoded,
    Refused,
    SentImage,
    Served,
)
from samtok.errors import InputError
from samtok.masks import decode_rles, encode_rle
from samtok.metrics.segmentation import mask_iou
from samtok.recently_used import RecentlyUsed
from samtok.tokenizer import ImageEmbeddings, SAMTok
from samtok.tokenizer.box_masks import find_masks_in_boxes
from samtok.tokenizer.point_masks import find_mask_at_points

Answer = Encoded | Decoded | Refused


class TokenizerEngine:
    """A tokenizer and its cache; used by one thread at a time.

    Args:
        tokenizer: any.
        cache_bytes: for embeddings of images seen lately.
    """

    def __init__(self, tokenizer: SAMTok, *, cache_bytes: int) -> None:
        self.tokenizer = tokenizer
        self.fingerprint = tokenizer.fingerprint
        self.cache: RecentlyUsed[str, ImageEmbeddings] = RecentlyUsed(
            cache_bytes, lambda embeddings: embeddings.num_bytes
        )
        """By the SHA-256 of the image's bytes."""

    def run(self, calls: Sequence[Call]) -> list[Answer]:
        """Answers in the order of the calls; one that cannot be used does not touch the others."""
        groups: defaultdict[str, list[int]] = defaultdict(list)
        for position, call in enumerate(calls):
            groups[call.image.sha256].append(position)
        answers: dict[int, Answer] = {}
        for positions in groups.values():
            try:
                self._run_image(calls, positions, answers)
            except InputError as error:
                answers.update({p: Refused.of(error) for p in positions if p not in answers})
        return [answers[position] for position in range(len(calls))]

    def _run_image(
        self, calls: Sequence[Call], positions: Sequence[int], answers: dict[int, Answer]
    ) -> None:
        """Answer the calls at `positions`, all on one image."""
        image = calls[positions[0]].image
        embeddings = self.cache.get(image.sha256)
        was_there = embeddings is not None
        if embeddings is None:
            embeddings = self._embed(image)
            self.cache.keep(image.sha256, embeddings)
        served = {
            p: Served(self.fingerprint, was_there or p != positions[0], len(calls))
            for p in positions
        }
        encodes = [
            (p, self._find_masks(embeddings, call))
            for p in positions
            if isinstance(call := calls[p], EncodeCall)
        ]
        decodes = [(p, call) for p in positions if isinstance(call := calls[p], DecodeCall)]
        all_codes = self._encode(embeddings, [call for _, call in encodes])
        for (position, call), codes in zip(encodes, all_codes, strict=True):
            iou = self._reconstruct(embeddings, call, codes) if call.reconstruct else None
            pairs = tuple((first, second) for first, second in codes.tolist())
            answers[position] = Encoded(call.masks, pairs, iou, served[position])
        for position, call in decodes:
            masks, confidence = self.tokenizer.decode_with_confidence(
                embeddings, call.codes, call.size
            )
            rles = tuple(map(encode_rle, masks.numpy()))
            answers[position] = Decoded(rles, tuple(confidence.tolist()), served[position])

    def _embed(self, image: SentImage) -> ImageEmbeddings:
        declared = (image.height, image.width)
        return self.tokenizer.embed(decode_image(image.content, "the image", declared))

    def _find_masks(self, embeddings: ImageEmbeddings, call: EncodeCall) -> EncodeCall:
        """The call with masks in the place of its boxes or points."""
        if call.boxes:
            found = find_masks_in_boxes(self.tokenizer, embeddings, np.array(call.boxes))
        elif call.points:
            found = np.stack([self._find_mask(embeddings, points) for points in call.points])
        else:
            return call
        return dataclasses.replace(call, masks=tuple(map(encode_rle, found)), boxes=(), points=())

    def _find_mask(
        self, embeddings: ImageEmbeddings, points: Sequence[tuple[int, int, bool]]
    ) -> np.ndarray:
        x, y, is_inside = zip(*points, strict=True)
        return find_mask_at_points(
            self.tokenizer, embeddings, np.array([x, y]).T, np.array(is_inside)
        )

    def _encode(self, embeddings: ImageEmbeddings, calls: Sequence[EncodeCall]) -> list[np.ndarray]:
        """Codes of each call, from one pass over the masks of all; shapes (N, 2)."""
        if not calls:
            return []
        masks = [mask for call in calls for mask in call.masks]
        codes = self.tokenizer.encode(embeddings, masks).numpy()
        return np.split(codes, np.cumsum([len(call.masks) for call in calls])[:-1])

    def _reconstruct(
        self, embeddings: ImageEmbeddings, call: EncodeCall, codes: np.ndarray
    ) -> tuple[float, ...]:
        masks = decode_rles(call.masks, call.image.height, call.image.width)
        return tuple(mask_iou(self.tokenizer.decode(embeddings, codes).numpy(), masks).tolist())
