"""What the base has learned: questions about unseen scenes, answered by generation."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from samtok.mllm.generation import GenerationConfig, generate
from samtok.mllm.model import Mllm
from samtok.mllm.pretraining.lessons import format_box
from samtok.scenes import Scene, describe_scene
from samtok.scenes.scene import SceneObject

_BOX: Final = re.compile(r"\[(\d\d) (\d\d) (\d\d) (\d\d)\]")


def examine(mllm: Mllm, scenes: list[Scene]) -> dict[str, float]:
    """Ask for the box of each singular expression, and for the name of each object.

    Args:
        mllm: the base, before it knows mask words.
        scenes: unseen.

    Returns:
        Shares in 0..1: ``box_iou`` (mean over expressions of one target, 0 where no box is
        answered), ``box_found`` (IoU at least 0.5), ``refused`` (expressions without target that
        got no box), ``texture_right``, ``color_right`` and ``category_right`` of objects named.
    """
    wanted, overlaps = _ask_for_boxes(mllm, scenes)
    single = overlaps[wanted == 1]
    names = _ask_for_names(mllm, scenes)
    return {
        "box_iou": float(single.mean()),
        "box_found": float((single >= 0.5).mean()),
        "refused": float(overlaps[wanted == 0].mean()),
        "texture_right": float(names[:, 0].mean()),
        "color_right": float(names[:, 1].mean()),
        "category_right": float(names[:, 2].mean()),
    }


def read_boxes(text: str) -> list[tuple[int, ...]]:
    """Boxes in a text, percent of the picture."""
    return [tuple(map(int, match.groups())) for match in _BOX.finditer(text)]


def _ask_for_boxes(mllm: Mllm, scenes: list[Scene]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of targets (0 or 1), and box IoU (for 0: whether no box was answered)."""
    asked = [
        (scene, text)
        for scene in scenes
        for text in describe_scene(scene)
        if text.kind == "referring" and len(text.mask_ids) <= 1
    ]
    answers = generate(
        mllm,
        [scene.image for scene, _ in asked],
        [f"Find {text.text}." for _, text in asked],
        GenerationConfig(max_new_tokens=24),
    )
    overlaps = []
    for (scene, text), answer in zip(asked, answers, strict=True):
        boxes = read_boxes(answer)
        if not text.mask_ids:
            overlaps.append(float(not boxes))
            continue
        target = next(thing for thing in scene.objects if thing.mask_id == text.mask_ids[0])
        (truth,) = read_boxes(format_box(scene, target))
        overlaps.append(_box_iou(boxes[0], truth) if len(boxes) == 1 else 0.0)
    return np.array([len(text.mask_ids) for _, text in asked]), np.array(overlaps)


def _ask_for_names(mllm: Mllm, scenes: list[Scene]) -> np.ndarray:
    """Which of texture, colour and category are right; bool, shape (objects, 3)."""
    asked = [(scene, thing) for scene in scenes for thing in scene.objects]
    answers = generate(
        mllm,
        [scene.image for scene, _ in asked],
        [f"Name {format_box(scene, thing)}." for scene, thing in asked],
        GenerationConfig(max_new_tokens=12),
    )
    right = []
    for (_, thing), answer in zip(asked, answers, strict=True):
        said = [*answer.split(), "", "", ""][:3]
        right.append([s == t for s, t in zip(said, _name_of(thing), strict=True)])
    return np.array(right)


def _name_of(thing: SceneObject) -> tuple[str, str, str]:
    return thing.texture, thing.color, thing.category


def _box_iou(a: tuple[int, ...], b: tuple[int, ...]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    common = max(0, width) * max(0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    union = max(0, areas[0]) + max(0, areas[1]) - common
    return common / union if union else 0.0
