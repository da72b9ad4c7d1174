"""SAMTok: the front door of the tokenizer. Images and masks in, codes out, and back.

Dimension letters: B images, N masks, H W pixels, C channels.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F

from samtok import masks as mask_codec
from samtok.tokenizer import checkpoint
from samtok.tokenizer.confidence import expected_overlap
from samtok.tokenizer.config import TokenizerConfig
from samtok.tokenizer.device import autocast, choose_device, choose_dtype
from samtok.tokenizer.embeddings import ImageEmbeddings
from samtok.tokenizer.image_transform import ImageInput, load_rgb, normalize_images, resize_image
from samtok.tokenizer.network import (
    DecodedMasks,
    ImageFeatures,
    TokenizerNetwork,
    make_mask_prompts,
    normalize_boxes,
)
from samtok.tokenizer.residual_quantizer import MISSING_CODE

MASK_LOGIT_THRESHOLD: Final = 0.5
"""A pixel is inside where its logit exceeds this (published; a probability of about 0.62)."""

_MASKS_PER_CHUNK: Final = 32
_PIXELS_PER_CHUNK: Final = 1 << 25
_IMAGES_PER_CHUNK: Final = 8
_EMBED_WEIGHTS: Final = re.compile(
    r"\.(image_encoder\.|no_mem_embed$|sam_mask_decoder\.conv_s[01]\.)"
)

Masks = np.ndarray | torch.Tensor | Sequence[mask_codec.Rle]
Codes = torch.Tensor | np.ndarray | Sequence[Sequence[int]]


class SAMTok:
    """Turns regions of an image into pairs of codes, and codes back into masks.

    Results are on the CPU. Calls do not change the tokenizer or the embeddings they are given.

    Args:
        network: the network, weights loaded.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, …
        dtype: ``"auto"``, ``"float32"`` or ``"bfloat16"`` (autocast; weights stay float32).
    """

    def __init__(
        self,
        network: TokenizerNetwork,
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
    ) -> None:
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        self.network = network.to(self.device).eval().requires_grad_(False)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        device: str | torch.device = "auto",
        dtype: str | torch.dtype = "auto",
        config: TokenizerConfig | None = None,
    ) -> SAMTok:
        """Load a tokenizer.

        Args:
            source: ``"tiny"`` (packaged), a folder with ``config.json`` and
                ``model.safetensors`` (local, ``s3://…`` or a hub id), or a published
                ``mask_tokenizer_256x2.pth``.
            device: where to run.
            dtype: ``"auto"`` is bfloat16 autocast on CUDA and float32 on the CPU.
            config: shape of the model, for a weights file that has no ``config.json`` beside it
                and is none of the named sizes.

        Raises:
            CheckpointError: files are missing, unsafe or do not fit the config.
        """
        return cls(checkpoint.load_network(source, config), device=device, dtype=dtype)

    @classmethod
    def from_config(
        cls, config: TokenizerConfig, *, device: str | torch.device = "auto", seed: int = 0
    ) -> SAMTok:
        """A tokenizer with random weights; the same seed gives the same weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(TokenizerNetwork(config), device=device)

    @classmethod
    def from_sam2(
        cls,
        weights: str | Path,
        config: TokenizerConfig,
        *,
        device: str | torch.device = "auto",
        seed: int = 0,
    ) -> SAMTok:
        """A tokenizer to be trained, started from public SAM 2.1 weights.

        Args:
            weights: ``sam2.1_hiera_*.pt``.
            config: of the same size.
            device: where to run.
            seed: of what the weights lack: mask token and codebooks.

        Raises:
            CheckpointError: the file is unsafe or of another size.
        """
        tokenizer = cls.from_config(config, device=device, seed=seed)
        checkpoint.load_sam2_weights(tokenizer.network, weights)
        return tokenizer

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``config.json`` and ``model.safetensors`` to a local folder; returns it."""
        return checkpoint.save_network(self.network, folder)

    @property
    def config(self) -> TokenizerConfig:
        """Shape of the model."""
        return self.network.config

    @property
    def fingerprint(self) -> str:
        """sha256 of the weights (names, shapes and values), in hexadecimal."""
        return _hash_weights(checkpoint.published_state_dict(self.network))

    @property
    def backbone_fingerprint(self) -> str:
        """sha256 of all that :meth:`embed` depends on, in hexadecimal.

        The weights of image encoder, no-memory embedding and the decoder's two projections, and the
        settings that they do not show (input size, heads and windows of the trunk). Tokenizers that
        differ elsewhere, in mask encoder, decoder or codebooks, share it, and with it embeddings.
        """
        weights = checkpoint.published_state_dict(self.network)
        return _hash_weights(
            {name: tensor for name, tensor in weights.items() if _EMBED_WEIGHTS.search(name)},
            json.dumps([self.config.image_size, dataclasses.asdict(self.config.trunk)]),
        )

    def copy_codebooks(self) -> tuple[np.ndarray, np.ndarray]:
        """What the codes stand for, to compare codes without the tokenizer.

        Returns:
            Rows of both books, float32, shape (2, K, C), and how often each code was in use lately,
            float32, shape (2, K), in masks per training step.
        """
        weights = self.network.quantizer.state_dict()
        depth = self.config.codebook_depth
        rows, usage = (
            torch.stack([weights[f"codebooks.{book}.{name}"] for book in range(depth)])
            for name in ("weight", "cluster_size_ema")
        )
        return rows[:, :-1].cpu().numpy().copy(), usage.cpu().numpy().copy()

    @torch.no_grad()
    def embed(
        self,
        images: ImageInput | Sequence[ImageInput],
        *,
        sizes: Sequence[tuple[int, int]] | None = None,
    ) -> ImageEmbeddings:
        """Run the backbone, once per image.

        Args:
            images: one image or several: PIL, uint8 RGB (H, W, 3) in 0..255, or a path.
            sizes: original (height, width) of each image, where the images were already brought
                to L x L by :func:`~samtok.tokenizer.image_transform.resize_image`.

        Returns:
            Embeddings of B images, reusable for any number of calls.

        Raises:
            InputError: an image cannot be read or has the wrong form.
        """
        is_several = isinstance(images, Sequence) and not isinstance(images, str)
        batch: list[ImageInput] = list(images) if is_several else [images]  # type: ignore[list-item, arg-type]
        arrays = [load_rgb(image) for image in batch]
        known_sizes = tuple(sizes) if sizes is not None else tuple(a.shape[:2] for a in arrays)
        if len(known_sizes) != len(arrays):
            raise ValueError(f"{len(arrays)} images, but sizes has {len(known_sizes)} entries")
        parts = [
            self._run_backbone(arrays[start : start + _IMAGES_PER_CHUNK])
            for start in range(0, len(arrays), _IMAGES_PER_CHUNK)
        ]
        if not parts:
            raise ValueError("embed needs at least one image")
        levels = zip(*parts, strict=True)
        whole = parts[0] if len(parts) == 1 else ImageFeatures(*map(torch.cat, levels))
        return ImageEmbeddings(whole.image, whole.fine, whole.middle, known_sizes)

    @torch.no_grad()
    def encode(
        self,
        image_or_embeddings: ImageInput | ImageEmbeddings,
        masks: Masks,
        boxes: np.ndarray | torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Codes of masks of one image.

        Args:
            image_or_embeddings: the image, or its embeddings (one image).
            masks: bool (N, H, W) at the image's own size, or a list of N COCO RLEs.
            boxes: float, shape (N, 4), xyxy pixels with x1, y1 the last pixel inside; computed
                from the masks where not given.

        Returns:
            int64, shape (N, 2), per-book codes in 0..255, on the CPU.

        Raises:
            InputError: sizes differ, or a mask is empty and no box is given.
        """
        embeddings = self._embed_once(image_or_embeddings)
        return torch.cat(
            [
                self.network.quantizer(v).codes.cpu()
                for v in self._embed_masks(embeddings, masks, boxes)
            ]
            or [torch.zeros(0, self.config.codebook_depth, dtype=torch.long)]
        )

    @torch.no_grad()
    def decode(
        self,
        image_or_embeddings: ImageInput | ImageEmbeddings,
        codes: Codes,
        size: tuple[int, int] | None = None,
    ) -> torch.Tensor:
        """Masks of codes on one image.

        Args:
            image_or_embeddings: the image, or its embeddings (one image).
            codes: integers, shape (N, 2), 0..255; a missing second code is -1 and the mask is
                then decoded from the first alone.
            size: (height, width) of the masks; the image's own where not given.

        Returns:
            bool, shape (N, H, W), on the CPU.

        Raises:
            ValueError: a code is out of range.
        """
        return self.decode_with_confidence(image_or_embeddings, codes, size)[0]

    @torch.no_grad()
    def decode_with_confidence(
        self,
        image_or_embeddings: ImageInput | ImageEmbeddings,
        codes: Codes,
        size: tuple[int, int] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As :meth:`decode`, and how sure each mask is.

        Returns:
            bool, shape (N, H, W), and float32, shape (N,), 0..1, see
            :func:`~samtok.tokenizer.confidence.expected_overlap`; on the CPU.

        Raises:
            ValueError: a code is out of range.
        """
        vectors = self.network.quantizer.look_up(self._check_codes(codes).to(self.device))
        return self._decode_full(image_or_embeddings, vectors, size)

    @torch.no_grad()
    def decode_vectors(
        self,
        image_or_embeddings: ImageInput | ImageEmbeddings,
        vectors: torch.Tensor,
        size: tuple[int, int] | None = None,
    ) -> torch.Tensor:
        """Masks of vectors, quantized or not, on one image; see :meth:`decode`.

        Args:
            image_or_embeddings: the image, or its embeddings (one image).
            vectors: float32, shape (N, C), e.g. of :meth:`embed_masks`.
            size: (height, width) of the masks; the image's own where not given.

        Returns:
            bool, shape (N, H, W), on the CPU.
        """
        return self._decode_full(image_or_embeddings, vectors, size)[0]

    def _decode_full(
        self,
        image_or_embeddings: ImageInput | ImageEmbeddings,
        vectors: torch.Tensor,
        size: tuple[int, int] | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Masks (N, H, W) and their confidence (N,) on the CPU."""
        embeddings = self._embed_once(image_or_embeddings)
        height, width = size or embeddings.sizes[0]
        full = torch.empty(len(vectors), height, width, dtype=torch.bool)
        confidence = [torch.empty(0)]
        masks_per_chunk = max(1, _PIXELS_PER_CHUNK // (height * width))
        done = 0
        for decoded in self._decode_chunks(embeddings, vectors):
            confidence.append(expected_overlap(decoded.logits, MASK_LOGIT_THRESHOLD).cpu())
            for logits in decoded.logits.split(masks_per_chunk):
                upsampled = F.interpolate(
                    logits.unsqueeze(1), size=(height, width), mode="bilinear", align_corners=False
                )
                inside = upsampled.squeeze(1) > MASK_LOGIT_THRESHOLD
                full[done : done + len(logits)] = inside.cpu()
                done += len(logits)
        return full, torch.cat(confidence)

    @torch.no_grad()
    def embed_masks(
        self,
        image_or_embeddings: ImageInput | ImageEmbeddings,
        masks: Masks,
        boxes: np.ndarray | torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Continuous mask embeddings, before quantization; arguments as for :meth:`encode`.

        Returns:
            float32, shape (N, C), on the CPU.
        """
        embeddings = self._embed_once(image_or_embeddings)
        return torch.cat(
            [vectors.cpu() for vectors in self._embed_masks(embeddings, masks, boxes)]
            or [torch.zeros(0, self.config.d_model)]
        )

    def decode_logits(
        self, image_or_embeddings: ImageInput | ImageEmbeddings, codes: Codes
    ) -> Iterator[DecodedMasks]:
        """Low-resolution logits of codes, in chunks of bounded memory; arguments as for decode."""
        vectors = self.network.quantizer.look_up(self._check_codes(codes).to(self.device))
        return self._decode_chunks(self._embed_once(image_or_embeddings), vectors)

    def _decode_chunks(
        self, embeddings: ImageEmbeddings, vectors: torch.Tensor
    ) -> Iterator[DecodedMasks]:
        features = self._features(embeddings)
        for start in range(0, len(vectors), _MASKS_PER_CHUNK):
            chunk = vectors[start : start + _MASKS_PER_CHUNK].to(self.device)
            with torch.no_grad(), autocast(self.device, self.dtype):
                yield self.network.decode_vectors(features, chunk)

    def _run_backbone(self, arrays: list[np.ndarray]) -> ImageFeatures:
        pixels = np.stack([resize_image(array, self.config.image_size) for array in arrays])
        images = normalize_images(torch.from_numpy(pixels).to(self.device))
        with autocast(self.device, self.dtype):
            return self.network.embed_images(images)

    def _embed_once(self, image_or_embeddings: ImageInput | ImageEmbeddings) -> ImageEmbeddings:
        if not isinstance(image_or_embeddings, ImageEmbeddings):
            return self.embed(image_or_embeddings)
        if len(image_or_embeddings) != 1:
            raise ValueError(
                f"masks belong to one image, but the embeddings hold {len(image_or_embeddings)}; "
                "pass embeddings[i]"
            )
        return image_or_embeddings

    def _features(self, embeddings: ImageEmbeddings) -> ImageFeatures:
        """The maps on this tokenizer's device, float32; autocast lowers them where it pays."""
        moved = embeddings.to(self.device, torch.float32)
        return ImageFeatures(moved.image, moved.fine, moved.middle)

    def _embed_masks(
        self,
        embeddings: ImageEmbeddings,
        masks: Masks,
        boxes: np.ndarray | torch.Tensor | None,
    ) -> Iterator[torch.Tensor]:
        height, width = embeddings.sizes[0]
        num_masks = len(masks)
        if boxes is not None and tuple(boxes.shape) != (num_masks, 4):
            raise ValueError(f"boxes have shape {tuple(boxes.shape)}; expected ({num_masks}, 4)")
        features = self._features(embeddings)
        step = max(1, min(_MASKS_PER_CHUNK, _PIXELS_PER_CHUNK // (height * width)))
        for start in range(0, num_masks, step):
            array = mask_codec.as_mask_array(masks[start : start + step], height, width)
            chunk_boxes = _boxes_of(array, None if boxes is None else boxes[start : start + step])
            on_device = torch.from_numpy(array).to(self.device)
            prompts = make_mask_prompts(on_device, self.config.low_res_size)
            fractions = normalize_boxes(chunk_boxes.to(self.device), height, width)
            with torch.no_grad(), autocast(self.device, self.dtype):
                vectors = self.network.encode_masks(features, prompts, fractions)
            yield vectors.float()

    def _check_codes(self, codes: Codes) -> torch.Tensor:
        tensor = torch.as_tensor(codes, dtype=torch.long).clone()
        depth, size = self.config.codebook_depth, self.config.codebook_size
        if len(tensor) == 0:
            return tensor.view(0, depth)
        if tensor.ndim != 2 or tensor.shape[1] != depth:
            raise ValueError(f"codes have shape {tuple(tensor.shape)}; expected (N, {depth})")
        lowest = torch.tensor([0] + [MISSING_CODE] * (depth - 1))
        if bool(((tensor < lowest) | (tensor >= size)).any()):
            raise ValueError(
                f"codes must lie in 0..{size - 1} per book (later books may be -1 for missing); "
                f"received {tensor.amin(0).tolist()} to {tensor.amax(0).tolist()}"
            )
        return tensor


def _hash_weights(weights: dict[str, torch.Tensor], settings: str = "") -> str:
    digest = hashlib.sha256(settings.encode())
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _boxes_of(masks: np.ndarray, boxes: np.ndarray | torch.Tensor | None) -> torch.Tensor:
    if boxes is None:
        return torch.from_numpy(mask_codec.compute_boxes(masks))
    return torch.as_tensor(boxes, dtype=torch.float32)
