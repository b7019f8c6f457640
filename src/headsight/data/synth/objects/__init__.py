"""Rendered objects of many kinds with named keypoints and exact truth."""

from headsight.data.synth.objects.categories import CATEGORIES, names_of
from headsight.data.synth.objects.category import Category, View, object_schema
from headsight.data.synth.objects.config import ObjectLabel, ObjectScene, ObjectsConfig
from headsight.data.synth.objects.folder import write_objects
from headsight.data.synth.objects.scene import render_objects

__all__ = [
    "CATEGORIES",
    "Category",
    "ObjectLabel",
    "ObjectScene",
    "ObjectsConfig",
    "View",
    "names_of",
    "object_schema",
    "render_objects",
    "write_objects",
]
