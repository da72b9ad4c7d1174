"""What is true in a scene, with the borderline cases marked as such.

Language about a scene is checked against these tables before it is emitted. Answers have three
values, because people disagree near a border: a star two pixels to the left of another is neither
clearly left of it nor clearly not. A sentence that would rest on such a case is not said.

Things are the scene's objects followed by its faint things (those without a mask), T in all.

Letters: T things, N masks, H W pixels.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from samtok.scenes.scene import Scene, SceneObject

NO, YES, UNCLEAR = 0, 1, -1

RELATIONS: Final = ("left", "right", "above", "below", "inside", "front", "part", "bigger")
"""Keys of :attr:`SceneFacts.relations`."""
PLACES: Final = ("left", "right", "top", "bottom", "middle")
"""Keys of :attr:`SceneFacts.places`."""
SIZES: Final = ("small", "large")
"""Keys of :attr:`SceneFacts.sizes`."""

_MIN_OFFSET = 0.06
"""Of the picture's shorter side: centres nearer than this are not left or right of each other."""
_SMALL_BELOW, _SMALL_NEVER_FROM = 0.16, 0.22
_LARGE_FROM, _LARGE_NEVER_BELOW = 0.40, 0.32
"""Longest side of a thing over the picture's shorter side."""
_SIDE_WITHIN, _SIDE_NEVER_FROM = 0.38, 0.48
_MIDDLE_WITHIN, _MIDDLE_NEVER_FROM = 0.14, 0.22
"""Position over the picture's side; for the middle, distance from it."""
_WHOLLY_SEEN = 0.8
"""Below this visible share the true size of a thing is a guess."""


class SceneFacts:
    """Tables of what is true in a scene.

    Args:
        scene: with N objects and T - N faint things.

    Attributes:
        things: the T things; the first `num_objects` have masks.
        num_objects: N.
        relations: int8, shape (T, T) each: does row stand in this relation to column?
        places: int8, shape (T,) each: is it in this region of the picture?
        sizes: int8, shape (T,) each: is it of this size?
        centers: float64, shape (T, 2), (x, y) over the picture's shorter side.
        selected: what `queries.select` has found so far, by query.
    """

    def __init__(self, scene: Scene) -> None:
        self.things: tuple[SceneObject, ...] = (*scene.objects, *scene.faint)
        self.num_objects = len(scene.objects)
        height, width = scene.image.shape[:2]
        side = min(height, width)
        self.centers = np.array([thing.center for thing in self.things]).reshape(-1, 2) / side
        extents = _measure_extents(self.things) / side
        shares = np.array([thing.visible_share for thing in self.things])
        self.places = _judge_places(self.centers * side / (width, height))
        self.sizes = _judge_sizes(extents, shares)
        kin = _find_kin(self.things, self.num_objects)
        self.relations = {
            **_judge_directions(self.centers, kin),
            "inside": _judge_inside(scene.masks, kin),
            "front": _judge_front(self.things, self.num_objects),
            "part": kin,
            "bigger": _judge_bigger(self.things, extents, shares, kin),
        }
        self.selected: dict[Any, tuple[int, ...] | None] = {}
        self._bits: dict[tuple[str, Any], tuple[int, int]] = {}

    def bits(self, condition: str, value: Any) -> tuple[int, int]:
        """The things that meet a condition, and those that may, as sets of bits by position.

        Args:
            condition: ``category``, ``color``, ``texture``, ``size``, ``place`` or a relation.
            value: the wanted value; for a relation, the position of what it is to.
        """
        key = condition, value
        if key not in self._bits:
            answers = self._judge_all(condition, value)
            self._bits[key] = (_pack(answers == YES), _pack(answers != NO))
        return self._bits[key]

    def _judge_all(self, condition: str, value: Any) -> np.ndarray:
        """int8, shape (T,)."""
        if condition == "size":
            return self.sizes[value]
        if condition == "place":
            return self.places[value]
        if condition in self.relations:
            return self.relations[condition][:, value]
        holds = [getattr(thing, condition) == value for thing in self.things]
        return np.array(holds, dtype=np.int8)


def _pack(members: np.ndarray) -> int:
    return sum(1 << position for position in np.flatnonzero(members).tolist())


def _measure_extents(things: tuple[SceneObject, ...]) -> np.ndarray:
    """Longest visible side in pixels; float64, shape (T,)."""
    sides = [max(x1 - x0, y1 - y0) + 1 for x0, y0, x1, y1 in (thing.box for thing in things)]
    return np.array(sides, dtype=np.float64)


def _judge(yes: np.ndarray, no: np.ndarray) -> np.ndarray:
    """Where neither holds, it is unclear."""
    return np.where(yes, YES, np.where(no, NO, UNCLEAR)).astype(np.int8)


