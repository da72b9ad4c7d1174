"""A seeded generator of scenes with exact masks and with language about them."""

from samtok.scenes.generator import SPLITS, Scene, SceneConfig, SceneObject, generate_scene

__all__ = ["SPLITS", "Scene", "SceneConfig", "SceneObject", "generate_scene"]
