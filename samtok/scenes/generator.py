"""Synthetic scenes with exact masks: what the tokenizer is trained on and everything is tried on.

A scene is a pure function of seed, split, index and config. Objects are planned first, then drawn
from back to front into a map of owners: the pixel belongs to the topmost object whose figure
covers its centre, so masks are exact. Compound objects (a car, a mug) have masks for the whole and
for their parts; a whole's mask contains those of its parts.

Letters: H W pixels, N masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import numpy as np

from samtok.errors import ConfigError
from samtok.scenes.paint import paint_background, paint_object
from samtok.scenes.plan import PlannedObject, plan_objects

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
    """Unique within the scene."""
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


def generate_scene(
    index: int, *, split: str = "train", seed: int = 0, config: SceneConfig | None = None
) -> Scene:
    """Draw one scene.

    Splits never share a scene: the split is part of what seeds the generator.

    Args:
        index: which scene; at least 0.
        split: train, val or test.
        seed: which world of scenes.
        config: what scenes look like.

    Returns:
        The scene; the same arguments give the same one.

    Raises:
        ConfigError: the split is unknown.
    """
    if split not in SPLITS:
        raise ConfigError(f"split is {split!r}; allowed are {', '.join(SPLITS)}")
    config = config or SceneConfig()
    rng = np.random.default_rng(np.random.SeedSequence([seed, SPLITS.index(split), index]))
    picture = paint_background(config.height, config.width, rng)
    planned = plan_objects(
        rng,
        height=config.height,
        width=config.width,
        empty_share=config.empty_share,
        cluttered_share=config.cluttered_share,
    )
    owners = np.full((config.height, config.width), -1, dtype=np.int16)
    drawn_pixels = [_draw(item, order, picture, owners, rng) for order, item in enumerate(planned)]
    picture += rng.standard_normal(picture.shape, dtype=np.float32) * rng.uniform(0, 5)
    masks, objects = _collect(planned, drawn_pixels, owners, config)
    return Scene(
        scene_id=f"{split}-{seed}-{index:08d}",
        image=picture.clip(0, 255).astype(np.uint8),
        masks=masks,
        objects=objects,
    )


def _draw(
    item: PlannedObject,
    order: int,
    picture: np.ndarray,
    owners: np.ndarray,
    rng: np.random.Generator,
) -> int:
    """Draw one object over what is there; returns how many pixels its figure covers."""
    height, width = owners.shape
    reach = item.radius * 1.45
    top, bottom = max(0, int(item.y - reach)), min(height, int(item.y + reach) + 2)
    left, right = max(0, int(item.x - reach)), min(width, int(item.x + reach) + 2)
    if top >= bottom or left >= right:
        return 0
    dy = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(item.y)
    dx = np.arange(left, right, dtype=np.float32)[None] - np.float32(item.x)
    cos, sin = np.float32(np.cos(item.angle)), np.float32(np.sin(item.angle))
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    inside = item.figure(along / item.radius, across / item.radius)
    picture[top:bottom, left:right][inside] = paint_object(
        item.color, item.texture, along[inside], across[inside], rng
    )
    owners[top:bottom, left:right][inside] = order
    return int(inside.sum())


def _collect(
    planned: list[PlannedObject], drawn_pixels: list[int], owners: np.ndarray, config: SceneConfig
) -> tuple[np.ndarray, tuple[SceneObject, ...]]:
    """Masks and descriptions of everything that can be seen well enough."""
    masks: list[np.ndarray] = []
    objects: list[SceneObject] = []
    kept_at: dict[int, int] = {}
    for order, item in enumerate(planned):
        members = [order, *(i for i, other in enumerate(planned) if other.part_of == order)]
        mask = owners == order if len(members) == 1 else np.isin(owners, members)
        area = int(mask.sum())
        share = min(1.0, area / max(1, sum(drawn_pixels[i] for i in members)))
        if area < config.min_visible_pixels or share < config.min_visible_share:
            continue
        kept_at[order] = len(objects)
        rows, columns = np.nonzero(mask)
        masks.append(mask)
        objects.append(
            SceneObject(
                mask_id=str(len(objects)),
                category=item.category,
                color=item.color,
                texture=item.texture,
                box=(int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())),
                area=area,
                center=(float(columns.mean()), float(rows.mean())),
                visible_share=share,
                is_thin=item.is_thin,
                part_of=None if item.part_of is None else kept_at.get(item.part_of),
                depth=order,
            )
        )
    stacked = np.stack(masks) if masks else np.zeros((0, *owners.shape), dtype=bool)
    return stacked, tuple(objects)
