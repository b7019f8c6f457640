"""One JSON document sent to a server and one received: tried again where that helps, never hung.

Only the standard library is used. Proxies named in the environment are; redirects to another host,
port or scheme are not followed, because the API key would go with them.
"""

from __future__ import annotations

__all__ = ["MAX_REPLY_BYTES", "Connection", "post_json"]

import json
import random
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from headsight.errors import ConfigError, InputError, ServerError

MAX_REPLY_BYTES = 8 * 2**20
"""More than this is no answer; reading stops there."""
_MAX_WAIT_S = 86_400.0
_SHOWN = 200


def _split(url: str) -> SplitResult | None:
    """The parts of an address that can be asked; None for any other."""
    try:
        parts = urlsplit(url)
        is_usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # brackets or a port that are none
        return None
    return parts if is_usable and url.isprintable() and " " not in url else None


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where to, with which key, how long and how often."""

    url: str
    """The whole http or https address that documents are posted to."""
    api_key: str | None = field(default=None, repr=False)
    """Sent as a bearer token; never part of a message."""
    timeout_s: float = 120.0
    """Longest silence of the server, and longest time from its first word to its last, s."""
    attempts: int = 5
    """How often one document is sent at most."""
    first_wait_s: float = 0.5
    """Pause before the second attempt, s; it doubles each time."""
    longest_wait_s: float = 60.0
    """No pause is longer, s; a server that asks for a longer one is given up."""
    sleep: Callable[[float], object] | None = field(default=None, repr=False)
    """Waits so many seconds; by default a wait that ends when another prompt has failed."""

    def __post_init__(self) -> None:
        parts = _split(self.url)
        if parts is None:
            raise InputError(
                f"The server's address is {self.url[:_SHOWN]!r}; expected http or https, such as"
                " http://localhost:8000/v1."
            )
        if parts.username or parts.password:
            raise InputError(
                f"The address of {parts.hostname} holds a user name or password, which messages"
                " would show. Take it out and pass api_key, or set HEADSIGHT_API_KEY."
            )
        key = self.api_key or ""
        if not (key.isascii() and key.isprintable()) or " " in key:
            raise InputError(
                "The API key holds a space, a line break or a character beyond ASCII (it is not"
                " shown here). Pass the key alone."
            )
        times = (self.timeout_s, self.first_wait_s, self.longest_wait_s)
        if self.attempts < 1 or not all(0 < t <= _MAX_WAIT_S for t in times):
            raise ConfigError(
                f"attempts is {self.attempts} and the times are {times} s, but at least one attempt"
                f" and times above 0 and up to {_MAX_WAIT_S:.0f} s are needed."
            )

    @property
    def place(self) -> str:
        """Scheme, host and path, without the query, for messages."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"

    def hide(self, text: str) -> str:
        """The text without the key, which some servers repeat."""
        return text.replace(self.api_key, "***") if self.api_key else text


class _Trouble(Exception):
    """One attempt that failed."""

    def __init__(self, what: str, *, may_pass: bool = False, wait_s: float = 0.0) -> None:
        super().__init__(what)
        self.may_pass = may_pass
        self.wait_s = wait_s


def post_json(
    connection: Connection,
    document: object,
    *,
    jitter: random.Random,
    stop: threading.Event,
) -> Any:
    """What the server answers to `document`, both JSON.

    Status 429 and 5xx, refused and cut connections and silence are tried again, after a pause that
    doubles each time and is shortened by up to half at random; a `Retry-After` header makes it
    longer. Nothing is sent any more once `stop` is set.

    Raises:
        ServerError: no usable answer came.
    """
    data = json.dumps(document).encode()
    pause = connection.sleep or stop.wait
    for attempt in range(connection.attempts):
        try:
            return _parsed(_exchanged(connection, data))
        except _Trouble as error:
            trouble = error
        backoff = min(connection.longest_wait_s, connection.first_wait_s * 2.0**attempt)
        wait_s = max(trouble.wait_s, backoff * jitter.uniform(0.5, 1.0))
        is_last = attempt + 1 == connection.attempts
        if is_last or not trouble.may_pass or wait_s > connection.longest_wait_s:
            break
        pause(wait_s)
        if stop.is_set():
            break
    # without a chain of causes: what the server said could hold the key
    times = "" if attempt == 0 else f" ({attempt + 1} attempts)"
    raise ServerError(connection.hide(f"{connection.place}{times}: {trouble}"))


