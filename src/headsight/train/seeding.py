"""Where nano's decoder starts: numbers and words of traits alike wherever they stand."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from headsight.models.grounding.headgrid import COLORS, HeadGrid, fourier_features
from headsight.models.grounding.model import GroundingVLM
from headsight.models.grounding.tokenizer import first_number_id

__all__ = ["seed_numbers_"]

_LOUDNESS = 4.0  # of attribute probabilities in the tokens


def seed_numbers_(
    model: GroundingVLM, tokenizer: PreTrainedTokenizerFast, *, generator: torch.Generator
) -> None:
    """Start numbers alike wherever they stand.

    Each kind has its own directions of the residual stream. The embeddings of 000..999 begin as
    Fourier features in twenty directions; the seven numbers of the encoder's reading begin as the
    same features in twenty directions each, orthogonal to all others. Copying a number from a
    picture token into the answer is then one linear map, and neighbouring numbers look alike from
    the first step.
    """
    values = fourier_features(torch.arange(1000) / 1000)
    block = values.shape[1]
    scale = block**-0.5 * 2**0.5  # a number's features then have length one
    weight: Tensor = model.model.embed_tokens.weight
    width = weight.shape[1]
    directions, _ = torch.linalg.qr(torch.randn(width, width, generator=generator))
    encoder: HeadGrid = model.model.vision.encoder
    first = first_number_id(tokenizer)
    with torch.no_grad():
        weight[first : first + 1000] = values @ directions[:, :block].T * scale
        used = min(encoder.read_in.weight.shape[1], width - block)
        encoder.read_in.weight.zero_()
        encoder.read_in.weight[:, :used] = directions[:, block : block + used] * scale
        # one probability beside twenty numbers of each edge would hardly be heard
        encoder.read_in.weight[:, 7 * block :] *= _LOUDNESS
        encoder.read_in.bias.zero_()
        _seed_words_(weight, encoder, tokenizer)
        # what the grid features add is learned later, on pictures
        encoder.feature_in.weight.zero_()
        encoder.feature_in.bias.zero_()
        adapter = model.model.vision.linear_proj
        if isinstance(adapter, nn.Linear) and adapter.in_features == adapter.out_features:
            nn.init.eye_(adapter.weight)
            nn.init.zeros_(adapter.bias)


def _seed_words_(weight: Tensor, encoder: HeadGrid, tokenizer: PreTrainedTokenizerFast) -> None:
    """Start words of traits along the directions in which the tokens say these traits.

    What asks for red then already asks for another thing than what asks for blue.
    """
    names = [
        f"{name} {color}" if number > 1 else name
        for name, number in encoder.config.attributes.items()
        for color in COLORS[:number]
    ]
    said = encoder.read_in.weight[:, -len(names) :]
    direction = dict(zip(names, (said / said.norm(dim=0)).T, strict=True))
    traits = {
        **{w: ((1.0, "male"),) for w in ("man", "men")},
        **{w: ((-1.0, "male"),) for w in ("woman", "women")},
        **{w: ((1.0, "hat"),) for w in ("hat", "hats")},
        "glasses": ((1.0, "glasses"),),
        **{c: ((0.7, f"clothes_color {c}"), (0.7, f"hat_color {c}")) for c in COLORS},
    }
    for word, parts in traits.items():
        for share, name in parts:
            weight[tokenizer.encode(" " + word)[-1]] += share * direction[name]
