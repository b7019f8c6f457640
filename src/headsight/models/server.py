"""A model behind an OpenAI-compatible chat endpoint (vLLM, llama.cpp, ...) as a `VLM`."""

from __future__ import annotations

__all__ = ["API_KEY_VARIABLE", "MAX_SENT_PIXELS", "ServerVLM", "chat_url", "dialect_for", "sent_wh"]

import base64
import codecs
import io
import math
import os
import random
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

from PIL import Image

from headsight.errors import ConfigError, InputError, ServerError
from headsight.language.answer import Answer
from headsight.language.spec import CodecSpec
from headsight.models.base import MAX_NEW_TOKENS, Reply
from headsight.models.http_json import Connection, post_json
from headsight.picture import Picture

API_KEY_VARIABLE = "HEADSIGHT_API_KEY"
"""The environment variable that holds the key where none is passed."""
MAX_SENT_PIXELS = 1_003_520
"""Larger pictures are shrunk to this before they are sent: what Qwen processors keep by default."""
_MULTIPLES = {"qwen2_5_vl": 28}
"""Dialects that answer in pixels of the picture as the model saw it, and the px its sides are
rounded to: what is sent has such sides already, so the server leaves its size alone."""
_NAMES = {
    "qwen_vl": r"^qwenvl(chat)?(int4)?$",  # not the hosted qwen-vl-max, which is a newer model
    "qwen2_vl": r"qwen2vl",
    "qwen2_5_vl": r"qwen25vl",
    "qwen3_vl": r"qwen3vl|qwen35",
    "internvl": r"internvl",
    "deepseek_vl2": r"deepseekvl2",
    "cogvlm": r"cogvlm",
    "kosmos2": r"kosmos2(?!5)",
    "paligemma": r"paligemma",
    "florence2": r"florence2",
    "shikra": r"shikra",
    "ferret": r"ferret(?!ui)",
    "llava": r"llava",
    "glm4v": r"glm4[156]v",
    "kimi_vl": r"kimivl",
    "molmo": r"molmo(?!2|point)",  # MolmoPoint answers in tokens of its own
    "molmo2": r"molmo2",
    "gemini": r"gemini|(?<!pali)gemma[34]",
    "minigpt_v2": r"minigptv2",
    "minicpm_v": r"minicpmv",
    "headsight": r"headsight",
}
"""What a model's name says about its answers, letters and digits only."""


