"""Rounds of question and answer behind one picture, as text (CapeLLM, arXiv 2411.06869).

    User: <where is this point?>
    Reference: <description>
    Assistant: [0.253,0.380]<end>User: ...

Which tokens are answers is told by the characters they cover, so that any tokenizer will do. The
wording of the questions is ours; the paper's could be read only in part.
"""

from __future__ import annotations

__all__ = [
    "ANSWER_TOKENS",
    "ANY_ANSWER",
    "PLAIN",
    "Glue",
    "RoundFormat",
    "RoundTokens",
    "Slot",
    "answer_template",
    "first_prompt",
    "tokenize_rounds",
    "write_rounds",
]

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headsight.errors import ConfigError, InputError
from headsight.language.prompts import clean_expression
from headsight.language.schema import KeypointSchema, KeypointText
from headsight.language.spec import CodecSpec
from headsight.language.vocabulary import Vocabulary

ANSWER_TOKENS = 16
"""Longest answer: `[0.123,0.456]` where every character is a token, a blank and its end."""
ANY_ANSWER = "[0.000,0.000]"
"""Stands for an answer where only what is before it matters."""
_HOLES = ("{keypoint}", "{category}")


@dataclass(frozen=True, kw_only=True)
class RoundFormat:
    """How a keypoint is asked for; saved with what was trained with it."""

    question: str = "Where is the {keypoint} of the {category}? Give its coordinates."
    """With the places `{keypoint}` and, if wanted, `{category}`."""
    with_reference: bool = True
    """Whether the description is told."""
    roles: tuple[str, str, str] = ("User: ", "Reference: ", "Assistant:")
    """What stands before question, description and answer; may be empty."""
    digits: int = 3
    """Decimals of an answer."""

    def __post_init__(self) -> None:
        if "{keypoint}" not in self.question:
            raise ConfigError(
                f"The question {self.question!r} does not say which keypoint is meant. Put"
                f" {{keypoint}} into it; {', '.join(_HOLES)} are filled in."
            )

    @property
    def spec(self) -> CodecSpec:
        """The answer's."""
        return CodecSpec("point", digits=self.digits, frame="crop")

    def ask(self, point: KeypointText, category: str) -> str:
        """The question of one round, up to the word behind which the answer is said."""
        words = clean_expression(point.name)
        question = self.question.replace("{keypoint}", words).replace("{category}", category)
        user, told, assistant = self.roles
        reference = f"{told}{point.description}\n" if self.with_reference else ""
        return f"{user}{question}\n{reference}{assistant}"

    def questions(self, schema: KeypointSchema, category: str | None = None) -> list[str]:
        """One a keypoint, in the order of the schema; about a `category` of it."""
        return [self.ask(point, category or schema.word) for point in schema.keypoints]


@dataclass(frozen=True)
class Glue:
    """What stands between the parts of a conversation, for one model."""

    lead: str = " "
    """Between a question and its answer."""
    end: str = "</s>"
    """Ends an answer; it is learned."""
    between: str = ""
    """Between the end of an answer and the next question."""
    native: str = ""
    """The part of `lead` that the model's own preparation of a question writes."""


PLAIN = Glue()
"""The paper's."""


@dataclass(frozen=True)
class RoundTokens:
    """A conversation in tokens (L tokens)."""

    ids: tuple[int, ...]
    said: tuple[bool, ...]
    """Which tokens the model is to say: answers and their ends."""
    first: int
    """Number of the first of them; what stands before is the first question."""
    offsets: tuple[tuple[int, int], ...]
    """First and one past last character of each token."""
    text: str
    """What was tokenised."""
    prompt: str
    """The first question, as the model's own preparation takes it."""


@dataclass(frozen=True)
class Slot:
    """A token of an answer that holds digits."""

    width: int
    """How many."""
    starts: bool
    """Whether a number begins with it."""


