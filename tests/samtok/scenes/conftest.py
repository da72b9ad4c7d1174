"""Scenes drawn by hand, and a reader that understands descriptions without the generator's help."""

import re

import numpy as np
import pytest

from samtok.scenes import Scene, SceneObject

SIDE = 100

COLORS = {
    word: color
    for color, words in {
        "red": "red", "blue": "blue", "green": "green", "yellow": "yellow",
        "purple": "purple violet", "orange": "orange", "cyan": "cyan turquoise", "white": "white",
        "black": "black", "pink": "pink", "brown": "brown", "gray": "gray grey",
    }.items()
    for word in words.split()
}  # fmt: skip
TEXTURES = {
    "without any pattern": "plain", "plain": "plain", "solid": "plain",
    "with a striped pattern": "striped", "with stripes": "striped", "striped": "striped",
    "stripy": "striped", "with dots": "dotted", "with spots": "dotted", "dotted": "dotted",
    "spotted": "dotted", "with a checkered pattern": "checkered", "with checks": "checkered",
    "checkered": "checkered", "chequered": "checkered", "with shading": "shaded",
    "that fades from dark to light": "shaded", "shaded": "shaded",
}  # fmt: skip
SIZES = {"small": "small", "little": "small", "tiny": "small", "large": "large", "big": "large"}
EXTREMES = {
    "leftmost": (0, -1), "far left": (0, -1), "rightmost": (0, 1), "far right": (0, 1),
    "topmost": (1, -1), "highest": (1, -1), "lowest": (1, 1), "bottommost": (1, 1),
    "biggest": ("area", 1), "largest": ("area", 1), "smallest": ("area", -1),
    "tiniest": ("area", -1),
}  # fmt: skip
NAMES = """
circle ellipse square rectangle triangle star ring cross crescent heart arrow leaf dome L-shape
bar hoop car wheel cabin mug handle house roof door face eye mouth flower core lollipop stick flag
pole target band bullseye
"""
NOUNS = {
    "disc": "circle", "oval": "ellipse", "semicircle": "dome", "moon": "crescent",
    "plus sign": "cross", "right angle": "L-shape", "thin line": "bar", "thin ring": "hoop",
    "thing": None, "object": None,
    **{name: name for name in NAMES.split()},
}  # fmt: skip
PLURALS = {"leaf": "leaves", "cross": "crosses"}
PLACES = {
    phrase: sides
    for sides, phrases in {
        ("left",): ("on the left side", "on the left"),
        ("right",): ("on the right side", "on the right"),
        ("top",): ("at the top", "in the upper half"),
        ("bottom",): ("at the bottom", "in the lower half"),
        ("middle",): ("in the middle of the picture", "in the middle"),
        ("top", "left"): ("at the top left", "in the upper left"),
        ("top", "right"): ("at the top right", "in the upper right"),
        ("bottom", "left"): ("at the bottom left", "in the lower left"),
        ("bottom", "right"): ("at the bottom right", "in the lower right"),
    }.items()
    for phrase in phrases
}
RELATIONS = {
    "to the left of": "left", "left of": "left", "to the right of": "right", "right of": "right",
    "above": "above", "higher up than": "above", "below": "below", "further down than": "below",
    "inside": "inside", "within": "inside", "enclosed by": "inside", "in front of": "front",
    "partly covering": "front", "partly covers": "front", "overlapping": "front",
    "overlaps": "front", "that is part of": "part", "belonging to": "part",
    "belongs to": "part", "part of": "part", "bigger than": "bigger", "larger than": "bigger",
    "of": "part",
}  # fmt: skip


