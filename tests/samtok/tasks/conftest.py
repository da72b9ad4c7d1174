"""A small image by hand: five masks, and texts of every kind about them."""

import pytest

from samtok.scenes.grounded_text import SceneText, Span
from samtok.tasks import Region

BOXES = {
    "cup": (10, 40, 30, 60),
    "lid": (10, 20, 30, 38),  # above the cup, same left edge
    "star": (50, 5, 60, 15),
    "moon": (2, 70, 9, 90),
    "bar": (50, 5, 52, 80),  # same corner as the star, narrower
}


def make_text(kind, text, *spans, mask_ids=None):
    """Spans are (characters, role, masks); positions are looked up, so each must occur once."""
    made = []
    for characters, role, masks in spans:
        assert text.count(characters) == 1, characters
        start = text.index(characters)
        made.append(
            Span(start=start, end=start + len(characters), mask_ids=tuple(masks), role=role)
        )
    if mask_ids is None:
        mask_ids = [m for span in made if span.role != "mention" for m in span.mask_ids]
    return SceneText(
        kind=kind, text=text, mask_ids=tuple(dict.fromkeys(mask_ids)), spans=tuple(made)
    )


@pytest.fixture(scope="session")
def text():
    return make_text


@pytest.fixture(scope="session")
def words():
    """Mask words by mask, made by hand: the first word counts up, the second is 0256."""
    return {
        name: f"<|mt_start|><|mt_{number:04d}|><|mt_0256|><|mt_end|>"
        for number, name in enumerate(BOXES)
    }


@pytest.fixture(scope="session")
def regions(words):
    """Of the moon it is known that it is a crescent."""
    return {
        name: Region(
            mask_id=name,
            words=words[name],
            box=box,
            category="crescent" if name == "moon" else "",
        )
        for name, box in BOXES.items()
    }