class ServerVLM:
    """Answers by asking a server; the model's weights and templates are the server's business.

    Prompts about one picture are sent side by side, greedily decoded (temperature 0). Only the
    picture's size is changed, see `seen_wh`.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        dialect: str | None = None,
        api_key: str | None = None,
        timeout_s: float = 120.0,
        attempts: int = 5,
        longest_wait_s: float = 60.0,
        parallel: int = 4,
        logprobs: bool = False,
        image_format: Literal["jpeg", "png"] = "jpeg",
        max_pixels: int = MAX_SENT_PIXELS,
        seed: int = 0,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Nothing is sent yet.

        Args:
            url: of the server, with or without `/v1` or `/v1/chat/completions`.
            model: as the server calls it.
            dialect: key of the answer format; by default what the name says.
            api_key: by default the variable HEADSIGHT_API_KEY, if it is set.
            timeout_s: longest wait for one answer, s.
            attempts: how often one prompt is sent at most.
            longest_wait_s: longest pause between two attempts, s.
            parallel: prompts under way at once.
            logprobs: ask for the probability of each token; not every server can.
            image_format: "jpeg" (quality 95) or "png" (exact, about five times the bytes).
            max_pixels: larger pictures are shrunk to this.
            seed: of the jitter in pauses.
            sleep: waits so many seconds.

        Raises:
            InputError: a bad address or key, or a name that says no dialect.
            ConfigError: a number out of range.
        """
        if not model.strip():
            raise InputError("The model's name is empty. Pass the name that the server lists.")
        if parallel < 1 or max_pixels < 4 * 28 * 28:
            raise ConfigError(
                f"parallel is {parallel} and max_pixels {max_pixels}, but at least 1 and"
                f" {4 * 28 * 28} are needed."
            )
        key = api_key if api_key is not None else os.environ.get(API_KEY_VARIABLE)
        self.name = model
        self.dialect = dialect_for(model) if dialect is None else dialect
        self.connection = Connection(
            url=chat_url(url),
            api_key=(key or "").strip() or None,
            timeout_s=timeout_s,
            attempts=attempts,
            longest_wait_s=longest_wait_s,
            sleep=sleep,
        )
        self._parallel = parallel
        self._logprobs = logprobs
        self._image_format = image_format
        self._max_pixels = max_pixels
        self._seed = seed

    def read(
        self, picture: Picture, reply: Reply, *, mode: Literal["strict", "lenient"] = "strict"
    ) -> Answer:
        """What `reply` says about `picture` in the model's own dialect; px of the picture."""
        from headsight.language.dialects import DIALECTS

        seen_wh = self.seen_wh(picture.image_wh)
        return DIALECTS[self.dialect].parse(
            reply.text, picture.image_wh, seen_wh=seen_wh, mode=mode, prompt=reply.prompt
        )

    def seen_wh(self, image_wh: tuple[int, int]) -> tuple[int, int]:
        """Width and height, px, of the picture as it is sent, for answers in those pixels.

        It is what the model sees as long as the server itself does not shrink further.
        """
        multiple = _MULTIPLES.get(self.dialect, 1)
        return sent_wh(image_wh, multiple=multiple, max_pixels=self._max_pixels)

    def answer(
        self,
        picture: Picture,
        prompts: Sequence[str],
        *,
        grammar: CodecSpec | None = None,
        max_new_tokens: int = MAX_NEW_TOKENS,
    ) -> list[Reply]:
        """One greedy reply a prompt, in their order; see `VLM`.

        The first prompt that fails for good stops the rest.

        Raises:
            InputError: an empty prompt, or a grammar, which a server cannot be held to.
            ServerError: no usable answer; `replies` holds those that came.
        """
        if grammar is not None:
            raise InputError(
                "A grammar was given, but a server cannot be held to one. Leave out --constrain."
            )
        if any(not prompt.strip() for prompt in prompts):
            raise InputError("A prompt is empty. Ask something.")
        if not prompts:
            return []
        image_url = self._image_url(picture.image)
        stop = threading.Event()
        errors: list[ServerError] = []

        def ask(index: int) -> Reply | None:
            if stop.is_set():
                return None
            jitter = random.Random(f"{self._seed} {index}")
            document = self._document(image_url, prompts[index], max_new_tokens)
            try:
                answer = post_json(self.connection, document, jitter=jitter, stop=stop)
                return _reply(prompts[index], answer, self.connection)
            except ServerError as error:
                errors.append(error)
                stop.set()
                return None

        with ThreadPoolExecutor(min(self._parallel, len(prompts))) as pool:
            try:
                replies = list(pool.map(ask, range(len(prompts))))
            except BaseException:  # interrupted: what waits for its next attempt gives up
                stop.set()
                raise
        if errors:
            came = sum(reply is not None for reply in replies)
            raise ServerError(
                f"{errors[0]} {came} of {len(prompts)} prompts were answered.",
                replies=tuple(replies),
            ) from errors[0]
        return [reply for reply in replies if reply is not None]

    def _image_url(self, image: Image.Image) -> str:
        target = self.seen_wh(image.size)
        if target != image.size:
            image = image.resize(target, Image.Resampling.BICUBIC)
        file = io.BytesIO()
        if self._image_format == "png":
            image.save(file, "PNG")
        else:
            image.save(file, "JPEG", quality=95, subsampling=0)
        coded = base64.b64encode(file.getvalue()).decode()
        return f"data:image/{self._image_format};base64,{coded}"

    def _document(self, image_url: str, prompt: str, max_new_tokens: int) -> dict[str, object]:
        content = [
            {"type": "image_url", "image_url": {"url": image_url}},
            {"type": "text", "text": prompt},
        ]
        document: dict[str, object] = {
            "model": self.name,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": max_new_tokens,
            "stream": False,
        }
        return {**document, "logprobs": True} if self._logprobs else document


