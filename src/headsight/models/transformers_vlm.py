"""Any image-text-to-text checkpoint of transformers behind the `VLM` protocol."""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

import json
import logging
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError

from headsight.errors import CheckpointError, InputError
from headsight.language.answer import Answer
from headsight.language.grammar import grammar_processor
from headsight.language.spec import CodecSpec
from headsight.models.base import MAX_NEW_TOKENS, Reply
from headsight.models.checkpoints import HUB_ID, bars_on_terminals_only, check_hub, not_fetched
from headsight.models.families import Family, Inputs, find_family
from headsight.models.families.family import begun
from headsight.models.families.stills import processor_from_folder
from headsight.models.families.unknown import UnknownFamily
from headsight.models.grounding.adapter import resolve_device
from headsight.models.grounding.weights import weight_files
from headsight.models.image_views import ImageView
from headsight.models.own_generate import answer_alone, can_answer_shared
from headsight.models.replies import answer_ends, to_reply
from headsight.models.shared_prefix import answer_shared
from headsight.picture import Picture

__all__ = ["TransformersVLM", "load_transformers"]

_LOG = logging.getLogger(__name__)
_PROCESSOR_FILES = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
_DTYPES = ("auto", "float32", "bfloat16", "float16")
_SHOWN = 3


class TransformersVLM:
    """Answers questions, and tells where in the picture each image token looks.

    `prompt` is always the user's message alone (see `Dialect.prompt` for a native one); template
    and image tokens are the family's.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        *,
        name: str,
        image_grid_hw: tuple[int, int] | None = None,
    ) -> None:
        """`image_grid_hw`: rows and columns of image tokens, for a family that is not known."""
        self.name = name
        self.model = model.eval()
        self.processor = processor
        known = find_family(model.config.model_type)
        self.family: Family = known or UnknownFamily(image_grid_hw)
        self._last: tuple[weakref.ref[Any], str, Inputs] | None = None
        self._told_of_a_crop = False

    @property
    def dialect(self) -> str:
        """Key into `DIALECTS`: how this model is asked for places, and writes them."""
        return self.family.dialect

    def answer(
        self,
        picture: Picture,
        prompts: Sequence[str],
        *,
        grammar: CodecSpec | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> list[Reply]:
        """One greedy reply a prompt, in their order, the picture encoded once; see `VLM`.

        Special tokens that the model writes stay in the text, except the one that ends it.

        Raises:
            InputError: an empty prompt, or a picture or prompt that the processor refuses.
            ConfigError: a grammar that the tokenizer cannot spell.
        """
        made = [self._to_model(self._inputs(picture, prompt)) for prompt in prompts]
        tokenizer = self.processor.tokenizer
        ends = answer_ends(self.model.generation_config, tokenizer)
        filters = None
        if grammar is not None:  # one a row: each follows its own answer
            filters = [grammar_processor(tokenizer, grammar, eos_token_id=ends) for _ in made]
        write = answer_shared if can_answer_shared(self.model) else answer_alone
        written = write(
            self.model, made, max_new_tokens=max_new_tokens, eos_token_id=ends, filters=filters
        )
        return [to_reply(tokenizer, prompt, w) for prompt, w in zip(prompts, written, strict=True)]

    def read(
        self,
        picture: Picture,
        reply: Reply,
        *,
        mode: Literal["strict", "lenient"] = "strict",
    ) -> Answer:
        """What `reply` says about `picture` in the model's own dialect; px of the picture."""
        from headsight.language.dialects import DIALECTS

        return DIALECTS[self.dialect].parse(
            reply.text,
            picture.image_wh,
            seen_wh=self.seen_wh(picture, reply.prompt),
            mode=mode,
            prompt=reply.prompt,
            region=self.family.seen_region(self.processor, picture.image_wh),
        )

    def prepare(self, picture: Picture, prompt: str, *, written: str = "") -> Inputs:
        """What the model is called with (`model(**inputs)`), on its device and in its dtype.

        `written` is how its answer begins, as if it had written that already.

        Raises:
            InputError: an empty prompt, or a picture or prompt that the processor refuses.
        """
        inputs = self._inputs(picture, prompt)
        if written:
            inputs = begun(self.processor.tokenizer, inputs, written)
        return self._to_model(inputs)

    def views(self, picture: Picture, prompt: str) -> tuple[ImageView, ...]:
        """Where each image token of `prepare(picture, prompt)` looks, the whole picture first.

        Raises:
            InputError: the model's image tokens have no place, or an unknown one needs
                `image_grid_hw`.
        """
        inputs = self._inputs(picture, prompt)
        return self.family.views(self.model.config, self.processor, inputs, picture.image_wh)

    def seen_wh(self, picture: Picture, prompt: str) -> tuple[int, int]:
        """Width and height, px, of the picture as the model sees it."""
        inputs = self._inputs(picture, prompt)
        return self.family.seen_wh(self.model.config, self.processor, inputs, picture.image_wh)

    def text_span(self, picture: Picture, prompt: str, words: str | None = None) -> tuple[int, int]:
        """First token of `words` in the sequence of `prepare`, and the one after the last.

        `words` are the prompt where not given; the token that asks is the last: `span[1] - 1`.

        Raises:
            InputError: `words` are empty, or no part of the prompt.
        """
        inputs = self._inputs(picture, prompt)
        words = prompt if words is None else words
        return self.family.text_span(self.processor, inputs, prompt, words)

    def _inputs(self, picture: Picture, prompt: str) -> Inputs:
        """The inputs of the last question are kept: prepare, views and spans share them."""
        if self._last is not None and self._last[0]() is picture and self._last[1] == prompt:
            return self._last[2]
        inputs = self.family.inputs(self.processor, picture, prompt)
        self._last = (weakref.ref(picture), prompt, inputs)
        self._tell_of_a_crop(picture)
        return inputs

    def _tell_of_a_crop(self, picture: Picture) -> None:
        """Warn, once a model, that something of a picture is not seen at all."""
        region = self.family.seen_region(self.processor, picture.image_wh)
        if region is None or self._told_of_a_crop:
            return
        (x0, y0, x1, y1), (width, height) = region, picture.image_wh
        if max(x0, y0, width - x1, height - y1) > 1:
            self._told_of_a_crop = True
            _LOG.warning(
                "event=crop model=%s picture=%dx%d seen=[%.0f, %.0f, %.0f, %.0f]: what lies outside"
                " cannot be found; set do_pad=True and do_center_crop=False in the image processor"
                " if the model was trained on padded pictures",
                self.name, width, height, max(x0, 0), max(y0, 0), min(x1, width), min(y1, height),
            )  # fmt: skip

    def _to_model(self, inputs: Inputs) -> Inputs:
        device, dtype = self.model.device, self.model.dtype
        return {
            name: tensor.to(device, dtype if tensor.is_floating_point() else tensor.dtype)
            for name, tensor in inputs.items()
        }


