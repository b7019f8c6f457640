"""Rivals that read no words: the encoder alone, one shown an example, the middle of the box."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from encoder import SIDE, Words, best_places, to_input

from headsight.cut_out import cut_out
from headsight.data.keypoints import KeypointInstance
from headsight.eval.pck import pck
from headsight.geometry.keypoints import crop_of
from headsight.picture import open_picture


def match_supports(
    encoder: Any, instances: Sequence[KeypointInstance], *, seed: int
) -> dict[str, Any]:
    """One example a category: each of its points is sought by the features around it.

    The example is drawn among the objects of its category and not scored; points that it does not
    show are misses.
    """
    rng = np.random.default_rng(seed)
    scored, found = [], []
    ordered = sorted(instances, key=lambda one: one.category)
    for _, group in groupby(ordered, key=lambda one: one.category):
        members = list(group)
        best = max(int(one.visible.sum()) for one in members)
        full = [one for one in members if one.visible.sum() >= best - 1]
        support = full[int(rng.integers(len(full)))]
        wanted = _at(_cells(encoder, support), _fractions(support))
        for one in members:
            if one is support:
                continue
            cells = _cells(encoder, one)
            likeness = torch.einsum("kc,chw->khw", wanted, cells)
            likeness = F.interpolate(
                likeness[None], scale_factor=4, mode="bicubic", align_corners=False
            )[0]
            size = likeness.shape[-1]
            best_cell = likeness.flatten(1).argmax(1).numpy()
            places = np.stack([best_cell % size, best_cell // size], -1) + 0.5
            crop = crop_of(np.asarray(one.box, np.float64), one.image_wh)
            points = crop.to_image(places / size)
            points[~support.visible] = np.nan
            scored.append(one)
            found.append(points)
    return figures(scored, found)


@torch.no_grad()
def by_name(finder: Any, words: Words, instances: Sequence[KeypointInstance]) -> Any:
    """The encoder's own words of names, without a decoder; a name of no known word is a miss."""
    found = []
    for one in instances:
        points = np.full((len(one.names), 2), np.nan)
        asked = words(one.names)
        known = np.flatnonzero(asked.any(1))
        if len(known):
            crop = crop_of(np.asarray(one.box, np.float64), one.image_wh)
            pixels = to_input(cut_out(open_picture(one.image).image, crop, side=SIDE))
            places = best_places(*finder(pixels[None], asked[known][None]))[0].numpy()
            points[known] = crop.to_image(places)
        found.append(points)
    return figures(instances, found)


def middles(instances: Sequence[KeypointInstance]) -> dict[str, Any]:
    """The middle of the box as every point: what PCK gives for nothing."""
    found = []
    for one in instances:
        middle = crop_of(np.asarray(one.box, np.float64), one.image_wh).center
        found.append(np.tile(middle, (len(one.names), 1)))
    return figures(instances, found)


def figures(instances: Sequence[KeypointInstance], found: Sequence[Any]) -> dict[str, Any]:
    """PCK of points (K, 2) in px of every instance, NaN where there is none."""
    result = pck(
        found,
        [one.points for one in instances],
        [one.visible for one in instances],
        np.array([one.box_length for one in instances]),
        categories=[one.category for one in instances],
        resamples=0,
    )
    return result.to_dict()


@torch.no_grad()
def _cells(encoder: Any, one: KeypointInstance) -> Any:
    """Normalised features (C, h, w) of the object's crop."""
    crop = crop_of(np.asarray(one.box, np.float64), one.image_wh)
    pixels = to_input(cut_out(open_picture(one.image).image, crop, side=SIDE))
    features = encoder.features(pixels[None])[0]
    return F.normalize(features - features.mean((1, 2), keepdim=True), dim=0)


def _fractions(one: KeypointInstance) -> Any:
    crop = crop_of(np.asarray(one.box, np.float64), one.image_wh)
    return torch.from_numpy(crop.to_crop(one.points)).float()


def _at(cells: Any, places: Any) -> Any:
    """Features (K, C) at fractions of the crop."""
    grid = (places * 2 - 1)[None, None]
    return F.grid_sample(cells[None], grid, align_corners=False, padding_mode="border")[0, :, 0].T
