"""Rounds of questions about pictures, in which a model sees its own earlier answers.

After CapeLLM (arXiv 2411.06869): round j stands behind the picture and the rounds before it, the
keys and values of which are kept. A strict answer is mostly brackets and commas, so these are read
as a draft, several tokens at once, and taken back where the model would have written something
else: the tokens are those of greedy writing, one at a time.
"""
# mypy: disable-error-code="no-untyped-call"
# (transformers and parts of torch are only partly typed)

from __future__ import annotations

__all__ = ["Said", "converse"]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from headsight.errors import ConfigError
from headsight.language.density import Density, density
from headsight.language.rounds import (
    ANSWER_TOKENS,
    ANY_ANSWER,
    RoundFormat,
    Slot,
    answer_template,
    first_prompt,
    tokenize_rounds,
)
from headsight.language.vocabulary import Vocabulary
from headsight.models.base import AttentiveVLM, Reply
from headsight.models.cached_rows import CachedRows
from headsight.models.conversation import glue_of, require_room
from headsight.models.grounding.adapter import GroundingAdapter
from headsight.models.grounding.prefix import Written, log_mass
from headsight.models.replies import answer_ends, to_reply
from headsight.picture import Picture


@dataclass(frozen=True)
class Said:
    """One answer in one conversation."""

    reply: Reply
    """Where it was constrained, the end of an answer is certain (log-probability 0)."""
    densities: tuple[Density, ...] = ()
    """Of its numbers, in their order, the later given the earlier; empty where not asked for, or
    where the answer is not strict."""


def converse(
    vlm: AttentiveVLM,
    pictures: Sequence[Picture],
    questions: Sequence[str],
    *,
    form: RoundFormat,
    window: int,
    constrain: bool = False,
    with_density: bool = False,
    max_new_tokens: int = ANSWER_TOKENS,
) -> list[list[Said]]:
    """The answers to `questions`, one list a picture; each round knows the `window` before it.

    Args:
        vlm: a model whose attention may be looked at (any decoder).
        pictures: of one size.
        questions: as `RoundFormat.ask` writes them; asked one after the other.
        form: of the answers.
        window: rounds that are remembered; 0: every question stands alone.
        constrain: write strict answers only.
        with_density: also tell the distribution of every number.
        max_new_tokens: longest answer.

    Raises:
        InputError: a model that cannot be asked in rounds, or a conversation too long for it.
        ConfigError: a tokenizer whose answers cannot be constrained or told the density of.
    """
    if not pictures or not questions:
        return [[] for _ in pictures]
    talk = _Dialogue(vlm, pictures, questions, form, constrain, with_density, max_new_tokens)
    said = [talk.ask(number, max(0, number - window)) for number in range(len(questions))]
    return [list(row) for row in zip(*said, strict=True)]


