"""Localization heads as a file: which heads, of which model, found how; valid for nothing else."""

from __future__ import annotations

__all__ = ["QUERIES", "Choice", "HeadRow", "HeadSet", "Query", "Views", "model_fingerprint"]

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from headsight.attention.selection import Head, SelectionRule
from headsight.attention.selection_counts import Selection
from headsight.errors import CheckpointError, ConfigError
from headsight.files import write_atomic

SCHEMA = "headsight.head_set/1"
Query = Literal["last_text", "last_prompt", "mean_text", "answer"]
"""Whose attention counts: that of the last token of the words, of the last one of the prompt, of
all tokens of the words (their mean), or of the token after which the answer's first number comes.
"""
QUERIES: tuple[Query, ...] = get_args(Query)
Views = Literal["global", "merged"]
Choice = Literal["fixed", "greedy"]
_CHOICES = {"query": QUERIES, "views": get_args(Views), "choice": get_args(Choice)}
_RUN_SETTINGS = ("_name_or_path", "dtype", "torch_dtype", "transformers_version", "use_cache")
_SAMPLED = 64


@dataclass(frozen=True)
class HeadRow:
    """One head in the table of frequencies."""

    layer: int
    """From 0."""
    head: int
    """From 0, among the query heads."""
    frequency: float
    """Share of samples in which it was taken."""
    mean_sum: float
    """Mean attention on the picture."""
    mean_entropy: float | None
    """In nats."""
    centroid_std: float | None
    """Cells by which the centre of its map moves."""
    mean_iou: float | None = None
    """With the true cells, where samples had a truth."""
    frequency_std: float | None = None
    """Standard deviation of the frequency over several draws of samples."""


