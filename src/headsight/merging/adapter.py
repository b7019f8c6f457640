"""peft's LoRA adapters (arXiv 2106.09685) on disk, as changes of single tensors of a checkpoint.

The change of a weight is `s * B @ A` with s = alpha / r (rslora: alpha / sqrt r), formed in float32
for a few rows at a time, so that nothing as large as the model is ever held.
"""

from __future__ import annotations

__all__ = ["Adapter", "LowRank", "is_adapter", "open_adapter"]

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jaxtyping import Float32

from headsight.errors import CheckpointError
from headsight.merging.checkpoint import Checkpoint, Stored, read_header, read_json
from headsight.merging.numbers import Floats, widen

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_FACTOR = re.compile(r"(.+)\.lora_(embedding_)?([AB])(\.weight)?$")
_SHOWN = 5
_REFUSED = {
    "use_dora": "DoRA",
    "lora_bias": "LoRA biases",
    "target_parameters": "target_parameters",
    "trainable_token_indices": "trainable_token_indices",
    "layer_replication": "layer_replication",
    "use_qalora": "QALoRA",
    "use_bdlora": "BD-LoRA",
    "kasa_config": "KaSA",
    "alora_invocation_tokens": "activated LoRA",
    "arrow_config": "Arrow",
    "monteclora_config": "MonteCLoRA",
}
"""Settings of peft that change more than `s * B @ A` says."""
_CHANGE_THE_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
"""Ways to begin that take something from the base's own weights first."""


@dataclass(frozen=True)
class LowRank:
    """The change of one weight, kept as its two factors in the file."""

    a: Stored
    b: Stored
    scale: float
    form: Literal["linear", "transposed", "embedding"]
    """Of the weight: (out, in); (in, out), as GPT-2 has it; (words, width)."""

    @property
    def is_nothing(self) -> bool:
        """Whether it changes nothing at all: B or the scale is zero."""
        return self.scale == 0 or not widen(self.b.read(), self.b.dtype).any()

    def factors(self) -> tuple[Float32[Floats, "rows r"], Float32[Floats, "r columns"]]:
        """Left and right factor of the change, in the layout of the weight; the scale is apart."""
        a, b = (widen(f.read(), f.dtype).reshape(f.shape) for f in (self.a, self.b))
        a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)  # convolutions: kernels in a row
        return (b, a) if self.form == "linear" else (a.T, b.T)


@dataclass(frozen=True, eq=False)
class Adapter:
    """What an adapter folder does to the tensors of a checkpoint."""

    folder: Path
    low_rank: Mapping[str, LowRank]
    """By name of the tensor in the checkpoint."""
    replaced: Mapping[str, Stored]
    """Tensors that were trained whole (`modules_to_save`, biases)."""
    stamp: str
    notes: tuple[str, ...] = ()


def is_adapter(folder: Path) -> bool:
    """Whether `folder` is an adapter as peft saves it."""
    return (folder / _CONFIG).is_file()


def open_adapter(folder: Path, base: Checkpoint) -> Adapter:
    """The changes that an adapter folder of peft makes to `base`; no weights are read.

    Raises:
        CheckpointError: no LoRA adapter, of a kind that is not folded, damaged, or made for
            another base: modules that `base` lacks, or other shapes.
    """
    if not is_adapter(folder):
        raise CheckpointError(
            f"{folder} has no {_CONFIG}, so it is no adapter. Pass the folder that peft's"
            " save_pretrained wrote."
        )
    config = read_json(folder / _CONFIG)
    _refuse_other_kinds(folder, config)
    if not (folder / _WEIGHTS).is_file():
        raise CheckpointError(
            f"{folder} has no {_WEIGHTS}. Save the adapter as safetensors; pickles are not opened."
        )
    header, start = read_header(folder / _WEIGHTS)
    pairs: dict[str, dict[str, Stored]] = defaultdict(dict)
    whole: dict[str, Stored] = {}
    embeddings = set()
    for name, entry in header.items():
        stored = Stored(
            folder / _WEIGHTS,
            entry["dtype"],
            tuple(entry["shape"]),
            start + entry["data_offsets"][0],
        )
        plain = name.removeprefix(_PREFIX).replace(".base_layer.", ".")
        if found := _FACTOR.match(plain):
            pairs[found[1]][found[3]] = stored
            embeddings |= {found[1]} if found[2] else set()
        else:
            whole[plain] = stored
    finder = _Finder(base)
    low_rank = {}
    for module, pair in pairs.items():
        target = finder.find(f"{module}.weight")
        if target is not None and set(pair) == {"A", "B"}:
            form = "embedding" if module in embeddings else _form(config)
            low_rank[target] = LowRank(pair["A"], pair["B"], _scale(config, module), form)
        else:
            finder.problems.append(f"{module} (both factors)" if target else module)
    replaced = {}
    for name, stored in whole.items():
        target = finder.find(name)
        if target is None:
            finder.problems.append(name)
        else:
            replaced[target] = stored
    wrong = [_wrong_shape(base, n, _shape(c, base.tensors[n])) for n, c in low_rank.items()]
    wrong += [_wrong_shape(base, n, stored.shape) for n, stored in replaced.items()]
    _refuse_other_base(folder, config, base, finder.problems, [w for w in wrong if w])
    status = (folder / _WEIGHTS).stat()
    stamp = f"{config!r} {status.st_size} {status.st_mtime_ns} {header!r}"
    return Adapter(folder, low_rank, replaced, stamp, _notes(config, base))


