"""Images in, network input out.

The published preprocessing: PIL bicubic resize to a square (aspect ratio not kept, nothing padded,
back to uint8), then ImageNet mean and deviation. Resizing needs no model, so CPU workers can do it
ahead of the actors that hold the network.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
from PIL import Image

from samtok.errors import InputError

if TYPE_CHECKING:  # kept out of CPU workers: torch takes 350 MB in each
    import torch

ImageInput: TypeAlias = Image.Image | np.ndarray | str | Path
"""A PIL image, a uint8 RGB array (H, W, 3) in 0..255, or a path to an image file."""

PIXEL_MEAN: Final = (0.485, 0.456, 0.406)
PIXEL_STD: Final = (0.229, 0.224, 0.225)
MAX_IMAGE_PIXELS: Final = 1 << 28
"""Images that declare more pixels than this are refused before they are decoded."""


def load_rgb(image: ImageInput) -> np.ndarray:
    """Read any accepted image as RGB.

    Orientation tags are not applied: masks are drawn on the stored pixels.

    Returns:
        uint8, shape (H, W, 3), RGB, 0..255.

    Raises:
        InputError: ``image_unreadable``, ``image_too_large`` or ``image_malformed``.
    """
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise InputError(
                "image_malformed",
                f"array has dtype {image.dtype} and shape {image.shape}; it must be uint8 RGB "
                "(H, W, 3) with at least one pixel",
            )
        return image
    if isinstance(image, Image.Image):
        return np.asarray(image.convert("RGB"))
    try:
        with Image.open(image) as opened:
            width, height = opened.size
            if width * height > MAX_IMAGE_PIXELS:
                raise InputError(
                    "image_too_large",
                    f"{image} declares {width} x {height} pixels; at most {MAX_IMAGE_PIXELS} are "
                    "read",
                )
            return np.asarray(opened.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError("image_unreadable", f"{image}: {error}") from error


def resize_image(image: np.ndarray, size: int) -> np.ndarray:
    """Resize to a `size` x `size` square as the published code does.

    Args:
        image: uint8, shape (H, W, 3), RGB.
        size: side in pixels.

    Returns:
        uint8, shape (size, size, 3), RGB; the input itself where it has that size already.
    """
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size)))


def normalize_images(images: torch.Tensor) -> torch.Tensor:
    """Scale to 0..1, subtract the mean and divide by the deviation, per channel, in float32.

    Args:
        images: uint8, shape (B, L, L, 3), RGB, 0..255; any device.

    Returns:
        float32, shape (B, 3, L, L), same device.
    """
    pixels = images.permute(0, 3, 1, 2).contiguous().float()
    mean = pixels.new_tensor(PIXEL_MEAN).view(3, 1, 1)
    std = pixels.new_tensor(PIXEL_STD).view(3, 1, 1)
    return pixels.div_(255).sub_(mean).div_(std)
