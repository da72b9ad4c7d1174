"""Colours, textures and backgrounds of scenes."""

from __future__ import annotations

from typing import Final

import numpy as np

COLORS: Final[dict[str, tuple[int, int, int]]] = {
    "red": (220, 50, 47),
    "blue": (40, 110, 220),
    "green": (50, 160, 70),
    "yellow": (240, 205, 50),
    "purple": (145, 70, 190),
    "orange": (242, 135, 35),
    "cyan": (70, 205, 205),
    "white": (245, 245, 245),
    "black": (35, 35, 38),
    "pink": (243, 140, 185),
    "brown": (135, 88, 50),
    "gray": (130, 130, 132),
}
"""Named colours, RGB, 0..255; scenes vary them a little."""

TEXTURES: Final[tuple[str, ...]] = ("plain", "striped", "dotted", "checkered", "shaded")

_COLOR_DEVIATION = 8.0
_CONTRAST = 42.0


def paint_object(
    color: str, texture: str, x: np.ndarray, y: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Pixels of an object.

    Args:
        color: key of :data:`COLORS`.
        texture: one of :data:`TEXTURES`.
        x: float32, shape (P,), position along the object in pixels.
        y: float32, shape (P,), position across it.
        rng: shade of the colour and pitch of the texture.

    Returns:
        float32, shape (P, 3), RGB, about 0..255.
    """
    shade = np.asarray(COLORS[color], dtype=np.float32) + rng.normal(0, _COLOR_DEVIATION, 3)
    pitch = rng.uniform(2.5, 4.5)
    contrast = -_CONTRAST if sum(COLORS[color]) > 384 else _CONTRAST
    if texture == "striped":
        relief = np.where((x / pitch) % 2 < 1, contrast, 0)
    elif texture == "dotted":
        relief = np.where(
            np.hypot((x / pitch) % 2 - 1, (y / pitch) % 2 - 1) < 0.6, 1.5 * contrast, 0
        )
    elif texture == "checkered":
        relief = np.where((np.floor(x / pitch) + np.floor(y / pitch)) % 2 == 0, contrast, 0)
    elif texture == "shaded":
        relief = _CONTRAST * x / max(1.0, float(np.abs(x).max(initial=1.0)))
    else:
        relief = np.zeros_like(x)
    return (shade + relief[:, None]).astype(np.float32)


def paint_background(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A plain, graded, grainy or patchy background; float32, shape (height, width, 3), RGB."""
    base = rng.uniform(30, 230, 3).astype(np.float32)
    picture = np.broadcast_to(base, (height, width, 3)).copy()
    kind = rng.choice(["plain", "graded", "grainy", "patchy"])
    if kind == "graded":
        angle = rng.uniform(0, 2 * np.pi)
        rows = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None] * np.sin(angle)
        columns = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None] * np.cos(angle)
        picture += (rows + columns)[..., None] * rng.uniform(-120, 120, 3).astype(np.float32)
    elif kind == "grainy":
        grain = rng.standard_normal((height, width, 1), dtype=np.float32)
        picture += grain * rng.uniform(5, 25)
    elif kind == "patchy":
        patch = max(1, min(height, width) // 16)
        patches = rng.normal(0, 18, (-(-height // patch), -(-width // patch)))
        picture += np.kron(patches, np.ones((patch, patch)))[:height, :width, None]
    return picture
