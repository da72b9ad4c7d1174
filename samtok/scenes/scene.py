"""What a scene is: its settings, its picture, its masks and what is known of every object.

Letters: H W pixels, N masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from samtok.errors import ConfigError

Split: TypeAlias = Literal["train", "val", "test"]
SPLITS: Final[tuple[str, ...]] = get_args(Split)


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneConfig:
    """What scenes look like."""

    height: int = 128
    """Rows of the image, in pixels; 32 to 4096."""
    width: int = 128
    """Columns of the image, in pixels; 32 to 4096."""
    min_visible_pixels: int = 24
    """Objects of which fewer pixels can be seen get no mask (they stay in the picture)."""
    min_visible_share: float = 0.2
    """Objects of which a smaller share can be seen get no mask, in [0, 1]."""
    empty_share: float = 0.03
    """Share of scenes without any object, in [0, 1]."""
    cluttered_share: float = 0.2
    """Share of scenes with many small objects, in [0, 1]."""

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            value = getattr(self, name)
            if not 32 <= value <= 4096:
                raise ConfigError(f"scene {name} is {value}; allowed is 32 to 4096 pixels")
        for name in ("min_visible_share", "empty_share", "cluttered_share"):
            value = getattr(self, name)
            if not 0.0 <= value <= 1.0:
                raise ConfigError(f"scene {name} is {value}; allowed is 0 to 1")
        if self.min_visible_pixels < 1:
            raise ConfigError(
                f"scene min_visible_pixels is {self.min_visible_pixels}; at least 1 is needed, "
                "as a mask cannot be empty"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneObject:
    """An object or a part of one, with a mask of its own."""

    mask_id: str
    """Unique within the scene; empty for faint things, which have no mask."""
    category: str
    """What it is: a figure ("star"), a compound ("car"), or a part ("wheel")."""
    color: str
    """Named colour."""
    texture: str
    """plain, striped, dotted, checkered or shaded."""
    box: tuple[int, int, int, int]
    """xyxy pixels, x1 and y1 the last pixel inside."""
    area: int
    """Visible pixels."""
    center: tuple[float, float]
    """Mean (x, y) of the visible pixels."""
    visible_share: float
    """Share of its figure inside the picture that nothing covers, 0..1."""
    is_thin: bool
    """A bar or hoop, a few pixels across."""
    part_of: int | None
    """Position in `Scene.objects` of the whole this is a part of."""
    depth: int
    """Drawing order: larger is nearer."""
    in_front_of: tuple[int, ...] = ()
    """Positions in `Scene.objects` of the things it can be seen to cover a piece of."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scene:
    """A picture with its masks."""

    scene_id: str
    """``{split}-{seed}-{index}``, index with eight digits."""
    image: np.ndarray
    """uint8, shape (H, W, 3), RGB."""
    masks: np.ndarray
    """bool, shape (N, H, W), in the order of `objects`; visible pixels."""
    objects: tuple[SceneObject, ...]
    """N objects."""
    faint: tuple[SceneObject, ...]
    """Things that show too little for a mask: language must not be wrong about them either."""


def make_scene_id(split: str, seed: int, index: int) -> str:
    """The name of a scene before it is drawn; also its file's name, without ending."""
    return f"{split}-{seed}-{index:08d}"


def check_world(split: str, seed: int) -> None:
    """Refuse what no scene can be drawn from, before anything is drawn or written.

    Raises:
        ConfigError: the split is unknown, or the seed is negative.
    """
    if split not in SPLITS:
        raise ConfigError(f"split is {split!r}; allowed are {', '.join(SPLITS)}")
    if seed < 0:
        raise ConfigError(f"scene seed is {seed}; at least 0 is needed")
