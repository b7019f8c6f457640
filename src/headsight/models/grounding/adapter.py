"""`GroundingVLM` behind the `VLM` protocol, loaded from a folder."""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from itertools import pairwise, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from headsight.errors import CheckpointError, ConfigError, InputError
from headsight.language.grammar import grammar_processor
from headsight.language.spec import CodecSpec
from headsight.models.base import MAX_NEW_TOKENS, Reply
from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.low_bit import require_low_bit
from headsight.models.grounding.model import GroundingVLM
from headsight.models.grounding.prefix import ImagePrefix, Written, answer_many, encode_image
from headsight.models.grounding.processor import GroundingProcessor
from headsight.models.grounding.tokenizer import near_numbers
from headsight.models.grounding.weights import empty_model, load_weights_, read_json, weight_files
from headsight.models.image_views import ImageView, RegionView
from headsight.picture import Picture

if TYPE_CHECKING:
    from headsight.models.families.grounding import Grounding, Looked

__all__ = ["GroundingAdapter", "is_ours", "load_folder", "resolve_device"]

_ROWS = 64  # questions answered at once
_REACH = 8
"""Numbers this near share a soft target (four deviations), so their probabilities are added."""


class GroundingAdapter:
    """Answers questions with a `GroundingVLM`; those about one picture share its prefix.

    The prefix of the last picture is kept, so that asking again about it (the poses of the heads
    just found) does not encode it anew.
    """

    def __init__(self, model: GroundingVLM, processor: GroundingProcessor, *, name: str) -> None:
        self.name = name
        # convolutions of the encoder run faster on a CPU with the channels last
        self.model: GroundingVLM = model.eval().to(memory_format=torch.channels_last)
        self.processor = processor
        self.neighbours = _neighbours(processor, model.device)
        """Ids whose probability counts towards each token's; None where numbers stand alone."""
        self._last: tuple[weakref.ref[Any], ImagePrefix] | None = None
        self._last_inputs: tuple[weakref.ref[Any], str, dict[str, Any]] | None = None
        self._last_look: tuple[weakref.ref[Any], Looked] | None = None

    def answer(
        self,
        picture: Picture,
        prompts: Sequence[str],
        *,
        grammar: CodecSpec | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> list[Reply]:
        """One greedy reply a prompt, in their order; see `VLM`.

        Raises:
            InputError: an empty prompt, or one longer than the model can read.
        """
        questions = [self._question(prompt) for prompt in prompts]
        if not questions:
            return []
        prefix = self._prefix(picture)
        replies = []
        for start in range(0, len(questions), _ROWS):
            part = slice(start, start + _ROWS)
            written = answer_many(
                self.model,
                prefix,
                questions[part],
                max_new_tokens=max_new_tokens,
                eos_token_id=self.processor.tokenizer.eos_token_id,
                filters=self._filter(grammar),
                neighbours=self.neighbours,
            )
            replies += [self._reply(p, w) for p, w in zip(prompts[part], written, strict=True)]
        return replies

    def prepare(self, picture: Picture, prompt: str, *, written: str = "") -> dict[str, Any]:
        """What the model is called with; see `AttentiveVLM`. The picture is encoded already."""
        from headsight.models.families.family import begun

        inputs = begun(self.processor.tokenizer, self._inputs(picture, prompt), written)
        del inputs["pixel_values"]
        inputs["image_features"] = self._looked(picture, prompt).tokens
        device, dtype = self.model.device, self.model.dtype
        return {
            name: value.to(device, dtype if value.is_floating_point() else value.dtype)
            for name, value in inputs.items()
        }

    def views(self, picture: Picture, prompt: str) -> tuple[ImageView, ...]:
        """Where each image token looks; cells that the encoder leaves out have none."""
        inputs = self._inputs(picture, prompt)
        return self._family.views(self.model.config, self.processor, inputs, picture.image_wh)

    def regions(self, picture: Picture, prompt: str) -> RegionView | None:
        """The box that each of nano's tokens reads; None for CogVLM, whose tokens are cells."""
        inputs, looked = self._inputs(picture, prompt), self._looked(picture, prompt)
        return self._family.regions(self.processor, inputs, picture.image_wh, looked)

    def text_span(self, picture: Picture, prompt: str, words: str | None = None) -> tuple[int, int]:
        """First token of `words` (the prompt where None) in the sequence, and the one behind."""
        inputs = self._inputs(picture, prompt)
        return self._family.text_span(self.processor, inputs, prompt, words or prompt)

    def _inputs(self, picture: Picture, prompt: str) -> dict[str, Any]:
        """The inputs of the last question are kept: prepare, regions and spans share them."""
        last = self._last_inputs
        if last is None or last[0]() is not picture or last[1] != prompt:
            inputs = self._family.inputs(self.processor, picture, prompt)
            last = self._last_inputs = (weakref.ref(picture), prompt, inputs)
        return last[2]

    def _looked(self, picture: Picture, prompt: str) -> Looked:
        """What the encoder makes of the last picture is kept, whatever is asked about it."""
        last = self._last_look
        if last is None or last[0]() is not picture:
            last = (weakref.ref(picture), self._family.look(self._inputs(picture, prompt)))
            self._last_look = last
        return last[1]

    @property
    def _family(self) -> Grounding:
        from headsight.models.families.grounding import Grounding

        return Grounding(self.model)

    def _question(self, prompt: str) -> list[int]:
        ids = self.processor.question_ids(prompt)
        most = self.model.config.max_position_embeddings
        if len(ids) > most:
            raise InputError(
                f"The prompt is {len(ids)} tokens long ({prompt[:40]!r}...), but at most {most}"
                " can be read. Ask in one sentence."
            )
        return ids

    def _prefix(self, picture: Picture) -> ImagePrefix:
        if self._last is not None and self._last[0]() is picture:
            return self._last[1]
        pixels, shares = self.processor.pixels([picture])
        dtype = self.model.dtype
        pixels = pixels.to(dtype, memory_format=torch.channels_last)
        prefix = encode_image(self.model, pixels, shares.to(dtype))
        self._last = (weakref.ref(picture), prefix)
        return prefix

    def _filter(self, grammar: CodecSpec | None) -> Any:
        if grammar is None:
            return None
        return grammar_processor(self.processor.tokenizer, grammar)

    def _reply(self, prompt: str, written: Written) -> Reply:
        text = self.processor.decode_answer(written.token_ids)
        decode = self.processor.decode_answer  # special tokens in the middle are no text
        pieces = tuple(decode([i]) for i in written.token_ids)
        if "".join(pieces) != text:  # a character that is spread over several tokens
            heads = [decode(written.token_ids[:n]) for n in range(len(pieces) + 1)]
            shared = [len(_common(head, text)) for head in heads]
            pieces = tuple(text[a:b] for a, b in pairwise(shared))
        return Reply(prompt, text, pieces, written.logprobs, written.ended)


def load_folder(
    folder: Path,
    *,
    device: str = "auto",
    name: str | None = None,
    quantize: int | None = None,
    shared: Path | None = None,
) -> GroundingAdapter:
    """The model in `folder`, whatever dtype its weights are stored in; fp32 for our own models.

    A published CogVLM folder is taken too, in the dtype of its config. `quantize` is 4 or 8 for
    decoder layers in so many bits, on CUDA only. Encoder weights that the folder lacks are those of
    the folder `shared`.

    Raises:
        CheckpointError: no config.json, another kind of model, weights missing, damaged or foreign.
        InputError: an unknown device, or one that cannot quantise.
        MissingExtraError: bitsandbytes is needed and not installed.
    """
    target = resolve_device(device)
    if quantize is not None:
        require_low_bit(quantize, target)
    values = read_json(folder / "config.json")
    kind = values.get("model_type")
    if kind != GroundingVLMConfig.model_type:
        return _load_cogvlm(folder, values, target, name, quantize)
    try:
        config = GroundingVLMConfig.from_dict(dict(values))
        model = empty_model(config)
    except (ConfigError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / 'config.json'} describes no model: {error}") from error
    files = weight_files(folder)
    lent = () if shared is None or shared == folder else weight_files(shared)
    load_weights_(model, files, lent=lent, dtype=torch.float32, device=target, quantize=quantize)
    return GroundingAdapter(model, _processor(folder), name=name or folder.name)


def is_ours(folder: Path) -> bool:
    """False where config.json names another kind of model than ours and the published CogVLM's.

    Folders without a config that can be read count as ours, so that loading tells what is wrong.
    """
    try:
        values = read_json(folder / "config.json")
    except CheckpointError:
        return True
    if values.get("model_type") == GroundingVLMConfig.model_type or "model_type" not in values:
        return True
    try:
        GroundingVLMConfig.from_hf(values)
    except ConfigError:
        return False
    return True


def resolve_device(device: str) -> torch.device:
    """The device of that name; `auto` is CUDA where there is one, else the CPU.

    Raises:
        InputError: no such device on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise InputError(
            f"device is '{device}'; expected auto, cpu, cuda, cuda:N or mps."
        ) from error
    is_there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (resolved.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not is_there.get(resolved.type, False):
        raise InputError(
            f"device is '{device}', but this machine has no such device. Use auto or cpu."
        )
    return resolved


def _load_cogvlm(
    folder: Path,
    values: Mapping[str, Any],
    device: torch.device,
    name: str | None,
    quantize: int | None,
) -> GroundingAdapter:
    from transformers import AutoTokenizer

    from headsight.models.grounding.convert import load_cogvlm

    try:
        config = GroundingVLMConfig.from_hf(values)
    except ConfigError as error:
        raise CheckpointError(
            f"{folder} holds a {values.get('model_type', 'nameless')!r} model, but only our own"
            f" ('{GroundingVLMConfig.model_type}') and published CogVLM folders are read here."
        ) from error
    model = load_cogvlm(folder, device=device, quantize=quantize)
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder} has no tokenizer that can be read ({error}). CogVLM v1 uses the files of"
            " Vicuna 7B v1.5, v2 those of Llama 3: put them into the folder."
        ) from error
    return GroundingAdapter(
        model, GroundingProcessor.for_model(config, tokenizer), name=name or folder.name
    )


def _processor(folder: Path) -> GroundingProcessor:
    read_json(folder / "processor_config.json")
    read_json(folder / "tokenizer.json")
    try:
        processor: GroundingProcessor = GroundingProcessor.from_pretrained(
            folder, local_files_only=True
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"The processor in {folder} cannot be read: {error}. Get the whole folder again."
        ) from error
    return processor


def _neighbours(processor: GroundingProcessor, device: torch.device) -> torch.Tensor | None:
    """Which numbers count as one when probabilities are told; None for foreign tokenizers."""
    tokenizer = processor.tokenizer
    first, last = tokenizer.convert_tokens_to_ids(["000", "999"])
    if first is None or last is None or last - first != 999:
        return None
    return torch.from_numpy(near_numbers(tokenizer, reach=_REACH)).to(device)


def _common(a: str, b: str) -> str:
    """The longest common start."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False))
    return "".join(x for x, _ in same)
