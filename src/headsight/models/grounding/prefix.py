"""One picture, many questions: the image prefix is encoded once, all are answered behind it.

The keys and values of `[bos][boi][patches][eoi]` are kept once a picture and shared by the rows of
all its questions: each step attends to the shared part with one matrix product for all rows and to
its own row with another, and the two are joined under one softmax. A lean greedy loop on
preallocated buffers, without `generate`'s overhead; the tokens are those of `generate`.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from headsight.errors import InputError
from headsight.models.grounding.model import GroundingVLM
from headsight.models.grounding.visual_expert import VisualExpertLayer, rotary_cos_sin, rotate

__all__ = ["ImagePrefix", "LogitsFilter", "Written", "answer_many", "encode_image", "log_mass"]

LogitsFilter = Callable[[Tensor, Tensor], Tensor]
"""As transformers' LogitsProcessor: (ids (n, l), scores (n, v)) -> scores (n, v)."""


@dataclass(frozen=True, eq=False)
class ImagePrefix:
    """Keys and values of the image prefixes of G pictures, a layer each."""

    keys: tuple[Float[Tensor, "g k p c"], ...]
    values: tuple[Float[Tensor, "g k p c"], ...]
    next_position: int
    """Position id of the first token behind the prefix."""

    @property
    def num_pictures(self) -> int:
        """Pictures that were encoded."""
        return len(self.keys[0])


@dataclass(frozen=True)
class Written:
    """What the model wrote behind one question."""

    token_ids: tuple[int, ...]
    """Without the end-of-text token."""
    logprobs: tuple[float, ...]
    """Log-probability of each token in the model's own distribution, before any filter."""
    ended: bool
    """False where `max_new_tokens` cut the answer."""


@torch.inference_mode()
def encode_image(
    model: GroundingVLM,
    pixel_values: Float[Tensor, "g 3 s s"] | None = None,
    content_wh_rel: Float[Tensor, "g 2"] | None = None,
    *,
    image_features: Float[Tensor, "g n c"] | None = None,
) -> ImagePrefix:
    """The prefix of each picture, ready for `answer_many`.

    `image_features` are the encoder's tokens, in the place of pixels.
    """
    config, slots = model.config, model.model.slots_per_image
    given = pixel_values if image_features is None else image_features
    assert given is not None, "pixels or features are needed"
    count, device = len(given), model.device
    ids = torch.full((count, 1 + slots), config.slot_token_id, device=device)
    if config.bos_token_id is not None:
        ids[:, 0] = config.bos_token_id
    types = torch.ones_like(ids)
    types[:, 0] = 0
    cache = DynamicCache(config=config)
    model.model(
        input_ids=ids,
        token_type_ids=types,
        pixel_values=None if pixel_values is None else pixel_values.to(device),
        content_wh_rel=None if content_wh_rel is None else content_wh_rel.to(device),
        image_features=None if image_features is None else image_features.to(device),
        past_key_values=cache,
        use_cache=True,
    )
    return ImagePrefix(
        keys=tuple(kept[0] for kept in cache),
        values=tuple(kept[1] for kept in cache),
        next_position=4 if config.share_image_position else 1 + slots,
    )


