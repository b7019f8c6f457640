"""Rendered training pictures with exact truth about every head."""

from headsight.data.synth.config import HeadLabel, Scene, SceneConfig
from headsight.data.synth.folder import write_scenes
from headsight.data.synth.iterate import iterate_scenes
from headsight.data.synth.landmarks import LANDMARKS
from headsight.data.synth.scene import render_scene

__all__ = [
    "LANDMARKS",
    "HeadLabel",
    "Scene",
    "SceneConfig",
    "iterate_scenes",
    "render_scene",
    "write_scenes",
]
