"""A seeded generator of scenes with exact masks and with language about them."""

from samtok.scenes.generator import generate_scene
from samtok.scenes.grounded_text import SceneText, Span
from samtok.scenes.language import describe_scene
from samtok.scenes.scene import SPLITS, Scene, SceneConfig, SceneObject, Split

__all__ = [
    "SPLITS",
    "Scene",
    "SceneConfig",
    "SceneObject",
    "SceneText",
    "Span",
    "Split",
    "describe_scene",
    "generate_scene",
]