def write_rounds(
    rounds: Sequence[tuple[str, str]], glue: Glue = PLAIN
) -> tuple[str, list[tuple[int, int]]]:
    """The text of questions and answers, and first and one past last character of each answer.

    The end of an answer belongs to it.

    Example:
        >>> write_rounds([("A:", "[0.1,0.2]"), ("B:", "[0.3,0.4]")])
        ('A: [0.1,0.2]</s>B: [0.3,0.4]</s>', [(3, 16), (19, 32)])
    """
    text, spans = "", []
    for question, answer in rounds:
        text += (glue.between if text else "") + question + glue.lead
        spans.append((len(text), len(text) + len(answer) + len(glue.end)))
        text += answer + glue.end
    return text, spans


def tokenize_rounds(
    tokenizer: Any, rounds: Sequence[tuple[str, str]], glue: Glue = PLAIN
) -> RoundTokens:
    """The whole conversation in tokens, and which of them are said.

    It is tokenised once, as one text; a token is said where it covers a character of an answer.

    Raises:
        InputError: no rounds, a tokenizer that does not tell where its tokens stand, or a
            question or answer that holds a special token.
    """
    if not rounds:
        raise InputError("A conversation of no rounds was given; expected at least one.")
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(
            f"{type(tokenizer).__name__} does not tell which characters a token covers. Load the"
            " fast tokenizer of this model (tokenizer.json)."
        )
    _refuse_specials(tokenizer, rounds)
    text, spans = write_rounds(rounds, glue)
    made = tokenizer(
        text, add_special_tokens=False, return_offsets_mapping=True, split_special_tokens=False
    )
    offsets = made["offset_mapping"]
    said = tuple(any(a < end and b > start for start, end in spans) for a, b in offsets)
    first = said.index(True)
    spots = tuple((int(a), int(b)) for a, b in offsets)
    before = text[: spots[first][0]]
    if not before.endswith(glue.native):
        raise InputError(
            f"The blank behind {glue.native!r} is a token of its own for this tokenizer, so that a"
            " question prepared by the model cannot end with it. Leave it out of `lead`."
        )
    prompt = before.removesuffix(glue.native)
    return RoundTokens(tuple(made["input_ids"]), said, first, spots, text, prompt)


def first_prompt(tokenizer: Any, question: str, glue: Glue = PLAIN) -> str:
    """A question behind the picture, as the model's own preparation takes it.

    Raises:
        InputError: see `tokenize_rounds`.
    """
    return tokenize_rounds(tokenizer, [(question, ANY_ANSWER)], glue).prompt


def answer_template(
    tokenizer: Any, question: str, glue: Glue = PLAIN, *, digits: int = 3
) -> tuple[int | Slot, ...] | None:
    """The tokens of every strict point behind a question, its end included.

    None where a token of this tokenizer mixes digits with something else, or where not all digits
    can be written alike.
    """
    dummy = f"[0.{'123456'[:digits]},0.{'456123'[:digits]}]"
    numbers = [(3, 3 + digits), (6 + digits, 6 + 2 * digits)]  # where their digits stand
    made = tokenize_rounds(tokenizer, [(question, dummy)], glue)
    start = len(made.text) - len(dummy) - len(glue.end)
    texts = Vocabulary.of(tokenizer).texts.values()
    template: list[int | Slot] = []
    for token, (a, b) in list(zip(made.ids, made.offsets, strict=True))[made.first :]:
        touched = [(d, e) for d, e in numbers if a < start + e and b > start + d]
        if not touched:
            template.append(token)
            continue
        [(d, e)] = touched if len(touched) == 1 else [(0, 0)]
        if not (start + d <= a and b <= start + e):
            return None
        width = b - a
        if sum(len(text) == width and text.isdecimal() for text in texts) < 10**width:
            return None
        template.append(Slot(width, starts=a == start + d))
    return tuple(template)


def _refuse_specials(tokenizer: Any, rounds: Sequence[tuple[str, str]]) -> None:
    for said in (part for pair in rounds for part in pair):
        for special in tokenizer.all_special_tokens:
            if special and special in said:
                raise InputError(
                    f"{said[:60]!r} holds {special!r}, which has a meaning of its own for this"
                    " model. Leave it out of names and descriptions."
                )