class Reader:
    """Finds what a description means in a scene: sharp borders, positions in `scene.objects`.

    The generator leaves a margin around each border, so whatever it says must hold here.
    """

    def __init__(self, scene, *, with_faint=False):
        self.scene = scene
        self.objects = scene.objects + (scene.faint if with_faint else ())
        self.height, self.width = scene.image.shape[:2]

    def find(self, text, *, it=None):
        """Positions that a description (with or without article) is true of."""
        head, relation, rest = self._split(text.replace("middle of the picture", "middle"))
        head, sides = self._take(head, PLACES)
        found = [i for i in range(len(self.objects)) if self._fits(self.objects[i], head)]
        found = [i for i in found if all(self._is_at(i, side) for side in sides or ())]
        if relation:
            pronoun = re.fullmatch(r"(it|the first one|answer \w+)", rest)
            (anchor,) = [it] if pronoun else self.find(rest)
            found = [i for i in found if self.holds(i, relation, anchor)]
        return self._extreme(found, head)

    def is_plain(self, text):
        """Does it speak of the thing itself only: no relation, no comparison with others?"""
        return self._split(text)[1] is None and self._take(text, EXTREMES)[1] is None

    def holds(self, i, relation, j):
        """Does a relation hold between two objects?"""
        a, b = self.objects[i], self.objects[j]
        if relation == "part":
            return a.part_of == j
        if relation == "front":
            return j in a.in_front_of
        if i == j or a.part_of == j or b.part_of == i:
            return False
        if relation == "bigger":
            return a.area > b.area
        if relation == "inside":
            return self._share_enclosed(i, j) > 0.85
        dx, dy = b.center[0] - a.center[0], b.center[1] - a.center[1]
        ahead, aside = {
            "left": (dx, dy), "right": (-dx, dy), "above": (dy, dx), "below": (-dy, dx)
        }[relation]  # fmt: skip
        return ahead > 0 and ahead >= abs(aside)

    def relation_in(self, words):
        """The relation that a predicate speaks of."""
        return self._split(f"x {words} y")[1]

    def _share_enclosed(self, i, j):
        inner, outer = self.scene.masks[i], self.scene.masks[j]
        enclosed = 0
        for y, x in zip(*np.nonzero(inner), strict=True):
            row, column = outer[y], outer[:, x]
            enclosed += (
                row[: x + 1].any() and row[x:].any() and column[: y + 1].any() and column[y:].any()
            )
        return enclosed / inner.sum()

    def _split(self, text):
        for words in sorted(RELATIONS, key=len, reverse=True):
            match = re.search(rf"\b{words}\b (the |it\b|answer |y)", text)
            if match:
                return text[: match.start()], RELATIONS[words], text[match.start(1) :].strip()
        return text, None, ""

    def _fits(self, item, head):
        rest, texture = self._take(head, TEXTURES)
        rest, _ = self._take(rest, EXTREMES)
        rest, size = self._take(rest, SIZES)
        rest, color = self._take(rest, COLORS)
        nouns = {**NOUNS, **{PLURALS.get(n, n + "s"): c for n, c in NOUNS.items()}}
        rest, category = self._take(rest, nouns)
        left_over = set(rest.split()) - {"the", "a", "an", "that", "is", "are", "other"}
        assert not left_over, f"did not understand {left_over} in {head!r}"
        side = max(item.box[2] - item.box[0], item.box[3] - item.box[1]) + 1
        side /= min(self.height, self.width)
        return (
            texture in (None, item.texture)
            and color in (None, item.color)
            and category in (None, item.category)
            and (size is None or (side < 0.2 if size == "small" else side > 0.36))
        )

    def _take(self, text, table):
        """The longest phrase of a table that is in the text, taken out, and its meaning."""
        for phrase in sorted(table, key=len, reverse=True):
            match = re.search(rf"(?<![\w-]){re.escape(phrase)}(?![\w-])", text)
            if match:
                return text[: match.start()] + text[match.end() :], table[phrase]
        return text, None

    def _is_at(self, i, side):
        x, y = self.objects[i].center[0] / self.width, self.objects[i].center[1] / self.height
        if side == "middle":
            return max(abs(x - 0.5), abs(y - 0.5)) < 0.18
        return {"left": x, "right": 1 - x, "top": y, "bottom": 1 - y}[side] < 0.43

    def _extreme(self, found, head):
        _, extreme = self._take(head, EXTREMES)
        if extreme is None or not found:
            return found
        axis, sign = extreme
        value = [
            self.objects[i].area if axis == "area" else self.objects[i].center[axis] for i in found
        ]
        return [found[int(np.argmax(np.array(value) * sign))]]


@pytest.fixture
def reader():
    return Reader


@pytest.fixture
def make_scene():
    """A scene of rectangles: dicts with box (xyxy, inclusive) and whatever else differs."""

    def make(*things, faint=(), side=SIDE):
        image = np.zeros((side, side, 3), dtype=np.uint8)
        masks = np.zeros((len(things), side, side), dtype=bool)
        for mask, thing in zip(masks, things, strict=True):
            x0, y0, x1, y1 = thing["box"]
            mask[y0 : y1 + 1, x0 : x1 + 1] = True
            hole = thing.get("hole")
            if hole:
                mask[hole[1] : hole[3] + 1, hole[0] : hole[2] + 1] = False
        objects = [_make_object(thing, str(i), i) for i, thing in enumerate(things)]
        pale = [_make_object(thing, "", len(things) + i) for i, thing in enumerate(faint)]
        return Scene(
            scene_id="test-0-00000000",
            image=image,
            masks=masks,
            objects=tuple(objects),
            faint=tuple(pale),
        )

    return make


def _make_object(thing, mask_id, depth):
    x0, y0, x1, y1 = thing["box"]
    known = {
        "category": "square",
        "color": "red",
        "texture": "plain",
        "visible_share": 1.0,
        "is_thin": False,
        "part_of": None,
        "area": (x1 - x0 + 1) * (y1 - y0 + 1),
        "center": ((x0 + x1) / 2, (y0 + y1) / 2),
        "depth": depth,
        "mask_id": mask_id,
        **thing,
    }
    known.pop("hole", None)
    return SceneObject(**known)