def _exchanged(connection: Connection, data: bytes) -> bytes:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if connection.api_key:
        headers["Authorization"] = f"Bearer {connection.api_key}"
    request = Request(connection.url, data, headers, method="POST")
    try:
        with build_opener(_SameHost).open(request, timeout=connection.timeout_s) as response:
            return _body(response, connection.timeout_s)
    except HTTPError as error:
        with error:
            raise _refusal(error) from None
    except TimeoutError as error:
        raise _silence(connection) from error
    except URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _silence(connection) from error
        is_final = isinstance(error.reason, ssl.SSLError)
        raise _Trouble(
            f"cannot be reached: {error.reason}. Check that the server runs, and its address.",
            may_pass=not is_final,
        ) from error
    except (HTTPException, OSError) as error:
        raise _Trouble(
            f"broke off ({type(error).__name__}: {str(error)[:80]}). Check that it is an HTTP"
            " server, and look at its log.",
            may_pass=True,
        ) from error


def _silence(connection: Connection) -> _Trouble:
    return _Trouble(
        f"did not answer within {connection.timeout_s:g} s. Raise timeout_s, or ask fewer prompts"
        " at once (parallel).",
        may_pass=True,
    )


def _body(response: HTTPResponse, timeout_s: float) -> bytes:
    """All of the answer, read piece by piece so that a dribbling server is noticed."""
    deadline = time.monotonic() + timeout_s
    length = response.headers.get("Content-Length", "")
    expected = int(length) if length.isdecimal() else None
    body = bytearray()
    while expected is None or len(body) < expected:
        if time.monotonic() > deadline:
            raise TimeoutError
        piece = response.read1(1 << 16)
        if not piece:
            break
        body += piece
        if len(body) > MAX_REPLY_BYTES:
            raise _Trouble(
                f"answered more than {MAX_REPLY_BYTES} bytes, which is no chat answer."
                " Check the address."
            )
    if expected is not None and len(body) < expected:
        raise IncompleteRead(bytes(body), expected - len(body))
    return bytes(body)


def _parsed(body: bytes) -> Any:
    if _is_page(body):
        raise _Trouble("answered with a web page, but JSON is needed. Check the address.")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _Trouble(
            f"answered {body[:60]!r}, which is no JSON. Check that the address is that of an"
            " OpenAI-compatible server."
        ) from error


def _is_page(body: bytes) -> bool:
    return body.lstrip()[:1] == b"<"


_HINTS = {
    401: "Check the API key (api_key, or HEADSIGHT_API_KEY).",
    403: "Check the API key (api_key, or HEADSIGHT_API_KEY).",
    404: "Check the address and the model's name.",
    413: "Send smaller pictures: lower max_pixels.",
    429: "Ask fewer prompts at once (parallel), or later.",
}


def _refusal(error: HTTPError) -> _Trouble:
    if 300 <= error.code < 400:
        where = urljoin(error.url, error.headers.get("Location", ""))
        return _Trouble(
            f"redirects to {where[:_SHOWN]}, which was not followed, as the API key would go there"
            " too. If you trust it, pass that address."
        )
    hint = _HINTS.get(error.code, "Look at the server's log." if error.code >= 500 else "")
    wait_s = _retry_after_s(error.headers.get("Retry-After"))
    asks = f" It asks to wait {wait_s:.0f} s." if wait_s else ""
    return _Trouble(
        f"answered {error.code} {error.reason}{_said(error)}.{asks} {hint}".rstrip(),
        may_pass=error.code == 429 or error.code >= 500,
        wait_s=wait_s,
    )


def _said(error: HTTPError) -> str:
    """The server's own words on a refusal, shortened."""
    try:
        body = error.read(MAX_REPLY_BYTES)
    except (HTTPException, OSError):  # cut off; the status says enough
        return ""
    if _is_page(body):
        return " with a web page"
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = body.decode("utf-8", "replace")
    for key in ("error", "message", "detail"):
        if isinstance(said, dict) and key in said:
            said = said[key]
    text = " ".join(str(said).split())[:_SHOWN]
    return f": {text.rstrip('.')}" if text else ""


def _retry_after_s(value: str | None) -> float:
    """Seconds that a `Retry-After` header asks for; 0 where there is none, or none that is sane."""
    if value is None:
        return 0.0
    text = value.strip()
    if text.isdecimal():
        return min(float(text), _MAX_WAIT_S)
    try:
        until = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return 0.0
    return min(max(0.0, until - time.time()), _MAX_WAIT_S)


class _SameHost(HTTPRedirectHandler):
    """Follows 307 and 308 on the same host, port and scheme; the rest is a refusal."""

    def redirect_request(
        self, req: Request, fp: Any, code: int, msg: str, headers: Message, newurl: str
    ) -> Request | None:
        here, there = urlsplit(req.full_url), urlsplit(newurl)
        if code not in (307, 308) or here[:2] != there[:2]:
            return None
        return Request(newurl, req.data, dict(req.header_items()), method="POST")