@dataclass(frozen=True, kw_only=True)
class HeadSet:
    """The localization heads of one model, for one way of asking."""

    heads: tuple[Head, ...]
    """Best first: layer and query head, both from 0."""
    model: str
    """`model_fingerprint` of the model they were found in."""
    model_id: str = ""
    """Folder or hub id, for people."""
    revision: str = ""
    """Of the hub id."""
    prompt: str = ""
    """Template that the words stood in."""
    query: Query = "last_text"
    """Whose row, see `Query`."""
    opening: str = ""
    """How the answer was begun, for the query "answer"."""
    views: Views = "global"
    """Grids that were looked at."""
    view_kind: str = "whole"
    """`ImageView.kind` of the global grid."""
    kernel: int = 7
    """Cells of the Gaussian that maps are smoothed with; odd."""
    sigma: float = 1.0
    """Its standard deviation in cells; 0 for none."""
    choice: Choice = "fixed"
    """`heads` for every picture, or ("greedy" in the paper) as many as those, which each picture
    and its words would choose by `rule`."""
    rule: SelectionRule = field(default_factory=SelectionRule)
    """How the heads were chosen."""
    n: int = 0
    """Samples they were chosen on, in each draw."""
    seeds: tuple[int, ...] = ()
    """Of the draws of samples, one a draw."""
    tau: float | None = None
    """Attention sum of the elbow; None where all heads were kept."""
    data: str = ""
    """Name and hash of the samples."""
    versions: dict[str, str] = field(default_factory=dict)
    """Packages that it was found with."""
    table: tuple[HeadRow, ...] = ()
    """All heads that were ever taken, best first."""

    def __post_init__(self) -> None:
        for name, known in _CHOICES.items():
            if (value := getattr(self, name)) not in known:
                raise ConfigError(f"{name} is {value!r}; expected one of {', '.join(known)}.")
        if self.kernel < 1 or self.kernel % 2 == 0 or not 0 <= self.sigma < np.inf:
            raise ConfigError(
                f"The kernel is {self.kernel} and sigma {self.sigma}, but an odd number of cells"
                " and a finite sigma of at least 0 are needed. Use 7 and 1.0, or 1 and 0 for no"
                " smoothing."
            )

    @classmethod
    def of(
        cls,
        selection: Selection,
        *,
        model: str,
        k: int = 3,
        frequency_std: Float[NDArray[np.float64], "layers heads"] | None = None,
        **found_with: Any,
    ) -> HeadSet:
        """The top `k` heads of a selection; `found_with` are other fields of a head set."""
        tau = selection.tau if np.isfinite(selection.tau) else None
        table = tuple(_row(selection, head, frequency_std) for head in selection.ranking)
        return cls(
            heads=selection.top(k),
            model=model,
            rule=selection.rule,
            n=selection.samples,
            tau=tau,
            table=table,
            **found_with,
        )

    def changed(
        self,
        *,
        k: int | None = None,
        kernel: int | None = None,
        sigma: float | None = None,
        choice: Choice | None = None,
    ) -> HeadSet:
        """The same heads read in another way: only what is given changes.

        Args:
            k: how many heads, from the top of the table.
            kernel: cells of the smoothing.
            sigma: of the smoothing.
            choice: "fixed" or "greedy".

        Raises:
            ConfigError: a value out of range, or more heads than the table has.
        """
        heads = self.heads
        if k is not None:
            if not 1 <= k <= len(self.table):
                raise ConfigError(
                    f"k is {k}, but the table of these heads has {len(self.table)}. Choose 1 to"
                    f" {len(self.table)}, or find the heads on more samples."
                )
            heads = tuple((row.layer, row.head) for row in self.table[:k])
        return replace(
            self,
            heads=heads,
            kernel=self.kernel if kernel is None else kernel,
            sigma=self.sigma if sigma is None else sigma,
            choice=self.choice if choice is None else choice,
        )

    def require(self, model: str) -> None:
        """Pass if the heads were found in the model with this fingerprint.

        Raises:
            CheckpointError: another model.
        """
        if model != self.model:
            raise CheckpointError(
                f"These heads were found in {self.model_id or 'a model'} (fingerprint"
                f" {self.model}), but the model that is loaded has {model}. Find the heads of this"
                " model with `headsight find-heads`."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values with a `schema` key."""
        return {"schema": SCHEMA, "numbering": "from 0", **asdict(self)}

    def save(self, path: Path) -> None:
        """Write as JSON."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomic(path, text.encode() + b"\n")

    @classmethod
    def load(cls, path: Path) -> HeadSet:
        """Read what `save` wrote.

        Raises:
            CheckpointError: no such file, or it holds no head set.
        """
        try:
            record = json.loads(path.read_bytes())
            return cls.from_dict(record)
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"{path} cannot be read as a head set ({error}). Give a JSON file written by"
                " `headsight find-heads`."
            ) from error
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, record: Any) -> HeadSet:
        """The head set of `to_dict`.

        Raises:
            CheckpointError: another schema, or a field that is missing, unknown or of another type.
        """
        schema = record.get("schema") if isinstance(record, dict) else None
        if schema != SCHEMA:
            raise CheckpointError(
                f"The schema is {schema!r}, but {SCHEMA!r} is expected. Give a JSON file written by"
                " `headsight find-heads`."
            )
        values = {k: v for k, v in record.items() if k not in ("schema", "numbering")}
        try:
            values["heads"] = tuple((int(layer), int(head)) for layer, head in values["heads"])
            values["seeds"] = tuple(int(seed) for seed in values.get("seeds", ()))
            values["rule"] = SelectionRule(**values.get("rule", {}))
            values["table"] = tuple(HeadRow(**row) for row in values.get("table", ()))
            return cls(**values)
        except (KeyError, TypeError, ValueError, ConfigError) as error:
            known = ", ".join(f.name for f in fields(cls))
            raise CheckpointError(
                f"The head set is damaged ({type(error).__name__}: {error}); its fields are"
                f" {known}. Find the heads again."
            ) from error


def model_fingerprint(model: Any) -> str:
    """16 hex digits that tell one transformers model from another, whatever dtype it is loaded in.

    Of its configuration, the names and shapes of its parameters, and a few values of each. Settings
    that are off do not count, as later versions may have more of them.
    """
    digest = hashlib.sha256(_configuration(model.config).encode())
    for name, parameter in sorted(model.named_parameters()):
        flat = parameter.detach().reshape(-1)
        step = max(flat.numel() // _SAMPLED, 1)
        few = flat[::step][:_SAMPLED].bfloat16().float().cpu().numpy()
        digest.update(f"{name}{tuple(parameter.shape)}".encode() + few.tobytes())
    return digest.hexdigest()[:16]


def _configuration(config: Any) -> str:
    def kept(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                k: kept(v)
                for k, v in sorted(value.items())
                if k not in _RUN_SETTINGS and v is not None and v is not False
            }
        return value

    return json.dumps(kept(config.to_dict()), default=str, sort_keys=True)


def _row(
    selection: Selection, head: Head, std: Float[NDArray[np.float64], "layers heads"] | None
) -> HeadRow:
    return HeadRow(
        *head,
        frequency=float(selection.frequency[head]),
        mean_sum=float(selection.mean_sum[head]),
        mean_entropy=_number(selection.mean_entropy[head]),
        centroid_std=_number(selection.centroid_std[head]),
        mean_iou=None if selection.mean_iou is None else float(selection.mean_iou[head]),
        frequency_std=None if std is None else float(std[head]),
    )


def _number(value: np.float64) -> float | None:
    return float(value) if np.isfinite(value) else None
