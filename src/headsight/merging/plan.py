"""Everything that is known before a weight is read: who takes part in each tensor, what goes where.

All that is wrong is found here, at once.
"""

from __future__ import annotations

__all__ = ["OutFile", "OutTensor", "Plan", "Taking", "make_plan"]

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from headsight.errors import CheckpointError
from headsight.merging.blocks import ReadBlocks
from headsight.merging.checkpoint import Checkpoint, Stored, open_checkpoint
from headsight.merging.job import MergeJob, params_for
from headsight.merging.method import Params
from headsight.merging.naming import depths, natural_key
from headsight.merging.numbers import ITEM_BYTES, dtype_name
from headsight.merging.source import Source, TensorReader, open_source
from headsight.merging.vocabulary import vocabulary_difference

_SHOWN = 5
_HEAD, _EMBEDDINGS = "lm_head.weight", ("embed_tokens.weight", "wte.weight", "embeddings.weight")


@dataclass(frozen=True)
class Taking:
    """A model that takes part in a tensor, and what the tensor is called there."""

    index: int
    """Of the model in the job."""
    name: str


@dataclass(frozen=True)
class OutTensor:
    """A tensor of the result."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    params: Params
    takings: tuple[Taking, ...]
    """Of the models that have it; of the others none, or the base instead, as the job says."""

    @property
    def nbytes(self) -> int:
        """Bytes in the result."""
        return math.prod(self.shape) * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class OutFile:
    """A file of the result."""

    name: str
    tensors: tuple[OutTensor, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of its tensors."""
        return sum(t.nbytes for t in self.tensors)


