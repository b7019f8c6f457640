"""Which tokens belong to a picture, their positions and weights (CogVLM, arXiv 2311.03079).

A picture takes one run of slots: begin-of-image, its patches, end-of-image. The patches use the
visual expert and share one position, so that text after a large picture is not pushed far away;
end-of-image is a language token.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor

__all__ = [
    "ImageSlots",
    "Routes",
    "answer_positions",
    "build_position_ids",
    "image_slots",
    "token_routes",
    "vision_expert_mask",
]


class ImageSlots(NamedTuple):
    """The slots of every picture in a batch of token rows."""

    inside: Bool[Tensor, "b l"]
    """Any slot of a picture, its two borders included."""
    first: Bool[Tensor, "b l"]
    """Begin-of-image."""
    last: Bool[Tensor, "b l"]
    """End-of-image."""


class Routes(NamedTuple):
    """Which flat positions (of B x L) go to which weights, computed once a forward pass."""

    language: Int[Tensor, " n_l"]
    vision: Int[Tensor, " n_v"]
    inverse: Int[Tensor, " n"]
    """Where each flat position is found when vision results are put behind language results."""


def image_slots(
    token_type_ids: Int[Tensor, "b l"], *, slots_per_image: int | None = None
) -> ImageSlots:
    """Slots of the pictures; 1 in `token_type_ids` marks a slot, 0 a language token.

    Pictures that touch are told apart only when `slots_per_image` (patches + 2) is given.
    """
    inside = token_type_ids == 1
    before = torch.nn.functional.pad(inside, (1, 0))[:, :-1]
    after = torch.nn.functional.pad(inside, (0, 1))[:, 1:]
    first, last = inside & ~before, inside & ~after
    if slots_per_image is not None:
        place = torch.arange(inside.shape[1], device=inside.device)
        start = torch.where(first, place, 0).cummax(1).values
        within = (place - start) % slots_per_image
        first = inside & (within == 0)
        last = last | (inside & (within == slots_per_image - 1))
    return ImageSlots(inside, first, last)


def vision_expert_mask(
    token_type_ids: Int[Tensor, "b l"], *, slots_per_image: int | None = None
) -> Bool[Tensor, "b l"]:
    """True where the visual expert is used: every slot of a picture but its last.

    Example:
        >>> vision_expert_mask(torch.tensor([[0, 1, 1, 1, 1, 0, 0, 0]])).int().tolist()
        [[0, 1, 1, 1, 0, 0, 0, 0]]
    """
    slots = image_slots(token_type_ids, slots_per_image=slots_per_image)
    return slots.inside & ~slots.last


def build_position_ids(
    token_type_ids: Int[Tensor, "b l"],
    attention_mask: Int[Tensor, "b l"] | Bool[Tensor, "b l"] | None = None,
    *,
    share_image_position: bool = True,
    slots_per_image: int | None = None,
) -> Int[Tensor, "b l"]:
    """Position ids: all patches of a picture share one; padding does not advance.

    Example:
        >>> build_position_ids(torch.tensor([[0, 1, 1, 1, 1, 0, 0, 0]])).tolist()
        [[0, 1, 2, 2, 3, 4, 5, 6]]
    """
    advances = torch.ones_like(token_type_ids, dtype=torch.bool)
    if share_image_position:
        slots = image_slots(token_type_ids, slots_per_image=slots_per_image)
        patch = slots.inside & ~slots.first & ~slots.last
        advances = ~(patch & torch.nn.functional.pad(patch, (1, 0))[:, :-1])
    if attention_mask is not None:
        advances = advances & attention_mask.bool()
    return (advances.long().cumsum(1) - 1).clamp(min=0)


def token_routes(is_vision: Bool[Tensor, "b l"]) -> Routes | None:
    """Index lists for the two sets of weights; None where every token is a language token."""
    flat = is_vision.flatten()
    num_vision = int(flat.sum())
    if not num_vision:
        return None
    order = flat.long().argsort(stable=True)
    language, vision = order.split([len(flat) - num_vision, num_vision])
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(flat), device=flat.device)
    return Routes(language, vision, inverse)


def answer_positions(labels: Int[Tensor, "b l"]) -> Bool[Tensor, "b l"]:
    """True before each answer token (label not -100): the only places that need logits."""
    return torch.nn.functional.pad(labels[:, 1:] != -100, (0, 1))
