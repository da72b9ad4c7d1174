"""A scene set as files: images, COCO instances, gRefCOCO-style refs, and all language.

The same layout that readers of real data sets meet, so that they can be tried on scenes:

- ``images/{scene_id}.png``
- ``instances.json``: COCO instances; compressed run lengths; attributes of every object
- ``refs.json``: a list in the manner of gRefCOCO: `ann_id` and `category_id` are lists, and a ref
  without target has ``[-1]`` in both and ``no_target``
- ``texts.jsonl``: one line per image with every `SceneText`, masks by annotation id

Scenes pass through one by one; files get their names only when complete, ``instances.json`` last.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TextIO, get_args

from PIL import Image

from samtok.errors import ConfigError
from samtok.masks import encode_rle
from samtok.scenes.generator import generate_scene
from samtok.scenes.grounded_text import Kind, SceneText
from samtok.scenes.language import describe_scene
from samtok.scenes.plan import list_categories
from samtok.scenes.scene import Scene, SceneConfig, SceneObject, check_world, make_scene_id

_IDS_PER_IMAGE: Final = 1000
"""Ids of annotations, refs and sentences of image i start at i times this."""
_SMALL_SHARE = 0.01
"""Of the picture: masks smaller than this are counted as small."""
_SCENES_AT_ONCE: Final = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneFilesSummary:
    """What a scene set holds."""

    num_images: int
    """Pictures written."""
    masks: dict[str, int]
    """Number of masks: all, small (under 1 % of the picture), thin, part, occluded (over 10 %)."""
    refs: dict[str, int]
    """Number of refs: single, several, none; and sentences."""
    texts: dict[str, int]
    """Number of texts by kind."""


def write_scene_files(
    output: Path,
    num_images: int,
    *,
    seed: int = 0,
    split: str = "train",
    config: SceneConfig | None = None,
    num_workers: int = 1,
    report: Callable[[int], None] | None = None,
) -> SceneFilesSummary:
    """Write a scene set; the same arguments give the same files, whatever the number of workers.

    Args:
        output: folder; made if absent. What is there under the same names is replaced.
        num_images: at least 1; scenes 0 to num_images - 1 of the split.
        seed: which world of scenes.
        split: train, val or test.
        config: what scenes look like.
        num_workers: processes that draw; 1 draws in this one.
        report: called after each scene with the number written so far.

    Returns:
        Counts of what was written.

    Raises:
        ConfigError: num_images or num_workers is less than 1, the seed is negative, or the split is
            unknown; nothing is written then.
    """
    for name, value in (("num_images", num_images), ("num_workers", num_workers)):
        if value < 1:
            raise ConfigError(f"{name} is {value}; at least 1 is needed")
    check_world(split, seed)
    config = config or SceneConfig()
    (output / "images").mkdir(parents=True, exist_ok=True)
    write_one = partial(_write_scene, output=output, seed=seed, split=split, config=config)
    counts: dict[str, Counter[str]] = {
        "masks": Counter(),
        "refs": Counter(single=0, several=0, none=0, sentences=0),
        "texts": Counter(dict.fromkeys(get_args(Kind), 0)),
    }
    with ExitStack() as stack:
        # The stack leaves in reverse: instances.json gets its name last.
        instances, refs, texts = (
            stack.enter_context(_open_partial(output / name))
            for name in ("instances.json", "refs.json", "texts.jsonl")
        )
        _write_head(instances, num_images, seed=seed, split=split, config=config)
        refs.write("[")
        for written, record in enumerate(_map_scenes(write_one, num_images, num_workers), 1):
            _write_items(instances, record.annotations, is_first=not counts["masks"]["all"])
            _write_items(refs, record.refs, is_first=not counts["refs"]["sentences"])
            texts.write(json.dumps(record.texts) + "\n")
            for name, counted in record.counts.items():
                counts[name].update(counted)
            if report is not None:
                report(written)
        refs.write("\n]\n")
        instances.write("\n]}\n")
    return SceneFilesSummary(num_images=num_images, **{k: dict(v) for k, v in counts.items()})


@dataclass(frozen=True, slots=True)
class _Record:
    """What a scene adds to each file."""

    annotations: list[dict[str, Any]]
    refs: list[dict[str, Any]]
    texts: dict[str, Any]
    counts: dict[str, Counter[str]]


@contextmanager
def _open_partial(path: Path) -> Iterator[TextIO]:
    """Write under a temporary name; rename when all went well, else leave nothing."""
    partial_path = path.with_name(path.name + ".partial")
    try:
        with partial_path.open("w", encoding="utf-8") as file:
            yield file
        os.replace(partial_path, path)
    finally:
        partial_path.unlink(missing_ok=True)


def _map_scenes(
    write_one: Callable[[int], _Record], num_images: int, num_workers: int
) -> Iterator[_Record]:
    """Records in the order of the scenes."""
    if num_workers == 1:
        yield from map(write_one, range(num_images))
        return
    with multiprocessing.get_context("spawn").Pool(num_workers) as pool:
        yield from pool.imap(write_one, range(num_images), chunksize=_SCENES_AT_ONCE)


def _write_head(
    file: TextIO, num_images: int, *, seed: int, split: str, config: SceneConfig
) -> None:
    """Everything of the COCO file that is known before a scene is drawn."""
    info = {"description": "synthetic scenes", "seed": seed, "split": split, **asdict(config)}
    categories = [{"id": i, "name": name} for name, i in _number_categories().items()]
    file.write(f'{{"info": {json.dumps(info)},\n"categories": {json.dumps(categories)},\n')
    file.write('"images": [')
    images = (
        {
            "id": index + 1,
            "file_name": f"{make_scene_id(split, seed, index)}.png",
            "height": config.height,
            "width": config.width,
        }
        for index in range(num_images)
    )
    _write_items(file, images, is_first=True)
    file.write('\n],\n"annotations": [')


def _write_items(file: TextIO, items: Iterable[dict[str, Any]], *, is_first: bool) -> None:
    for item in items:
        file.write(("\n" if is_first else ",\n") + json.dumps(item))
        is_first = False


def _number_categories() -> dict[str, int]:
    return {name: number for number, name in enumerate(list_categories(), 1)}


def _write_scene(
    index: int, *, output: Path, seed: int, split: str, config: SceneConfig
) -> _Record:
    """Draw one scene, write its image, and return what it adds to the other files."""
    scene = generate_scene(index, split=split, seed=seed, config=config)
    file_name = f"{scene.scene_id}.png"
    Image.fromarray(scene.image).save(output / "images" / file_name)
    image_id = index + 1
    annotations = [
        _annotate(scene, position, image_id=image_id) for position in range(len(scene.objects))
    ]
    texts = describe_scene(scene, seed=seed)
    refs = _make_refs(
        [text for text in texts if text.kind == "referring"],
        {annotation["mask_id"]: annotation for annotation in annotations},
        image={"image_id": image_id, "split": split, "file_name": file_name},
    )
    return _Record(
        annotations=annotations,
        refs=refs,
        texts={
            "image_id": image_id,
            "file_name": file_name,
            "texts": [_point_at_annotations(asdict(text), image_id) for text in texts],
        },
        counts={
            "masks": _count_masks(scene),
            "refs": _count_refs(refs),
            "texts": Counter(text.kind for text in texts),
        },
    )


def _number_mask(mask_id: str, image_id: int) -> int:
    """Annotation id of a mask."""
    return image_id * _IDS_PER_IMAGE + int(mask_id)


def _annotate(scene: Scene, position: int, *, image_id: int) -> dict[str, Any]:
    item = scene.objects[position]
    x0, y0, x1, y1 = item.box
    return {
        "id": _number_mask(item.mask_id, image_id),
        "image_id": image_id,
        "category_id": _number_categories()[item.category],
        "segmentation": dict(encode_rle(scene.masks[position])),
        "bbox": [x0, y0, x1 - x0 + 1, y1 - y0 + 1],
        "area": item.area,
        "iscrowd": 0,
        "mask_id": item.mask_id,
        "attributes": {
            "color": item.color,
            "texture": item.texture,
            "is_thin": item.is_thin,
            "visible_share": round(item.visible_share, 4),
            "part_of": _number_whole(scene, item, image_id),
        },
    }


def _number_whole(scene: Scene, item: SceneObject, image_id: int) -> int | None:
    if item.part_of is None:
        return None
    return _number_mask(scene.objects[item.part_of].mask_id, image_id)


def _make_refs(
    texts: list[SceneText], annotations: dict[str, dict[str, Any]], *, image: dict[str, Any]
) -> list[dict[str, Any]]:
    """Expressions for the same masks are sentences of one ref; every absence is its own."""
    sentences: dict[tuple[Any, ...], list[str]] = {}
    for text in texts:
        key = text.mask_ids or ("absent", text.text)
        sentences.setdefault(key, []).append(text.text)
    first_id = image["image_id"] * _IDS_PER_IMAGE
    refs, sent_id = [], first_id
    for ref_id, (key, wordings) in enumerate(sentences.items(), first_id):
        targets = [] if key[0] == "absent" else [annotations[mask_id] for mask_id in key]
        sent_ids = list(range(sent_id, sent_id + len(wordings)))
        sent_id += len(wordings)
        refs.append(
            {
                "ref_id": ref_id,
                **image,
                "sentences": [
                    _make_sentence(words, number)
                    for words, number in zip(wordings, sent_ids, strict=True)
                ],
                "sent_ids": sent_ids,
                "no_target": not targets,
                "ann_id": [target["id"] for target in targets] or [-1],
                "category_id": [target["category_id"] for target in targets] or [-1],
            }
        )
    return refs


def _make_sentence(words: str, sent_id: int) -> dict[str, Any]:
    tokens = re.findall(r"[\w-]+", words.lower())
    return {"sent_id": sent_id, "sent": words.lower(), "raw": words, "tokens": tokens}


def _point_at_annotations(text: dict[str, Any], image_id: int) -> dict[str, Any]:
    """Replace the scene's mask ids, in the text and in its spans, by annotation ids."""
    for entry in (text, *text["spans"]):
        entry["mask_ids"] = [_number_mask(mask_id, image_id) for mask_id in entry["mask_ids"]]
    return text


def _count_masks(scene: Scene) -> Counter[str]:
    pixels = scene.image.shape[0] * scene.image.shape[1]
    return Counter(
        {
            "all": len(scene.objects),
            "small": sum(item.area < _SMALL_SHARE * pixels for item in scene.objects),
            "thin": sum(item.is_thin for item in scene.objects),
            "part": sum(item.part_of is not None for item in scene.objects),
            "occluded": sum(item.visible_share < 0.9 for item in scene.objects),
        }
    )


def _count_refs(refs: list[dict[str, Any]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for ref in refs:
        several = "several" if len(ref["ann_id"]) > 1 else "single"
        counts["none" if ref["no_target"] else several] += 1
        counts["sentences"] += len(ref["sentences"])
    return counts
