"""The masks of an image as dialogues see them: their words, and where they lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from samtok.scenes.scene import Scene


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """A mask of an image."""

    mask_id: str
    """Unique within the image."""
    words: str
    """One span, as `samtok.words.format_codes` writes it."""
    box: tuple[float, float, float, float]
    """xyxy pixels, x1 and y1 the last pixel inside."""
    category: str = ""
    """What it is; empty where nobody says."""


Regions: TypeAlias = Mapping[str, Region]
"""By `mask_id`."""


def list_scene_regions(scene: Scene, words: Mapping[str, str]) -> dict[str, Region]:
    """The masks of a scene, by `mask_id`, with what stands for each in a text."""
    return {
        thing.mask_id: Region(
            mask_id=thing.mask_id,
            words=words[thing.mask_id],
            box=thing.box,
            category=thing.category,
        )
        for thing in scene.objects
    }


def in_reading_order(mask_ids: Iterable[str], regions: Regions) -> list[Region]:
    """Each mask once: left to right, then top to bottom, by the upper left corner of its box."""
    found = [regions[mask_id] for mask_id in dict.fromkeys(mask_ids)]
    return sorted(found, key=lambda region: (*region.box, region.mask_id))


def join_words(mask_ids: Iterable[str], regions: Regions) -> str:
    """The spans of some masks in reading order, nothing between them; empty for no mask."""
    return "".join(region.words for region in in_reading_order(mask_ids, regions))