class _Finder:
    """Names of the checkpoint for names of the model in memory, which may have other prefixes."""

    def __init__(self, base: Checkpoint) -> None:
        self.names = base.tensors
        self.problems: list[str] = []
        self._by_tail: dict[str, list[str]] = defaultdict(list)
        for name in base.tensors:
            self._by_tail[_tail(name)].append(name)

    def find(self, name: str) -> str | None:
        """The tensor itself, or the only one that differs in the words before its layer alone."""
        if name in self.names:
            return name
        words = set(_head(name))
        near = [n for n in self._by_tail[_tail(name)] if words & set(_head(n)) or not words]
        best = [n for n in near if not set(_head(n)) ^ words]
        if len(best) == 1:
            return best[0]
        close = [n for n in near if set(_head(n)) <= words or words <= set(_head(n))]
        return close[0] if len(close) == 1 else None


def _head(name: str) -> list[str]:
    """The words before the first number, or before the last two where there is none."""
    return name.removesuffix(_tail(name)).strip(".").split(".") if _tail(name) != name else []


def _tail(name: str) -> str:
    found = re.search(r"(?:^|\.)([^.]+\.\d+\..*)$", name)
    return found[1] if found else ".".join(name.split(".")[-2:])


def _scale(config: Mapping[str, Any], module: str) -> float:
    rank = _patterned(config, "rank_pattern", module, config["r"])
    alpha = _patterned(config, "alpha_pattern", module, config["lora_alpha"])
    return float(alpha / (rank**0.5 if config.get("use_rslora") else rank))


def _patterned(
    config: Mapping[str, Any], key: str, module: str, default: int | float
) -> int | float:
    """Peft's rule: the first pattern that the end of the module's name matches."""
    for pattern, value in (config.get(key) or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value  # type: ignore[no-any-return]
    return default


def _form(config: Mapping[str, Any]) -> Literal["linear", "transposed"]:
    return "transposed" if config.get("fan_in_fan_out") else "linear"


def _shape(change: LowRank, weight: Stored) -> tuple[int, ...]:
    """The shape of weight that the factors fit, or what they would give."""
    (rank, *columns), (rows, inner, *_) = change.a.shape, change.b.shape
    if rank != inner:
        return (rows, inner, rank, *columns)
    if change.form == "linear":
        return (rows, *columns)
    return (*columns, rows)


def _wrong_shape(base: Checkpoint, name: str, shape: tuple[int, ...]) -> str | None:
    has = base.tensors[name].shape
    return None if has == shape else f"{name} {list(shape)} instead of {list(has)}"


def _refuse_other_kinds(folder: Path, config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if kind == "LORA" and not (
        isinstance(rank, int) and rank > 0 and isinstance(alpha, int | float)
    ):
        raise CheckpointError(
            f"{folder / _CONFIG} has r {rank} and lora_alpha {alpha}; expected numbers, r at least"
            " 1. Pass the folder as peft saved it."
        )
    odd = [title for key, title in _REFUSED.items() if config.get(key)]
    start = str(config.get("init_lora_weights"))
    odd += [f"init_lora_weights {start}"] if start.startswith(_CHANGE_THE_BASE) else []
    if kind != "LORA" or odd:
        raise CheckpointError(
            f"{folder} is an adapter of kind {kind}{' with ' + ', '.join(odd) if odd else ''};"
            " only plain LoRA can be folded tensor by tensor. Merge it with peft's"
            " merge_and_unload first and pass the folder of the result."
        )


def _refuse_other_base(
    folder: Path, config: Mapping[str, Any], base: Checkpoint, lost: list[str], wrong: list[str]
) -> None:
    problems = [
        f"{len(names)} {title}: {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"
        for title, names in (("modules are not there", lost), ("have other shapes", wrong))
        if names
    ]
    if problems:
        made_for = config.get("base_model_name_or_path") or "another model"
        raise CheckpointError(
            f"The adapter {folder} does not fit {base.folder}: {'; '.join(problems)}. It was made"
            f" for {made_for}; pass that as the base."
        )


def _notes(config: Mapping[str, Any], base: Checkpoint) -> tuple[str, ...]:
    named = str(config.get("base_model_name_or_path") or "")
    if not named or Path(named).name == base.folder.resolve().name:
        return ()
    return (f"the adapter says that it was made for '{named}', not '{base.folder}'",)
