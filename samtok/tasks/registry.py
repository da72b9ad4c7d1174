"""All tasks, and the way from the texts of an image to its conversations."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Final, cast

from samtok.scenes import Scene, describe_scene
from samtok.scenes.grounded_text import SceneText
from samtok.tasks import (
    grounded_conversation,
    interactive_segmentation,
    referring_segmentation,
    region_captioning,
    region_vqa,
    scene_graph,
)
from samtok.tasks.conversation import Conversation, Message
from samtok.tasks.draft import DialogueOptions, Draft, Task
from samtok.tasks.regions import Regions, list_scene_regions

GENERAL_VQA: Final = "general_vqa"
"""Conversations without masks, made elsewhere."""

TASKS: Final = tuple(
    cast(Task, module)
    for module in (
        region_captioning,
        region_vqa,
        grounded_conversation,
        referring_segmentation,
        scene_graph,
        interactive_segmentation,
    )
)
TASK_NAMES: Final = (*(task.NAME for task in TASKS), GENERAL_VQA)


def make_scene_conversations(scene: Scene, words: Mapping[str, str]) -> list[Conversation]:
    """A conversation of each task for each text about a scene.

    Args:
        scene: with or without objects.
        words: what stands for each mask in a text, by `mask_id`.
    """
    conversations, _ = make_conversations(
        scene.scene_id,
        dict(enumerate(describe_scene(scene))),
        list_scene_regions(scene, words),
        weights=dict.fromkeys(TASK_NAMES, 1.0),
        options=DialogueOptions(),
    )
    return conversations


def make_conversations(
    image_id: str,
    texts: Mapping[int, SceneText],
    regions: Regions,
    *,
    weights: Mapping[str, float],
    options: DialogueOptions,
    seed: int = 0,
) -> tuple[list[Conversation], set[int]]:
    """Make the conversations of one image; the same arguments give the same ones.

    What is drawn for a text depends on the seed, the image and the text's position alone, so
    images can be dealt with in any order and place.

    Args:
        image_id: of the image.
        texts: what is said about it, by position; all masks they name are in `regions`.
        regions: its masks.
        weights: by task, how many conversations a text gives on average, 0 or more; see
            :func:`count_copies`. A task that is not named gives none.
        options: forms of answers.
        seed: another seed chooses other texts, forms and wordings.

    Returns:
        Conversations, by task and text; and the positions of the texts they are made of.
    """
    made: list[Conversation] = []
    used: set[int] = set()
    for task in TASKS:
        for group in task.group_texts(texts):
            name = f"{image_id}/{task.NAME}/{group[0]}"
            members = [texts[position] for position in group]
            weight = weights.get(task.NAME, 0.0)
            if all(text.kind == "referring" and not text.mask_ids for text in members):
                weight *= options.no_target_share
            copies = count_copies(weight, f"{seed}/{name}")
            for copy in range(copies):
                draft = task.write(members, regions, Random(f"{seed}/{name}/{copy}"), options)
                made.append(_finish(draft, f"{name}/{copy}", task.NAME, regions))
            if copies:
                used.update(group)
    return made, used


def count_copies(weight: float, name: str) -> int:
    """How often something is taken so that it is taken `weight` times on average.

    The whole part of the weight, and once more with the chance of the rest, drawn from the name.
    """
    return int(weight + Random(f"{name}/copies").random())


def _finish(draft: Draft, conversation_id: str, task: str, regions: Regions) -> Conversation:
    messages = [
        message
        for asked, answer in draft.rounds
        for message in (Message("user", asked), Message("assistant", answer.text))
    ]
    mask_ids = draft.rounds[-1][1].mask_ids
    return Conversation(
        conversation_id=conversation_id,
        task=task,
        messages=tuple(messages),
        target_words=tuple(regions[mask_id].words for mask_id in mask_ids),
        mask_ids=mask_ids,
    )