def load_transformers(
    folder_or_id: str,
    *,
    device: str = "auto",
    dtype: str = "auto",
    image_grid_hw: tuple[int, int] | None = None,
) -> TransformersVLM:
    """The checkpoint in a local folder, or on the hub under `org/name`.

    Only safetensors are read, and no code that lies beside them is run. `dtype` is `auto` (as
    stored), `float32`, `bfloat16` or `float16`; `device` as for `load_vlm`; `image_grid_hw` as for
    `TransformersVLM`.

    Raises:
        InputError: neither a folder nor of the form `org/name`, or no such device or dtype.
        CheckpointError: files missing, damaged or not to be fetched, weights that do not fit, or an
            architecture that transformers does not have.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    source = _checked_source(folder_or_id)
    target = resolve_device(device)
    if dtype not in _DTYPES:
        raise InputError(f"dtype is {dtype!r}; expected one of {', '.join(_DTYPES)}.")
    is_local = Path(source).is_dir() or not check_hub(source)
    options = {"trust_remote_code": False, "local_files_only": is_local}
    with _told_plainly(source), bars_on_terminals_only():
        config = AutoConfig.from_pretrained(source, **options)
        processor = _load_processor(source, config.model_type, options)
        loader: Any = AutoModelForImageTextToText
        model, info = loader.from_pretrained(
            source,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    if missing := sorted(info["missing_keys"]):
        raise CheckpointError(
            f"{source} lacks {len(missing)} weights of a {config.model_type!r} model"
            f" ({', '.join(missing[:_SHOWN])}), which would be left random. Get the whole"
            " checkpoint."
        )
    return TransformersVLM(
        model.to(target), processor, name=_name(source), image_grid_hw=image_grid_hw
    )


def _checked_source(folder_or_id: str) -> str:
    """A folder with safetensors in it, or something that looks like a hub id."""
    path = Path(folder_or_id).expanduser()
    if path.is_dir():
        weight_files(path)
        return str(path)
    if HUB_ID.fullmatch(folder_or_id):
        return folder_or_id
    raise InputError(
        f"No folder is called '{folder_or_id}', and it is no hub id of the form org/name. Pass the"
        " folder that save_pretrained wrote, or an id such as 'Qwen/Qwen2.5-VL-3B-Instruct'."
    )


def _name(source: str) -> str:
    path = Path(source)
    return path.name if path.is_dir() else source


@contextmanager
def _told_plainly(source: str) -> Iterator[None]:
    """What transformers says about a folder or id it cannot read, as one error with a way out."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        if isinstance(error, InputError):
            raise
        if not Path(source).is_dir():
            raise not_fetched(source, str(error)) from error
        raise CheckpointError(
            f"{source} cannot be loaded: {' '.join(str(error).split())[:300]} The folder must hold"
            " config.json, the processor's files and safetensors of an image-text-to-text model"
            " that this transformers has; its own code is never run."
        ) from error


def _load_processor(source: str, model_type: str, options: dict[str, Any]) -> Any:
    """The processor that the checkpoint names, else the usual one of its architecture."""
    from transformers.utils.hub import cached_file

    known: Any = import_module("transformers.models.auto.processing_auto")

    for file in _PROCESSOR_FILES:
        found = cached_file(
            source,
            file,
            local_files_only=options["local_files_only"],
            _raise_exceptions_for_missing_entries=False,
        )
        values = json.loads(Path(found).read_text("utf-8")) if found else {}
        if name := values.get("processor_class"):
            break
    else:
        name = known.PROCESSOR_MAPPING_NAMES.get(model_type)
    if not name:
        raise CheckpointError(
            f"{source} names no processor, and transformers has none for {model_type!r}. Save the"
            " processor into the folder."
        )
    return processor_from_folder(source, name=name, model_type=model_type, **options)
