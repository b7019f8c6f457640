"""Asking a model one item after the other, so that a killed job goes on where it stopped."""

from __future__ import annotations

__all__ = ["Outcome", "open_journal", "plain", "run_journalled"]

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from headsight.errors import (
    AnnotationError,
    HeadsightError,
    ImageError,
    InputError,
    LimitError,
    ResumeError,
)
from headsight.files import Journal

if TYPE_CHECKING:
    from rich.progress import Progress

Item = TypeVar("Item")
Judged = TypeVar("Judged")

_MOST_IN_A_ROW = 5
"""After so many failures of the model one after the other, the rest is not asked."""


@dataclass
class Outcome(Generic[Judged]):
    """What became of the items."""

    judged: list[Judged] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    """`id` and `error` of what could not be asked or judged."""
    seconds: list[float] = field(default_factory=list)
    """Of each answer."""
    first: dict[str, Any] | None = None
    """The first record, as an example."""


def open_journal(output: Path, settings: Mapping[str, Any], *, overwrite: bool) -> Journal:
    """The journal beside `output`, begun with the settings or found with the same ones.

    Raises:
        InputError: `output` is there and may not be replaced.
        ResumeError: the journal was made with other settings.
    """
    path = output.with_name(output.name + ".journal")
    if output.exists() and not overwrite:
        raise InputError(f"{output} exists. Choose another --output, or give --overwrite.")
    if overwrite:
        path.unlink(missing_ok=True)
    journal = Journal(path)
    if not journal.records:
        journal.add({"settings": dict(settings)})
    if journal.records[0].get("settings") != settings:
        journal.close()
        raise ResumeError(
            f"{path} was made with other settings or data. Give --overwrite to start again."
        )
    return journal


def run_journalled(
    items: Sequence[tuple[str, Item]],
    ask: Callable[[Item], dict[str, Any]],
    judge: Callable[[Item, dict[str, Any]], Judged],
    *,
    journal: Journal | None,
    progress: Progress,
    what: str = "items",
) -> Outcome[Judged]:
    """Ask and judge every item; what the journal holds is not asked again.

    One bad item is recorded and the rest go on. When the model itself fails several times in a row
    (a server that is gone) the run ends with its error; what was answered stays in the journal.

    Args:
        items: an id of its own, and the item.
        ask: makes the record of one item, JSON-ready, with `seconds`.
        judge: compares a record with the truth.
        journal: where finished records are kept, if anywhere.
        progress: shows how far it is.
        what: the word for the items.
    """
    done = {r["id"]: r for r in (journal.records if journal else []) if "id" in r}
    outcome: Outcome[Judged] = Outcome()
    in_a_row = 0
    for key, item in progress.track(items, description=what):
        try:
            record = done.get(key)
            if record is None:
                record = {"id": key, **ask(item)}
                if journal is not None:
                    journal.add(record)
            in_a_row = 0
            outcome.judged.append(judge(item, record))
        except HeadsightError as error:
            outcome.failures.append({"id": key, "error": str(error)})
            in_a_row += not isinstance(error, AnnotationError | ImageError | LimitError)
            if in_a_row >= _MOST_IN_A_ROW:
                raise
            continue
        outcome.seconds.append(float(record["seconds"]))
        outcome.first = outcome.first or record
    return outcome


def plain(value: Any) -> Any:
    """NaN as null, so that the JSON is valid everywhere."""
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, float) and value != value:
        return None
    return value