@torch.inference_mode()
def answer_many(
    model: GroundingVLM,
    prefix: ImagePrefix,
    questions: Sequence[Sequence[int]],
    *,
    pictures: Sequence[int] | None = None,
    max_new_tokens: int = 512,
    eos_token_id: int | Sequence[int] | None = None,
    filters: LogitsFilter | Sequence[LogitsFilter | None] | None = None,
    neighbours: Int[Tensor, "v k"] | None = None,
) -> list[Written]:
    """Greedy answers to `questions` (token ids of the text behind the image prefix).

    Args:
        model: the model that made `prefix`.
        prefix: one or several pictures.
        questions: may differ in length.
        pictures: number of the picture each question is about; by default all are about the first.
        max_new_tokens: longest answer; rows that end earlier stop by themselves.
        eos_token_id: end of an answer; the config's by default.
        filters: one for all rows or one a row (grammars); sees question and answer ids, changes
        scores.
        neighbours: ids whose probability counts towards each token's (-1 = none), where numbers
        were learned with soft targets and their mass lies around the right one.

    Raises:
        InputError: an empty question, or a picture number that the prefix does not have.
    """
    if not questions or max_new_tokens <= 0:
        return [Written((), (), ended=False) for _ in questions]
    about = list(pictures) if pictures is not None else [0] * len(questions)
    _check(questions, about, prefix)
    eos = model.config.eos_token_id if eos_token_id is None else eos_token_id
    ends = {eos} if isinstance(eos, int) else set(eos or ())
    decoder = _SharedDecoder(model, prefix, questions, about, max_new_tokens)
    rows, seen = decoder.rows, decoder.question_ids
    hidden = decoder.extend(seen)[:, -1]
    open_rows = set(range(len(questions)))
    tokens: list[list[int]] = [[] for _ in questions]
    logprobs: list[Tensor] = []
    for _ in range(max_new_tokens):
        scores = model.lm_head(hidden[rows]).float()  # (Q, V)
        allowed = _filter(filters, seen[rows], scores)
        chosen = allowed.argmax(-1)
        logprobs.append(log_mass(scores.log_softmax(-1), chosen, neighbours))
        for row, token in enumerate(chosen.tolist()):
            if row in open_rows:
                if token in ends:
                    open_rows.discard(row)
                else:
                    tokens[row].append(token)
        if not open_rows or len(logprobs) == max_new_tokens:
            break
        following = seen.new_zeros(len(seen), 1)
        following[rows, 0] = chosen
        seen = torch.cat([seen, following], 1)
        hidden = decoder.extend(following)[:, -1]
    table = torch.stack(logprobs, 1).tolist()
    return [
        Written(tuple(ids), tuple(table[row][: len(ids)]), ended=row not in open_rows)
        for row, ids in enumerate(tokens)
    ]


def log_mass(
    log_p: Float[Tensor, "q v"], chosen: Int[Tensor, " q"], neighbours: Int[Tensor, "v k"] | None
) -> Float[Tensor, " q"]:
    """Log-probability of each chosen token, its neighbours included."""
    if neighbours is None:
        return log_p.gather(1, chosen[:, None])[:, 0]
    ids = neighbours[chosen]
    near = log_p.gather(1, ids.clamp(min=0)).masked_fill(ids < 0, -torch.inf)
    return near.logsumexp(1).clamp(max=0)


