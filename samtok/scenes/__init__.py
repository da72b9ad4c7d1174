"""A seeded generator of scenes with exact masks and with language about them."""

from samtok.scenes.generator import generate_scene
from samtok.scenes.scene import SPLITS, Scene, SceneConfig, SceneObject

__all__ = ["SPLITS", "Scene", "SceneConfig", "SceneObject", "generate_scene"]
