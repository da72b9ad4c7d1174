"""What stands where in a scene, before anything is drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from samtok.scenes.paint import COLORS, TEXTURES
from samtok.scenes.shapes import SHAPES, THIN_SHAPES, Shape, thin_shape

_THIN_SHARE = 0.12
_COMPOUND_SHARE = 0.22
_TEXTURED_SHARE = 0.6
_SMALL_SHARE = 0.2
_SMALL_RADII, _REGULAR_RADII = (1 / 20, 1 / 9), (1 / 9, 1 / 3)
"""Ranges of radii as shares of the picture's shorter side."""
_SMALLEST_COMPOUND = 1 / 9


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedObject:
    """A figure to draw; later ones lie on top."""

    category: str
    """What it is called."""
    figure: Shape
    """Inside or not, in local coordinates."""
    x: float
    """Centre, in pixels."""
    y: float
    """Centre, in pixels."""
    radius: float
    """Pixels per unit of the figure's local coordinates."""
    angle: float
    """Radians, clockwise on the screen."""
    color: str
    """Key of `paint.COLORS`."""
    texture: str
    """One of `paint.TEXTURES`."""
    is_thin: bool = False
    """A few pixels across."""
    part_of: int | None = None
    """Position in the plan of the whole this is a part of."""


class _Part(NamedTuple):
    """A part of a compound, in the local coordinates of its whole."""

    category: str
    figure: str
    u: float
    v: float
    scale: float
    turn: float = 0.0


_COMPOUNDS: Final[dict[str, tuple[str, tuple[_Part, ...]]]] = {
    "car": (
        "rectangle",
        (
            _Part("wheel", "circle", -0.55, 0.5, 0.3),
            _Part("wheel", "circle", 0.55, 0.5, 0.3),
            _Part("cabin", "dome", 0.0, -0.45, 0.5),
        ),
    ),
    "mug": ("square", (_Part("handle", "ring", 1.05, 0.0, 0.45),)),
    "house": (
        "square",
        (
            _Part("roof", "triangle", 0.0, -1.35, 1.0),
            _Part("door", "rectangle", 0.0, 0.45, 0.4, np.pi / 2),
        ),
    ),
    "face": (
        "circle",
        (
            _Part("eye", "circle", -0.38, -0.25, 0.18),
            _Part("eye", "circle", 0.38, -0.25, 0.18),
            _Part("mouth", "dome", 0.0, 0.3, 0.4, np.pi),
        ),
    ),
    "flower": (
        "star",
        (_Part("core", "circle", 0.0, 0.0, 0.35),),
    ),
    "lollipop": ("circle", (_Part("stick", "stick", 0.0, 1.5, 0.55, np.pi / 2),)),
    "flag": ("rectangle", (_Part("pole", "stick", -1.0, 0.5, 1.1, np.pi / 2),)),
    "target": (
        "circle",
        (_Part("band", "ring", 0.0, 0.0, 0.75), _Part("bullseye", "circle", 0.0, 0.0, 0.3)),
    ),
}
"""Whole: figure of its body, and its parts."""

_STICK_THICKNESS = 0.22


def list_categories() -> list[str]:
    """Every category a scene can hold: figures, thin figures, compounds and parts; sorted."""
    parts = {part.category for _, compound in _COMPOUNDS.values() for part in compound}
    return sorted({*SHAPES, *THIN_SHAPES, *_COMPOUNDS, *parts})


def plan_objects(
    rng: np.random.Generator,
    *,
    height: int,
    width: int,
    empty_share: float,
    cluttered_share: float,
) -> list[PlannedObject]:
    """Choose objects from back to front.

    Args:
        rng: source of randomness.
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        empty_share: chance of no object at all.
        cluttered_share: chance of many small objects.

    Returns:
        The plan, back to front; a whole stands right before its parts.
    """
    draw = rng.random()
    if draw < empty_share:
        return []
    cluttered = draw < empty_share + cluttered_share
    count = int(rng.integers(8, 13) if cluttered else rng.integers(1, 8))
    side = min(height, width)
    # In clutter things resemble each other, so that telling them apart takes more than a colour.
    colors = _some(list(COLORS), rng, 3 if cluttered else len(COLORS))
    figures = _some(list(SHAPES), rng, 4 if cluttered else len(SHAPES))
    planned: list[PlannedObject] = []
    for _ in range(count):
        x, y = float(rng.uniform(0, width)), float(rng.uniform(0, height))
        is_small = cluttered or rng.random() < _SMALL_SHARE
        radius = side * _draw_log_uniform(rng, *(_SMALL_RADII if is_small else _REGULAR_RADII))
        color = str(rng.choice(colors))
        kind = rng.random()
        if kind < _THIN_SHARE:
            planned.append(_plan_thin(rng, x, y, max(radius, side / 9), color))
        elif kind < _THIN_SHARE + _COMPOUND_SHARE and radius >= side * _SMALLEST_COMPOUND:
            planned += _plan_compound(rng, x, y, radius, color, len(planned))
        else:
            planned.append(_plan_figure(rng, x, y, radius, color, str(rng.choice(figures))))
    return planned


def _plan_figure(
    rng: np.random.Generator, x: float, y: float, radius: float, color: str, name: str
) -> PlannedObject:
    return PlannedObject(
        category=name,
        figure=SHAPES[name],
        x=x,
        y=y,
        radius=radius,
        angle=float(rng.uniform(0, 2 * np.pi)),
        color=color,
        texture=_choose_texture(rng),
    )


def _plan_thin(
    rng: np.random.Generator, x: float, y: float, radius: float, color: str
) -> PlannedObject:
    name = str(rng.choice(THIN_SHAPES))
    thickness = float(rng.uniform(2.5, 4.5)) / radius
    return PlannedObject(
        category=name,
        figure=thin_shape(name, thickness),
        x=x,
        y=y,
        radius=radius,
        angle=float(rng.uniform(0, 2 * np.pi)),
        color=color,
        texture="plain",
        is_thin=True,
    )


def _plan_compound(
    rng: np.random.Generator, x: float, y: float, radius: float, color: str, position: int
) -> list[PlannedObject]:
    """A whole followed by its parts; `position` is where the whole will stand in the plan."""
    name = str(rng.choice(list(_COMPOUNDS)))
    body, parts = _COMPOUNDS[name]
    angle = float(rng.normal(0, 0.3))
    cos, sin = np.cos(angle), np.sin(angle)
    whole = PlannedObject(
        category=name,
        figure=SHAPES[body],
        x=x,
        y=y,
        radius=radius,
        angle=angle,
        color=color,
        texture=_choose_texture(rng),
    )
    part_color = str(rng.choice([other for other in COLORS if other != color]))
    return [
        whole,
        *(
            PlannedObject(
                category=part.category,
                figure=_figure(part.figure),
                x=x + radius * (part.u * cos - part.v * sin),
                y=y + radius * (part.u * sin + part.v * cos),
                radius=radius * part.scale,
                angle=angle + part.turn,
                color=part_color,
                texture="plain",
                is_thin=part.figure == "stick",
                part_of=position,
            )
            for part in parts
        ),
    ]


def _draw_log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _figure(name: str) -> Shape:
    return thin_shape("bar", _STICK_THICKNESS) if name == "stick" else SHAPES[name]


def _choose_texture(rng: np.random.Generator) -> str:
    return str(rng.choice(TEXTURES[1:])) if rng.random() < _TEXTURED_SHARE else TEXTURES[0]


def _some(names: list[str], rng: np.random.Generator, count: int) -> list[str]:
    return [names[i] for i in rng.permutation(len(names))[:count]]