@dataclass(frozen=True, eq=False)
class Plan:
    """A merge, ready to run."""

    job: MergeJob
    reference: Source
    """The base, or the first model: names, types, config and tokenizer come from it."""
    sources: tuple[Source, ...]
    """The models of the job."""
    files: tuple[OutFile, ...]
    notes: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors of the result."""
        return sum(f.nbytes for f in self.files)

    @property
    def key(self) -> str:
        """Equal for equal jobs on equal files: what a resumed run compares."""
        stamps = [self.reference.stamp, *(s.stamp for s in self.sources)]
        text = json.dumps([asdict(self.job), stamps], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def readers(self, tensor: OutTensor) -> tuple[TensorReader | None, list[TensorReader]]:
        """Of the base, where the method has one, and of the models that take part."""
        base = self.reference.reader(tensor.name) if self.job.way.needs_base else None
        return base, [self._source(t).reader(t.name) for t in tensor.takings]

    def blocks(self, tensor: OutTensor, span: tuple[int, int] | None = None) -> ReadBlocks:
        """The numbers of a tensor in all models, or of a span of whole rows."""
        base, readers = self.readers(tensor)
        titles = [*([self.reference.name] if base else [])]
        titles += [self._source(t).name for t in tensor.takings]
        return ReadBlocks(tensor.name, base, readers, titles, span)

    def _source(self, taking: Taking) -> Source:
        return self.reference if taking.index < 0 else self.sources[taking.index]


def make_plan(job: MergeJob) -> Plan:
    """Open everything by its headers and compare it.

    Raises:
        CheckpointError: something cannot be merged; all that is wrong stands in the message.
        InputError: an adapter without a base.
    """
    base = None if job.base is None else _checkpoint_of(job.base)
    reference = None if job.base is None else open_source(job.base, base=base)
    sources = tuple(open_source(model.source, base=base) for model in job.models)
    reference = reference or sources[0]
    problems: list[str] = []
    for source in {s.checkpoint.folder: s for s in sources}.values():
        if source.checkpoint is not reference.checkpoint:
            problems += _unlike(reference.checkpoint, source.checkpoint)
    problems += _wrong_layers(job, reference.checkpoint)
    names = [_names_in(reference, source) for source in sources]
    problems += _problems_of_tensors(job, reference, sources, names)
    if problems:
        raise CheckpointError("This cannot be merged: " + " ".join(problems))
    depth = depths(reference.tensors)
    tensors = []
    for name in sorted(reference.tensors, key=natural_key):
        stored = reference.tensors[name]
        takings = _takings(job, name, names)
        params = params_for(job, [t.index for t in takings], name, depth[name])
        tensors.append(OutTensor(name, _dtype(job, stored), stored.shape, params, takings))
    notes = [n for s in {reference, *sources} if s.adapter for n in s.adapter.notes]
    return Plan(job, reference, sources, _in_files(tensors, job.shard_bytes), tuple(notes))


def _checkpoint_of(text: str) -> Checkpoint:
    first, plus, _ = text.rpartition("+")
    return open_checkpoint(Path(first if plus and not Path(text).exists() else text))


def _dtype(job: MergeJob, stored: Stored) -> str:
    return dtype_name(job.dtype) if job.dtype and stored.is_float else stored.dtype


def _unlike(one: Checkpoint, two: Checkpoint) -> list[str]:
    """Architectures and tokenizers that are not the same."""
    problems = []
    for key in ("model_type", "architectures"):
        if one.config and two.config and one.config.get(key) != two.config.get(key):
            problems.append(
                f"{one.folder} is {one.config.get(key)}, but {two.folder} is"
                f" {two.config.get(key)}; models of one architecture are needed."
            )
            break
    if (difference := vocabulary_difference(one.folder, two.folder)) is not None:
        problems.append(
            f"{one.folder} and {two.folder} have other tokenizers: {difference}. Only models that"
            " read the same tokens can be merged."
        )
    return problems


def _wrong_layers(job: MergeJob, reference: Checkpoint) -> list[str]:
    text = reference.config.get("text_config") or reference.config
    has = text.get("num_hidden_layers")
    if job.layers is None or has is None or has == job.layers:
        return []
    return [
        f"The slice ends at layer {job.layers}, but {reference.folder} has {has}; only whole models"
        " are merged."
    ]


def _names_in(reference: Source, source: Source) -> dict[str, str]:
    """What each tensor of the reference is called in a model; a tied head is its embedding."""
    found = {name: name for name in reference.tensors if name in source.tensors}
    for name in reference.tensors.keys() - found.keys():
        if name.endswith(_HEAD) and (tied := _embedding(source)):
            found[name] = tied
    return found


def _embedding(source: Source) -> str | None:
    names = [n for n in source.tensors if n.endswith(_EMBEDDINGS)]
    return names[0] if len(names) == 1 else None


def _problems_of_tensors(
    job: MergeJob, reference: Source, sources: Sequence[Source], names: Sequence[Mapping[str, str]]
) -> list[str]:
    problems = []
    for source, found in zip(sources, names, strict=True):
        lacking = sorted(reference.tensors.keys() - found.keys(), key=natural_key)
        extra = source.tensors.keys() - reference.tensors.keys()
        extra = {n for n in extra if not _is_tied_head(source, n)}
        if job.missing == "error":
            advice = "Give --missing base or --missing skip to merge what there is."
            problems += _told(f"{source.name} lacks", lacking, advice)
            problems += _told(
                f"{source.name} has more than {reference.name}:",
                sorted(extra, key=natural_key),
                "Give --missing base or --missing skip to leave that out.",
            )
        wrong, mixed = [], []
        for name, other in found.items():
            one, two = reference.tensors[name], source.tensors[other]
            if one.shape != two.shape:
                wrong.append(f"{name} {list(two.shape)} instead of {list(one.shape)}")
            elif one.is_float != two.is_float or (not one.is_float and not _same(one, two)):
                mixed.append(f"{name} ({two.dtype})")
        advice = f"Merge models that were made from {reference.name}."
        problems += _told(f"{source.name} has other shapes:", wrong, advice)
        problems += _told(f"{source.name} has other whole numbers:", mixed, advice)
    return problems


def _same(one: Stored, two: Stored) -> bool:
    return one == two or (one.dtype == two.dtype and one.read().tobytes() == two.read().tobytes())


def _is_tied_head(source: Source, name: str) -> bool:
    """Whether a head is its model's embedding, written a second time."""
    tied = _embedding(source)
    if not name.endswith(_HEAD) or tied is None:
        return False
    if source.tensors[name].shape != source.tensors[tied].shape:
        return False
    return ReadBlocks(name, None, [source.reader(name), source.reader(tied)], ()).are_equal()


def _told(title: str, names: Sequence[str], advice: str) -> list[str]:
    if not names:
        return []
    more = f", ... ({len(names)} in all)" if len(names) > _SHOWN else ""
    return [f"{title} {', '.join(names[:_SHOWN])}{more}. {advice}"]


def _takings(job: MergeJob, name: str, names: Sequence[Mapping[str, str]]) -> tuple[Taking, ...]:
    found = []
    for index, by_name in enumerate(names):
        if name in by_name:
            found.append(Taking(index, by_name[name]))
        elif job.missing == "base":
            found.append(Taking(-1, name))
    return tuple(found)


def _in_files(tensors: Sequence[OutTensor], most: int) -> tuple[OutFile, ...]:
    groups: list[list[OutTensor]] = [[]]
    held = 0
    for tensor in tensors:
        if groups[-1] and held + tensor.nbytes > most:
            groups.append([])
            held = 0
        groups[-1].append(tensor)
        held += tensor.nbytes
    total = len(groups)
    return tuple(
        OutFile(
            "model.safetensors" if total == 1 else f"model-{number:05}-of-{total:05}.safetensors",
            tuple(sorted(group, key=lambda t: -ITEM_BYTES[t.dtype])),  # so that all are aligned
        )
        for number, group in enumerate(groups, 1)
    )
