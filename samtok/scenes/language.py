"""Everything that is said about a scene.

Made apart from the picture, so that whoever needs masks only does not pay for words.
"""

from __future__ import annotations

import zlib

import numpy as np

from samtok.scenes.conversation import write_questions, write_rounds
from samtok.scenes.describing import Telling
from samtok.scenes.facts import SceneFacts
from samtok.scenes.grounded_text import SceneText
from samtok.scenes.narration import write_caption, write_regions, write_relations
from samtok.scenes.referring import write_referring
from samtok.scenes.scene import Scene


def describe_scene(scene: Scene, *, seed: int = 0) -> tuple[SceneText, ...]:
    """Write referring expressions, a caption, relations, regions, rounds and questions.

    Every set of masks is found by evaluating the description on the scene, faint things included;
    what would rest on a borderline case is left unsaid, so some scenes get fewer texts.

    Args:
        scene: any scene.
        seed: another seed says other things of the same scene.

    Returns:
        Texts in the order of `grounded_text.Kind`; the same arguments give the same ones.
    """
    name = zlib.crc32(scene.scene_id.encode())
    rng = np.random.default_rng(np.random.SeedSequence([seed, name]))
    telling = Telling(SceneFacts(scene), rng)
    return (
        *write_referring(telling),
        *write_caption(telling),
        *write_relations(telling),
        *write_regions(telling),
        *write_rounds(telling),
        *write_questions(telling),
    )