def _judge_places(centers: np.ndarray) -> dict[str, np.ndarray]:
    """Regions of the picture; `centers` are fractions of width and height, shape (T, 2)."""
    sides = {
        "left": centers[:, 0],
        "right": 1 - centers[:, 0],
        "top": centers[:, 1],
        "bottom": 1 - centers[:, 1],
    }
    away = np.abs(centers - 0.5).max(axis=1, initial=0)
    return {
        **{name: _judge(at < _SIDE_WITHIN, at >= _SIDE_NEVER_FROM) for name, at in sides.items()},
        "middle": _judge(away < _MIDDLE_WITHIN, away >= _MIDDLE_NEVER_FROM),
    }


def _judge_sizes(extents: np.ndarray, shares: np.ndarray) -> dict[str, np.ndarray]:
    """What is partly hidden may be larger than it looks, never smaller."""
    seen = shares >= _WHOLLY_SEEN
    return {
        "small": _judge((extents < _SMALL_BELOW) & seen, extents >= _SMALL_NEVER_FROM),
        "large": _judge(extents >= _LARGE_FROM, (extents < _LARGE_NEVER_BELOW) & seen),
    }


def _find_kin(things: tuple[SceneObject, ...], num_objects: int) -> np.ndarray:
    """Is row a part of column? A part whose whole has no mask is nobody's."""
    kin = np.full((len(things), len(things)), NO, dtype=np.int8)
    for position, thing in enumerate(things):
        if thing.part_of is not None:
            kin[position, thing.part_of] = YES if position < num_objects else UNCLEAR
    return kin


def _judge_directions(centers: np.ndarray, kin: np.ndarray) -> dict[str, np.ndarray]:
    """Left means within the quarter of the plane that opens to the left, and not too near.

    A part is not beside its own whole.
    """
    across = centers[None, :, 0] - centers[:, None, 0]
    down = centers[None, :, 1] - centers[:, None, 1]
    related = (kin != NO) | (kin != NO).T
    tables = {}
    for name, ahead, aside in (
        ("left", across, down),
        ("right", -across, down),
        ("above", down, across),
        ("below", -down, across),
    ):
        yes = (ahead >= _MIN_OFFSET) & (ahead >= 1.25 * np.abs(aside)) & ~related
        no = (ahead <= 0) | (ahead <= 0.8 * np.abs(aside)) | related
        tables[name] = _judge(yes, no)
    return tables


def _judge_inside(masks: np.ndarray, kin: np.ndarray) -> np.ndarray:
    """Is (nearly) every pixel of row enclosed by column: seen in all four directions from it?

    Faint things have no mask here; about them it is always unclear.
    """
    table = np.full(kin.shape, UNCLEAR, dtype=np.int8)
    num = len(masks)
    if num:
        enclosed = _fill_between(masks, 1) & _fill_between(masks, 2)
        flat = masks.reshape(num, -1).astype(np.float32)
        within = flat @ enclosed.reshape(num, -1).astype(np.float32).T
        share = within / flat.sum(axis=1, keepdims=True)
        related = (kin != NO) | (kin != NO).T | np.eye(len(kin), dtype=bool)
        related = related[:num, :num]
        table[:num, :num] = _judge((share >= 0.98) & ~related, (share < 0.7) | related)
    return table


def _fill_between(masks: np.ndarray, axis: int) -> np.ndarray:
    """Pixels with mask pixels (or themselves one) on both sides along an axis."""
    before = np.logical_or.accumulate(masks, axis=axis)
    after = np.flip(np.logical_or.accumulate(np.flip(masks, axis), axis=axis), axis)
    between: np.ndarray = before & after
    return between


def _judge_front(things: tuple[SceneObject, ...], num_objects: int) -> np.ndarray:
    """Does row visibly cover a piece of column? About faint things it is unclear."""
    table = np.full((len(things), len(things)), UNCLEAR, dtype=np.int8)
    table[:num_objects, :num_objects] = NO
    for position, thing in enumerate(things[:num_objects]):
        table[position, list(thing.in_front_of)] = YES
    return table


def _judge_bigger(
    things: tuple[SceneObject, ...], extents: np.ndarray, shares: np.ndarray, kin: np.ndarray
) -> np.ndarray:
    """Bigger means clearly more area and a longer side, of two things that can both be seen.

    A whole is not compared with its own parts.
    """
    areas = np.array([thing.area for thing in things], dtype=np.float64)
    wider, longer = areas[:, None] / areas[None], extents[:, None] / extents[None]
    hidden = shares < _WHOLLY_SEEN
    guess = hidden[:, None] | hidden[None]
    related = (kin != NO) | (kin != NO).T | np.eye(len(kin), dtype=bool)
    yes = (wider >= 1.5) & (longer >= 1.15) & ~guess & ~related
    no = ((wider <= 1) & (longer <= 1) & ~guess) | related
    return _judge(yes, no)