class _SharedDecoder:
    """The decoder over shared prefixes; rows of one picture stand together: G pictures, R rows."""

    def __init__(
        self,
        model: GroundingVLM,
        prefix: ImagePrefix,
        questions: Sequence[Sequence[int]],
        about: Sequence[int],
        max_new_tokens: int,
    ) -> None:
        config, device = model.config, model.device
        self._model = model
        self._shape = (prefix.num_pictures, max(about.count(p) for p in set(about)))
        pictures, rows_each = self._shape
        taken = [0] * pictures
        places = []
        for picture in about:
            places.append(picture * rows_each + taken[picture])
            taken[picture] += 1
        self.rows = torch.tensor(places, device=device)
        """Row of each question among the G x R."""
        longest = max(map(len, questions))
        ids = torch.full((pictures * rows_each, longest), config.slot_token_id)
        pads = torch.zeros(pictures * rows_each, 1, dtype=torch.long)
        for place, question in zip(places, questions, strict=True):
            pads[place] = longest - len(question)
            ids[place, longest - len(question) :] = torch.tensor(question)
        self.question_ids = ids.to(device)
        """(G x R, longest question), padded on the left."""
        capacity = longest + max_new_tokens
        column = torch.arange(capacity)
        positions = (column - pads).clamp(min=0) + prefix.next_position
        dtype = model.model.embed_tokens.weight.dtype
        cos, sin = rotary_cos_sin(positions.to(device), config, dtype)
        self._cos, self._sin = cos, sin
        self._bias: Tensor | None = None
        if bool(pads.any()):
            shut = (column < pads).to(device)[:, None, None]  # (N, 1, 1, capacity)
            self._bias = torch.zeros(shut.shape, dtype=dtype, device=device).masked_fill(
                shut, torch.finfo(dtype).min
            )
        size = (len(ids), prefix.keys[0].shape[1], capacity, config.head_dim)
        self._keys = [torch.empty(size, dtype=k.dtype, device=device) for k in prefix.keys]
        self._values = [torch.empty_like(k) for k in self._keys]
        self._far_keys = [k.flatten(0, 1).transpose(1, 2).contiguous() for k in prefix.keys]
        self._far_values = [v.flatten(0, 1).contiguous() for v in prefix.values]
        self._used = 0

    def extend(self, ids: Int[Tensor, "n t"]) -> Float[Tensor, "n t d"]:
        """Final hidden states of new tokens behind everything so far."""
        body = self._model.model
        start, self._used = self._used, self._used + ids.shape[1]
        new = slice(start, self._used)
        turn = self._cos[:, new], self._sin[:, new]
        mask = self._mask(ids.shape[1])
        hidden = body.embed_tokens(ids)
        layer: VisualExpertLayer
        for index, layer in enumerate(body.layers):
            attention = layer.self_attn
            query, key, value = attention.project(layer.input_layernorm(hidden), None)
            self._keys[index][:, :, new] = rotate(key, *turn)
            self._values[index][:, :, new] = value
            context = self._attend(index, rotate(query, *turn) * attention.scaling, mask)
            hidden = hidden + attention.language_expert_dense(context)
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden), None)
        return body.norm(hidden)  # type: ignore[no-any-return]

    def _mask(self, new: int) -> Tensor | None:
        """What is added to the scores of a row's own tokens: (N or 1, 1, T, used)."""
        bias = None if self._bias is None else self._bias[..., : self._used]
        if new == 1:
            return bias
        low = torch.finfo(self._cos.dtype).min
        later = torch.full((new, self._used), low, dtype=self._cos.dtype, device=self._cos.device)
        later = later.triu(self._used - new + 1)[None, None]
        return later if bias is None else torch.minimum(later, bias)

    def _attend(self, index: int, query: Tensor, mask: Tensor | None) -> Tensor:
        """Context (N, T, H * C) of queries (N, H, T, C) over prefix and the row's own tokens."""
        pictures, rows = self._shape
        total, heads, new, width = query.shape
        kv_heads = self._keys[index].shape[1]
        groups = heads // kv_heads
        split = (pictures, rows, kv_heads, groups * new, -1)
        near_keys = self._keys[index][:, :, : self._used].flatten(0, 1)
        near_values = self._values[index][:, :, : self._used].flatten(0, 1)
        query = query.reshape(total * kv_heads, groups * new, width)
        near = torch.bmm(query, near_keys.transpose(1, 2))
        if mask is not None:
            near = (near.view(total, heads, new, -1) + mask).view_as(near)
        asked = query.view(split).transpose(1, 2).reshape(pictures * kv_heads, -1, width)
        far = torch.bmm(asked, self._far_keys[index])  # (G * K, R * groups * T, P)
        far = far.view(pictures, kv_heads, rows, groups * new, -1).transpose(1, 2)
        near = near.view(split)
        weights = torch.cat([far, near], -1).softmax(-1, dtype=torch.float32).to(query.dtype)
        far, near = weights.split([far.shape[-1], near.shape[-1]], -1)
        far = far.transpose(1, 2).reshape(pictures * kv_heads, rows * groups * new, -1)
        context = torch.bmm(far, self._far_values[index])
        context = context.view(pictures, kv_heads, rows, groups * new, width).transpose(1, 2)
        own = torch.bmm(near.reshape(total * kv_heads, groups * new, -1), near_values)
        context = context.reshape_as(own) + own
        return context.view(total, heads, new, width).transpose(1, 2).reshape(total, new, -1)


def _check(questions: Sequence[Sequence[int]], about: Sequence[int], prefix: ImagePrefix) -> None:
    for number, question in enumerate(questions):
        if not len(question):
            raise InputError(f"Question {number} has no tokens; expected at least one.")
    if len(about) != len(questions) or not all(0 <= p < prefix.num_pictures for p in about):
        raise InputError(
            f"pictures is {about}, but must give a number under {prefix.num_pictures} for each of"
            f" the {len(questions)} questions."
        )


def _filter(
    filters: LogitsFilter | Sequence[LogitsFilter | None] | None, seen: Tensor, scores: Tensor
) -> Tensor:
    """The scores after the filters; the caller's are left as they are."""
    if filters is None:
        return scores
    if not isinstance(filters, Sequence):
        return filters(seen, scores.clone())
    parts = [
        one if own is None else own(seen[row : row + 1], one.clone())
        for row, (own, one) in enumerate(zip(filters, scores.split(1), strict=True))
    ]
    return torch.cat(parts)