def dialect_for(model: str) -> str:
    """The key of the answer format that a model of this name writes.

    Example:
        >>> dialect_for("Qwen/Qwen2.5-VL-7B-Instruct-AWQ")
        'qwen2_5_vl'

    Raises:
        InputError: the name says none, or several.
    """
    name = re.sub(r"[^a-z0-9]", "", PurePosixPath(model.replace("\\", "/")).name.lower())
    found = [key for key, pattern in _NAMES.items() if re.search(pattern, name)]
    if len(found) == 1:
        return found[0]
    says = f"could be any of {', '.join(found)}" if found else "says no answer format"
    raise InputError(
        f"The model's name {model!r} {says}. Pass the format (--dialect), one of:"
        f" {', '.join(_NAMES)}."
    )


def chat_url(url: str) -> str:
    """The address of the chat endpoint, from that of the server or its `/v1`.

    Example:
        >>> chat_url("http://localhost:8000")
        'http://localhost:8000/v1/chat/completions'
    """
    try:
        parts = urlsplit(url.strip())
    except ValueError:  # brackets that are no address; a `Connection` says so
        return url
    path = parts.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        path = f"{path or '/v1'}/chat/completions"
    return urlunsplit(parts._replace(path=path, fragment=""))


def sent_wh(image_wh: tuple[int, int], *, multiple: int, max_pixels: int) -> tuple[int, int]:
    """Width and height, px, at which a picture is sent: at most `max_pixels`, sides in multiples.

    For a multiple above 1 it is the size that Qwen's processors would choose, and one that they
    would keep: at least four multiples in area, each side rounded to the nearest.

    Example:
        >>> sent_wh((640, 480), multiple=28, max_pixels=1_003_520)
        (644, 476)
    """
    size = _rounded(image_wh, multiple, max_pixels)
    while (again := _rounded(size, multiple, max_pixels)) != size:  # very long and thin pictures
        size = again
    return size


def _rounded(image_wh: tuple[int, int], multiple: int, max_pixels: int) -> tuple[int, int]:
    pixels = image_wh[0] * image_wh[1]
    least = 1 if multiple == 1 else 4 * multiple**2
    width, height = (max(multiple, round(side / multiple) * multiple) for side in image_wh)
    if width * height > max_pixels:
        shrink = math.sqrt(pixels / max_pixels) * multiple
        width, height = (max(multiple, math.floor(s / shrink) * multiple) for s in image_wh)
    elif width * height < least:
        grow = math.sqrt(least / pixels) / multiple
        width, height = (math.ceil(side * grow) * multiple for side in image_wh)
    return width, height


def _reply(prompt: str, answer: object, connection: Connection) -> Reply:
    choices = answer.get("choices") if isinstance(answer, Mapping) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        raise ServerError(
            f"{connection.place}: answered {connection.hide(str(answer))[:120]!r}, but a chat"
            " answer with choices[0].message is needed. Check the address and the server's log."
        )
    text = _text(message)
    pieces, logprobs = _probabilities(choice.get("logprobs"), text)
    return Reply(prompt, text, pieces, logprobs, choice.get("finish_reason") != "length")


def _text(message: Mapping[str, Any]) -> str:
    """The words of a message; "" where the model used its tokens up before it spoke."""
    content = message.get("content") or message.get("refusal") or ""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else str(content)


def _probabilities(found: object, text: str) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Tokens and their log-probabilities; both empty where they do not fit the text."""
    entries = found.get("content") if isinstance(found, Mapping) else None
    if not isinstance(entries, list) or not all(isinstance(e, Mapping) for e in entries):
        return (), ()
    logprobs = [entry.get("logprob") for entry in entries]
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in logprobs):
        return (), ()
    pieces = [entry.get("token") for entry in entries]
    if not all(isinstance(p, str) for p in pieces) or "".join(pieces) != text:
        pieces = _from_bytes([entry.get("bytes") for entry in entries])
    if len(pieces) != len(logprobs) or "".join(pieces) != text:
        return (), ()
    return tuple(pieces), tuple(float(value) for value in logprobs)


def _from_bytes(coded: Sequence[object]) -> list[str]:
    """The piece of text that each token adds; one that ends within a character adds it later."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        return [decoder.decode(bytes(v)) for v in coded if isinstance(v, list)]
    except (TypeError, ValueError):  # what is listed is no byte
        return []
