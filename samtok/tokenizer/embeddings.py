"""Image embeddings: what one backbone pass leaves behind, reusable for any number of masks."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True, eq=False)
class ImageEmbeddings:
    """Embeddings of B images.

    Nothing in this project writes into the tensors, so one object may serve many calls at once.
    ``len()``, indexing by int or slice, and :meth:`to` give new objects that share storage where
    torch does.
    """

    image: torch.Tensor
    """shape (B, C, L/16, L/16): coarsest kept level with the no-memory embedding added."""
    fine: torch.Tensor
    """shape (B, C/8, L/4, L/4): finest level after the mask decoder's projection."""
    middle: torch.Tensor
    """shape (B, C/4, L/8, L/8): middle level after the mask decoder's projection."""
    sizes: tuple[tuple[int, int], ...]
    """(height, width) of each original image, in pixels."""

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int | slice) -> ImageEmbeddings:
        """The embeddings of one image (still with a leading dimension of 1) or of a range."""
        rows = index if isinstance(index, slice) else slice(index, index + 1 or None)
        if not isinstance(index, slice) and not -len(self) <= index < len(self):
            raise IndexError(f"image {index} of {len(self)}")
        return ImageEmbeddings(
            self.image[rows], self.fine[rows], self.middle[rows], self.sizes[rows]
        )

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> ImageEmbeddings:
        """A copy on another device or in another dtype (float16 halves storage)."""
        return ImageEmbeddings(
            self.image.to(device=device, dtype=dtype),
            self.fine.to(device=device, dtype=dtype),
            self.middle.to(device=device, dtype=dtype),
            self.sizes,
        )

    @property
    def num_bytes(self) -> int:
        """Memory held by the three maps, in bytes."""
        return sum(t.numel() * t.element_size() for t in (self.image, self.fine, self.middle))
