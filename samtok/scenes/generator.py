"""Synthetic scenes with exact masks: what the tokenizer is trained on and everything is tried on.

A scene is a pure function of seed, split, index and config. Objects are planned (`plan`), drawn
from back to front (`canvas`), and what can be seen of them is collected (`visible`). Compound
objects (a car, a mug) have masks for the whole and for their parts; a whole's mask contains those
of its parts.
"""

from __future__ import annotations

import numpy as np

from samtok.errors import ConfigError
from samtok.scenes.canvas import Canvas, draw_all
from samtok.scenes.plan import plan_objects
from samtok.scenes.scene import SPLITS, Scene, SceneConfig, check_world, make_scene_id
from samtok.scenes.visible import collect_visible


def generate_scene(
    index: int, *, split: str = "train", seed: int = 0, config: SceneConfig | None = None
) -> Scene:
    """Draw one scene.

    Splits never share a scene: the split is part of what seeds the generator.

    Args:
        index: which scene; at least 0.
        split: train, val or test.
        seed: which world of scenes; at least 0.
        config: what scenes look like.

    Returns:
        The scene; the same arguments give the same one.

    Raises:
        ConfigError: the split is unknown, or the index or the seed is negative.
    """
    check_world(split, seed)
    if index < 0:
        raise ConfigError(f"scene index is {index}; at least 0 is needed")
    config = config or SceneConfig()
    rng = np.random.default_rng(np.random.SeedSequence([seed, SPLITS.index(split), index]))
    canvas = Canvas.with_background(config.height, config.width, rng)
    planned = plan_objects(
        rng,
        height=config.height,
        width=config.width,
        empty_share=config.empty_share,
        cluttered_share=config.cluttered_share,
    )
    figure_pixels = draw_all(planned, canvas, rng)
    noise = rng.standard_normal(canvas.picture.shape, dtype=np.float32) * rng.uniform(0, 5)
    masks, objects, faint = collect_visible(planned, figure_pixels, canvas, config)
    return Scene(
        scene_id=make_scene_id(split, seed, index),
        image=(canvas.picture + noise).clip(0, 255).astype(np.uint8),
        masks=masks,
        objects=objects,
        faint=faint,
    )