class _Row:
    """The answer of one row while it is written."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.densities: list[Density] = []
        self.ended = False


class _Dialogue:
    def __init__(
        self,
        vlm: AttentiveVLM,
        pictures: Sequence[Picture],
        questions: Sequence[str],
        form: RoundFormat,
        constrain: bool,
        with_density: bool,
        max_new_tokens: int,
    ) -> None:
        self._vlm, self._pictures, self._questions, self._form = vlm, pictures, questions, form
        self._constrain, self._with_density, self._most = constrain, with_density, max_new_tokens
        self._tokenizer: Any = vlm.processor.tokenizer  # type: ignore[attr-defined]
        self._glue = glue_of(vlm)
        self._neighbours = vlm.neighbours if isinstance(vlm, GroundingAdapter) else None
        self._ends = set(answer_ends(vlm.model.generation_config, self._tokenizer))
        self._end = int(self._tokenizer.convert_tokens_to_ids(self._glue.end))
        self._template = answer_template(
            self._tokenizer, questions[0], self._glue, digits=form.digits
        )
        if self._template is None and (constrain or with_density):
            raise ConfigError(
                f"The tokenizer of {vlm.name} mixes digits with other characters, so its answers"
                " cannot be constrained and have no distributions. Leave out constrain, decode and"
                " density."
            )
        self._digits = _digit_tokens(self._tokenizer)
        self._rows = CachedRows(vlm.model, _stacked([self._first(0, p) for p in pictures]))
        self._firsts = {0: self._rows.rest}
        self._answers: list[list[list[int]]] = []  # of each round and row, its end included
        self._start = 0
        self._unread: list[list[int]] = []  # tokens of the last answers that are not in the cache

    def ask(self, number: int, start: int) -> list[Said]:
        """Round `number`, behind the rounds from `start` on."""
        if number == 0 or start != self._start:
            self._rows.forget(self._rows.length - self._rows.shared)
            asked = [self._context(start, number, row) for row in range(len(self._pictures))]
            self._start = start
        else:
            asked = [[*unread, *self._later(number)] for unread in self._unread]
        require_room(self._vlm, max(map(len, asked)) + self._rows.length + self._most)
        rows = [_Row() for _ in self._pictures]
        self._unread = [[] for _ in rows]
        scores = self._write_by_template(rows, asked)
        if scores is not None:
            self._write(rows, scores)
        for row, unread in zip(rows, self._unread, strict=True):
            unread += [] if row.ended else [self._end]
        self._answers.append([row.ids + ([] if row.ended else [self._end]) for row in rows])
        return [self._said(number, row) for row in rows]

    def _context(self, start: int, number: int, row: int) -> list[int]:
        """All that follows the picture, up to question `number`."""
        ids = list(self._first_ids(start))
        for before in range(start, number):
            ids += self._answers[before][row] + self._later(before + 1)
        return ids

    def _first_ids(self, number: int) -> list[int]:
        """A question behind the picture, as the model prepares it."""
        if number not in self._firsts:
            inputs = self._first(number, self._pictures[0])
            self._firsts[number] = inputs["input_ids"][0, self._rows.shared :].tolist()
        return self._firsts[number]

    def _first(self, number: int, picture: Picture) -> dict[str, Any]:
        prompt = first_prompt(self._tokenizer, self._questions[number], self._glue)
        return self._vlm.prepare(picture, prompt)

    def _later(self, number: int) -> list[int]:
        """A question behind the end of an answer, up to where its answer begins."""
        rounds = [("Q:", ANY_ANSWER), (self._questions[number], ANY_ANSWER)]
        made = tokenize_rounds(self._tokenizer, rounds, self._glue)
        after_end = made.said.index(False, made.first)
        return list(made.ids[after_end : made.said.index(True, after_end)])

    def _write_by_template(self, rows: list[_Row], asked: list[list[int]]) -> Tensor | None:
        """Write strict answers; the scores from which to go on where a row writes another."""
        if self._template is None:
            return self._rows.read(asked)[:, -1]
        place, feed = 0, asked
        while True:
            run = _fixed_run(self._template, place)
            if self._constrain and place + len(run) == len(self._template):
                self._close(rows, feed, run)
                return None
            scores = self._rows.read([[*row, *run] for row in feed], keep=len(run) + 1)
            if not self._constrain and run and not _agrees(scores[:, :-1], run):
                self._rows.forget(len(run))
                return scores[:, 0]
            for column, token in enumerate(run):
                self._note(rows, scores[:, column], [token] * len(rows))
            place += len(run)
            if place == len(self._template):
                return None
            slot = self._template[place]
            assert isinstance(slot, Slot)
            chosen = self._digits_chosen(scores[:, -1], slot)
            if slot.starts and self._with_density:
                self._tell_densities(rows, scores[:, -1])
            if chosen is None:
                return scores[:, -1]
            self._note(rows, scores[:, -1], chosen)
            feed, place = [[token] for token in chosen], place + 1

    def _digits_chosen(self, scores: Float[Tensor, "n v"], slot: Slot) -> list[int] | None:
        """The number, or a part of it, that each row writes; None where one writes none."""
        allowed = self._digits[slot.width]
        if self._constrain:
            ids = torch.tensor(sorted(allowed), device=scores.device)
            return [int(i) for i in ids[scores[:, ids].argmax(-1)]]
        chosen = [int(i) for i in scores.argmax(-1)]
        return chosen if all(token in allowed for token in chosen) else None

    def _close(self, rows: list[_Row], feed: list[list[int]], run: list[int]) -> None:
        """End answers that can go on in one way only; it is read with the next question."""
        for row in rows:
            row.ids += run
            row.logprobs += [0.0] * len(run)
            row.ended = True
        self._unread = [[*last, *run] for last in feed]

    def _write(self, rows: list[_Row], scores: Float[Tensor, "n v"]) -> None:
        """Go on greedily, one token at a time, until every row has ended."""
        for row in rows:
            row.densities.clear()  # of a number in no strict answer
        while True:
            chosen, goes_on = scores.argmax(-1), [not row.ended for row in rows]
            self._note(rows, scores, chosen.tolist())
            if all(row.ended or len(row.ids) >= self._most for row in rows):
                break
            scores = self._rows.read_one(chosen, torch.tensor(goes_on, device=chosen.device))
        self._unread = [row.ids[-1:] if on else [] for row, on in zip(rows, goes_on, strict=True)]

    def _note(self, rows: list[_Row], scores: Float[Tensor, "n v"], chosen: list[int]) -> None:
        """Append a token to every row that goes on."""
        ids = torch.tensor(chosen, device=scores.device)
        logprobs = log_mass(scores.log_softmax(-1), ids, self._neighbours).tolist()
        for row, token, logprob in zip(rows, chosen, logprobs, strict=True):
            if not row.ended:
                row.ids.append(token)
                row.logprobs.append(logprob)
                row.ended = token in self._ends

    def _tell_densities(self, rows: list[_Row], scores: Float[Tensor, "n v"]) -> None:
        """The distribution of the number that every row is about to write."""
        for place, row in enumerate(rows):
            own = scores[place]

            def after(prefixes: Sequence[tuple[int, ...]], place: int = place) -> Tensor:
                if prefixes == [()]:
                    return own[None]  # noqa: B023 - called before the next row
                rows = self._rows.picked([place] * len(prefixes))
                return rows.read(prefixes)[:, -1]

            row.densities.append(density(after, self._tokenizer, self._form.spec))

    def _said(self, number: int, row: _Row) -> Said:
        kept = len(row.ids) - row.ended
        written = Written(tuple(row.ids[:kept]), tuple(row.logprobs[:kept]), row.ended)
        reply = to_reply(self._tokenizer, self._questions[number], written)
        return Said(reply, tuple(row.densities))


def _fixed_run(template: Sequence[int | Slot], place: int) -> list[int]:
    """The tokens up to the next one that holds digits."""
    run = []
    for part in template[place:]:
        if isinstance(part, Slot):
            break
        run.append(part)
    return run


def _agrees(scores: Float[Tensor, "n t v"], run: Sequence[int]) -> bool:
    """Whether every row would have written the run by itself."""
    return bool((scores.argmax(-1) == torch.tensor(list(run), device=scores.device)).all())


def _digit_tokens(tokenizer: Any) -> dict[int, set[int]]:
    """Ids of the tokens that are so many digits and nothing else."""
    found: dict[int, set[int]] = {}
    for token, text in Vocabulary.of(tokenizer).texts.items():
        if text.isdecimal():
            found.setdefault(len(text), set()).add(token)
    return found


def _stacked(inputs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {name: torch.cat([one[name] for one in inputs]) for name in inputs[0]}
