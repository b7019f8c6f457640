"""A model behind a chat endpoint, asked over real sockets: good answers, bad ones, and none."""

from __future__ import annotations

import base64
import io
import json
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from headsight.errors import ConfigError, HeadsightError, InputError, ServerError
from headsight.language.spec import CodecSpec
from headsight.models.base import VLM, Reply
from headsight.models.http_json import MAX_REPLY_BYTES
from headsight.models.server import ServerVLM, chat_url, dialect_for, sent_wh
from headsight.picture import Picture

PICTURE = Picture(
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))
)
KEY = "sk-very-secret-0123"

Act = Callable[[BaseHTTPRequestHandler, Any], None]


class ChatServer:
    """Plays one act a request, the last one for ever, and remembers what was asked."""

    def __init__(self) -> None:
        self.acts: list[Act] = [say("yes")]
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.over = threading.Event()
        chat = self

        class Handler(BaseHTTPRequestHandler):
            wbufsize = 1 << 16  # one packet an answer

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                document = json.loads(self.rfile.read(length))
                chat.requests.append((self.path, dict(self.headers), document))
                act = chat.acts.pop(0) if len(chat.acts) > 1 else chat.acts[0]
                act(self, document)

            def log_message(self, *args: object) -> None:
                """Keep quiet."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *args: object) -> None:
                """The client may hang up."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def send(status: int, body: bytes, **headers: str) -> Act:
    def act(handler: BaseHTTPRequestHandler, document: Any) -> None:
        handler.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return act


def chat(content: Any, finish: str | None = "stop", **choice: Any) -> bytes:
    message = {"role": "assistant", "content": content}
    return json.dumps(
        {"choices": [{"message": message, "finish_reason": finish, **choice}]}
    ).encode()


def say(content: Any, finish: str | None = "stop", **choice: Any) -> Act:
    return send(200, chat(content, finish, **choice))


def question(document: Any) -> str:
    return str(document["messages"][0]["content"][1]["text"])


def echo(handler: BaseHTTPRequestHandler, document: Any) -> None:
    say(f"re: {question(document)}")(handler, document)


def cut(handler: BaseHTTPRequestHandler, document: Any) -> None:
    send(200, chat("yes")[:20], Content_Length="1000")(handler, document)


def hang_up(handler: BaseHTTPRequestHandler, document: Any) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def not_http(handler: BaseHTTPRequestHandler, document: Any) -> None:
    handler.wfile.write(b"SSH-2.0-OpenSSH_9.6\r\n")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ChatServer]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("HEADSIGHT_API_KEY", raising=False)
    chat_server = ChatServer()
    yield chat_server
    chat_server.close()


def model(server: ChatServer, **options: Any) -> tuple[ServerVLM, list[float]]:
    """An adapter that never sleeps, and the pauses it would have made."""
    pauses: list[float] = []
    options = {"sleep": pauses.append, "dialect": "qwen3_vl", **options}
    return ServerVLM(server.url, "toy", **options), pauses


def test_the_document_that_is_sent(server: ChatServer) -> None:
    vlm, pauses = model(server, api_key=KEY)
    assert isinstance(vlm, VLM)
    replies = vlm.answer(PICTURE, ["Where is the cup?"], max_new_tokens=33)
    assert replies == [Reply("Where is the cup?", "yes", (), ())]
    [(path, headers, document)] = server.requests
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Content-Type"] == "application/json"
    [message] = document.pop("messages")
    assert document == {"model": "toy", "temperature": 0, "max_tokens": 33, "stream": False}
    assert message["role"] == "user"
    image, words = message["content"]
    assert words == {"type": "text", "text": "Where is the cup?"}
    assert image["type"] == "image_url"
    assert image["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert pauses == []
    assert vlm.answer(PICTURE, []) == []
    assert len(server.requests) == 1


def sent_picture(document: Any) -> Image.Image:
    coded = document["messages"][0]["content"][0]["image_url"]["url"].partition(",")[2]
    return Image.open(io.BytesIO(base64.b64decode(coded)))


def test_the_picture_that_is_sent(server: ChatServer) -> None:
    vlm, _ = model(server, image_format="png")
    vlm.answer(PICTURE, ["?"])
    np.testing.assert_array_equal(np.asarray(sent_picture(server.requests[-1][2])), PICTURE.image)

    model(server)[0].answer(PICTURE, ["?"])
    assert sent_picture(server.requests[-1][2]).size == (64, 48)

    large = Picture(Image.new("RGB", (640, 480), "#806040"))
    for dialect, wanted in (("qwen2_5_vl", (644, 476)), ("internvl", (640, 480))):
        vlm, _ = model(server, dialect=dialect)
        vlm.answer(large, ["?"])
        assert sent_picture(server.requests[-1][2]).size == wanted == vlm.seen_wh((640, 480))

    vlm, _ = model(server, max_pixels=4000)
    vlm.answer(large, ["?"])
    assert sent_picture(server.requests[-1][2]).size == (73, 54)


def test_order_is_kept_when_a_later_prompt_is_answered_first(server: ChatServer) -> None:
    second_is_done = threading.Event()

    def act(handler: BaseHTTPRequestHandler, document: Any) -> None:
        if question(document) == "first":
            assert second_is_done.wait(10)
        echo(handler, document)
        if question(document) == "second":
            second_is_done.set()

    server.acts = [act]
    vlm, _ = model(server, parallel=2)
    replies = vlm.answer(PICTURE, ["first", "second", "third"])
    assert [r.text for r in replies] == ["re: first", "re: second", "re: third"]


@pytest.mark.parametrize(
    ("act", "text", "ended"),
    [
        (say("cut of", "length"), "cut of", False),
        (say(None, "length"), "", False),  # thinking used the tokens up
        (say("", "stop"), "", True),
        (say("yes", None), "yes", True),
        (say([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, 3]), "ab", True),
    ],
)
def test_ends_and_contents(server: ChatServer, act: Act, text: str, ended: bool) -> None:
    server.acts = [act]
    [reply] = model(server)[0].answer(PICTURE, ["?"])
    assert (reply.text, reply.ended) == (text, ended)


def test_a_refusal_in_its_own_field_is_text(server: ChatServer) -> None:
    document = {"choices": [{"message": {"content": None, "refusal": "I cannot."}}]}
    server.acts = [send(200, json.dumps(document).encode())]
    assert model(server)[0].answer(PICTURE, ["?"])[0].text == "I cannot."


def token(text: str, logprob: Any = -0.5, **more: Any) -> dict[str, Any]:
    return {"token": text, "logprob": logprob, **more}


@pytest.mark.parametrize(
    ("entries", "tokens"),
    [
        ([token("é"), token("[1]", -1)], ("é", "[1]")),
        # one character over two tokens: the second completes it
        ([token("?", bytes=[0xC3]), token("?", bytes=[0xA9, *b"[1]"])], ("", "é[1]")),
        ([token("é"), token("[1]"), token("<|im_end|>")], ()),
        ([token("é"), token("[1]", None)], ()),
        ([token("é"), token("[1]", math.nan)], ()),
        ([token("x", bytes=10**12), token("y", bytes=[999])], ()),
        (None, ()),
        ("none", ()),
    ],
)
def test_probabilities(server: ChatServer, entries: Any, tokens: tuple[str, ...]) -> None:
    server.acts = [say("é[1]", logprobs={"content": entries})]
    [reply] = model(server, logprobs=True)[0].answer(PICTURE, ["?"])
    assert server.requests[0][2]["logprobs"] is True
    assert reply.tokens == tokens
    assert len(reply.logprobs) == len(tokens)


@pytest.mark.parametrize("trouble", [send(500, b"oops"), send(503, b""), cut, hang_up, not_http])
def test_passing_trouble_is_tried_again(server: ChatServer, trouble: Act) -> None:
    server.acts = [trouble, echo]
    vlm, pauses = model(server)
    assert vlm.answer(PICTURE, ["hello"])[0].text == "re: hello"
    assert len(server.requests) == 2
    [pause] = pauses
    assert 0.25 <= pause <= 0.5


def test_pauses_double_and_depend_on_the_seed_alone(server: ChatServer) -> None:
    def pauses(seed: int) -> list[float]:
        server.acts = [send(502, b"")]
        vlm, made = model(server, attempts=6, longest_wait_s=5.0, seed=seed)
        with pytest.raises(ServerError, match=r"6 attempts\): answered 502 Bad Gateway"):
            vlm.answer(PICTURE, ["?"])
        return made

    first = pauses(1)
    assert len(first) == 5
    for pause, most in zip(first, [0.5, 1, 2, 4, 5], strict=True):
        assert most / 2 <= pause <= most
    assert pauses(1) == first
    assert pauses(2) != first


def test_the_server_says_how_long_to_wait(server: ChatServer) -> None:
    in_20_s = formatdate(time.time() + 20, usegmt=True)
    server.acts = [
        send(429, b"", Retry_After="7"),
        send(503, b"", Retry_After=in_20_s),
        send(429, b"", Retry_After="soon"),
        echo,
    ]
    vlm, pauses = model(server)
    assert vlm.answer(PICTURE, ["?"])[0].text == "re: ?"
    assert pauses[0] == 7
    assert 15 < pauses[1] <= 20
    assert 1 <= pauses[2] <= 2

    server.acts = [send(429, b"", Retry_After="3600")]
    vlm, pauses = model(server)
    with pytest.raises(ServerError, match=r"429 Too Many Requests. It asks to wait 3600 s."):
        vlm.answer(PICTURE, ["?"])
    assert pauses == []


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (send(200, b"\n<!DOCTYPE html><html>Log in</html>"), "answered with a web page"),
        (send(200, b"\xff\x00 garbage"), "which is no JSON"),
        (send(200, b"[" * 100_000), "which is no JSON"),
        (send(200, b""), "which is no JSON"),
        (send(200, b"[]"), r"choices\[0\].message is needed"),
        (send(200, b'{"choices": []}'), r"choices\[0\].message is needed"),
        (send(200, b'{"choices": [{"text": "old"}]}'), r"choices\[0\].message is needed"),
        (send(400, b'{"error": {"message": "context too long."}}'), "400 Bad Request: context too"),
        (send(401, b'{"error": "no key"}'), "no key. Check the API key"),
        (send(404, b'{"detail": "no model toy"}'), "no model toy. Check the address and the model"),
        (send(400, b"zz\r\n", Transfer_Encoding="chunked"), r"400 Bad Request\. 0 of 1"),
        (send(413, b"<html>too big</html>"), "413 .* with a web page. Send smaller pictures"),
        (send(200, b"{" + b" " * MAX_REPLY_BYTES), f"more than {MAX_REPLY_BYTES} bytes"),
    ],
)
def test_final_trouble_is_asked_once(server: ChatServer, act: Act, message: str) -> None:
    server.acts = [act]
    vlm, pauses = model(server)
    with pytest.raises(ServerError, match=message) as caught:
        vlm.answer(PICTURE, ["?"])
    assert len(server.requests) == 1
    assert pauses == []
    assert isinstance(caught.value, HeadsightError)
    assert caught.value.replies == (None,)


def test_a_closed_port(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    pauses: list[float] = []
    vlm = ServerVLM(url, "toy", dialect="llava", attempts=3, sleep=pauses.append)
    with pytest.raises(ServerError, match=r"3 attempts\): cannot be reached: .*refused"):
        vlm.answer(PICTURE, ["?"])
    assert len(pauses) == 2


def test_https_where_there_is_none(server: ChatServer) -> None:
    pauses: list[float] = []
    url = server.url.replace("http:", "https:")
    with pytest.raises(ServerError, match=r"cannot be reached: .*SSL"):
        ServerVLM(url, "toy", dialect="llava", sleep=pauses.append).answer(PICTURE, ["?"])
    assert pauses == []


def test_an_interrupt_ends_it(server: ChatServer) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    def hold(handler: BaseHTTPRequestHandler, document: Any) -> None:
        server.over.wait(0.5)  # long enough for the interrupt of the first to be noticed

    server.acts = [send(503, b""), hold]
    vlm, _ = model(server, sleep=interrupt, parallel=1)
    with pytest.raises(KeyboardInterrupt):
        vlm.answer(PICTURE, ["a", "b", "c", "d"])
    # the second may already have been taken up
    assert len(server.requests) <= 2


def test_a_silent_server(server: ChatServer) -> None:
    server.acts = [lambda handler, document: server.over.wait(10) and None]
    vlm, pauses = model(server, timeout_s=0.05, attempts=2)
    with pytest.raises(ServerError, match=r"2 attempts\): did not answer within 0.05 s"):
        vlm.answer(PICTURE, ["?"])
    assert len(pauses) == 1


def test_a_server_that_dribbles(server: ChatServer) -> None:
    def dribble(handler: BaseHTTPRequestHandler, document: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not server.over.wait(0.01):
            handler.wfile.write(b" ")
            handler.wfile.flush()

    server.acts = [dribble]
    vlm, _ = model(server, timeout_s=0.1, attempts=1)
    with pytest.raises(ServerError, match=r"did not answer within 0.1 s"):
        vlm.answer(PICTURE, ["?"])


def test_answers_that_came_are_kept(server: ChatServer) -> None:
    server.acts = [echo, echo, send(400, b"no"), echo]
    vlm, _ = model(server, parallel=1)
    with pytest.raises(ServerError, match=r"400 .* 2 of 5 prompts were answered\.") as caught:
        vlm.answer(PICTURE, ["a", "b", "c", "d", "e"])
    replies = caught.value.replies
    assert [r and r.text for r in replies] == ["re: a", "re: b", None, None, None]
    assert len(server.requests) == 3


def test_one_failure_ends_the_waiting_of_the_others(server: ChatServer) -> None:
    is_waiting = threading.Event()

    def act(handler: BaseHTTPRequestHandler, document: Any) -> None:
        if question(document) == "busy":
            is_waiting.set()
            send(503, b"")(handler, document)
        else:
            assert is_waiting.wait(10)
            send(400, b"no")(handler, document)

    server.acts = [act]
    vlm = ServerVLM(server.url, "toy", dialect="llava", attempts=50, parallel=2)  # really pauses
    with pytest.raises(ServerError, match="answered 400"):
        vlm.answer(PICTURE, ["busy", "bad"])


def test_redirects(server: ChatServer) -> None:
    other = ChatServer()
    try:
        server.acts = [send(307, b"", Location=f"{other.url}/v1/chat/completions")]
        vlm, _ = model(server, api_key=KEY)
        with pytest.raises(ServerError, match=rf"redirects to {other.url}/v1/.* not followed"):
            vlm.answer(PICTURE, ["?"])
        assert other.requests == []
    finally:
        other.close()

    server.acts = [send(302, b"", Location="/elsewhere")]  # would become a GET
    with pytest.raises(ServerError, match=f"redirects to {server.url}/elsewhere"):
        vlm.answer(PICTURE, ["?"])

    server.requests.clear()
    server.acts = [send(308, b"", Location="/v2/chat"), echo]
    assert vlm.answer(PICTURE, ["?"])[0].text == "re: ?"
    [_, (path, headers, document)] = server.requests
    assert path == "/v2/chat"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert question(document) == "?"


def everything_said(error: BaseException | None) -> str:
    said = ""
    while error is not None:
        said += repr(error) + str(error)
        error = error.__cause__ or error.__context__
    return said


def test_the_key_is_never_shown(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSIGHT_API_KEY", f"{KEY}\n")
    vlm, _ = model(server, attempts=1)
    assert KEY not in repr(vlm) + repr(vlm.connection)
    for act in (send(401, f"wrong key {KEY}".encode()), send(500, KEY.encode()), hang_up):
        server.acts = [act]
        with pytest.raises(ServerError) as caught:
            vlm.answer(PICTURE, ["?"])
        assert server.requests[-1][1]["Authorization"] == f"Bearer {KEY}"
        assert KEY not in str(caught.value)
        assert KEY not in everything_said(caught.value.__cause__)

    vlm, _ = model(server, api_key="")  # no key, whatever the environment holds
    server.acts = [echo]
    vlm.answer(PICTURE, ["?"])
    assert "Authorization" not in server.requests[-1][1]

    for bad in ("two words", "line\r\nX-Injected: 1", "schlüssel"):
        with pytest.raises(InputError, match="API key holds a space") as wrong:
            model(server, api_key=bad)
        assert bad not in everything_said(wrong.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("file:///etc/passwd", "expected http or https"),
        ("localhost:8000", "expected http or https"),
        ("http://", "expected http or https"),
        ("http://[::1", "expected http or https"),
        ("http://host:port/v1", "expected http or https"),
        ("http://ho st/v1", "expected http or https"),
        ("http://user:word@host/v1", "holds a user name or password"),
    ],
)
def test_bad_addresses(url: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        ServerVLM(url, "toy", dialect="llava")
    assert "word@" not in str(caught.value)


def test_bad_arguments(server: ChatServer) -> None:
    for options in ({"parallel": 0}, {"max_pixels": 100}, {"attempts": 0}, {"timeout_s": 0.0}):
        with pytest.raises(ConfigError, match="at least"):
            model(server, **options)
    with pytest.raises(InputError, match="name is empty"):
        ServerVLM(server.url, " ", dialect="llava")
    vlm, _ = model(server)
    with pytest.raises(InputError, match="cannot be held to one"):
        vlm.answer(PICTURE, ["?"], grammar=CodecSpec("boxes"))
    with pytest.raises(InputError, match="prompt is empty"):
        vlm.answer(PICTURE, ["?", " "])
    assert server.requests == []


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://host:8000/", "http://host:8000/v1/chat/completions"),
        ("https://host/v1/", "https://host/v1/chat/completions"),
        ("https://host/api/openai", "https://host/api/openai/chat/completions"),
        ("https://host/v1/chat/completions", "https://host/v1/chat/completions"),
        ("https://host/v1?api-version=2", "https://host/v1/chat/completions?api-version=2"),
    ],
)
def test_addresses(url: str, wanted: str) -> None:
    assert chat_url(url) == wanted


@pytest.mark.parametrize(
    ("name", "dialect"),
    [
        ("Qwen/Qwen-VL-Chat", "qwen_vl"),
        ("Qwen/Qwen2-VL-2B-Instruct", "qwen2_vl"),
        ("qwen2.5vl:7b", "qwen2_5_vl"),
        ("/models/Qwen2.5-VL-72B-Instruct-AWQ", "qwen2_5_vl"),
        ("C:\\models\\qwen2_5_vl_7b", "qwen2_5_vl"),
        ("Qwen3-VL-8B-Instruct", "qwen3_vl"),
        ("OpenGVLab/InternVL3_5-8B", "internvl"),
        ("deepseek-ai/deepseek-vl2-tiny", "deepseek_vl2"),
        ("cogvlm-grounding-generalist", "cogvlm"),
        ("microsoft/kosmos-2-patch14-224", "kosmos2"),
        ("google/paligemma2-3b-mix-448", "paligemma"),
        ("google/paligemma-3b-mix-224", "paligemma"),
        ("google/gemma-3-27b-it", "gemini"),
        ("gemini-2.5-flash", "gemini"),
        ("microsoft/Florence-2-large", "florence2"),
        ("llava-hf/llava-v1.6-mistral-7b-hf", "llava"),
        ("llava-hf/llava-onevision-qwen2-7b-ov-hf", "llava"),
        ("zai-org/GLM-4.1V-9B-Thinking", "glm4v"),
        ("moonshotai/Kimi-VL-A3B-Instruct", "kimi_vl"),
        ("allenai/Molmo-7B-D-0924", "molmo"),
        ("allenai/Molmo2-8B", "molmo2"),
        ("openbmb/MiniCPM-V-2_6", "minicpm_v"),
        ("headsight-nano", "headsight"),
    ],
)
def test_names_say_the_dialect(name: str, dialect: str) -> None:
    assert dialect_for(name) == dialect
    assert ServerVLM("http://host", name).dialect == dialect


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o",
        "qwen-vl-max",  # the hosted one is no Qwen-VL
        "deepseek-ai/deepseek-vl-7b-chat",  # documents no format
        "THUDM/glm-4v-9b",  # another format than its successors
        "allenai/MolmoPoint-8B",  # points in tokens of its own
        "Qwen2.5-VL/checkpoint-100",
    ],
)
def test_names_that_say_nothing(name: str) -> None:
    with pytest.raises(InputError, match=r"says no answer format. Pass the format \(--dialect\)"):
        dialect_for(name)


def test_a_name_that_says_two_things() -> None:
    with pytest.raises(InputError, match="could be any of internvl, llava"):
        dialect_for("internvl-llava-mix")


@pytest.mark.parametrize(
    ("image_wh", "wanted"), [((640, 480), (644, 476)), ((368, 434), (364, 448))]
)
def test_sizes_known(image_wh: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert sent_wh(image_wh, multiple=28, max_pixels=1_003_520) == wanted


@settings(max_examples=50)
@given(
    width=st.integers(28, 4000), height=st.integers(28, 4000), most=st.integers(50_000, 3_000_000)
)
def test_sizes_are_those_of_the_processor(width: int, height: int, most: int) -> None:
    sent = sent_wh((width, height), multiple=28, max_pixels=most)

    def resized(image_wh: tuple[int, int]) -> tuple[int, int]:
        return smart_resize(*image_wh[::-1], factor=28, min_pixels=3136, max_pixels=most)[::-1]

    # the processor of the server keeps it, so answers are in pixels of what was sent
    assert resized(sent) == sent
    once = resized((width, height))
    if resized(once) == once:
        assert sent == once


@settings(max_examples=50)
@given(width=st.integers(1, 5000), height=st.integers(1, 5000), most=st.integers(3136, 2_000_000))
def test_sizes_elsewhere_only_shrink(width: int, height: int, most: int) -> None:
    sent = sent_wh((width, height), multiple=1, max_pixels=most)
    if width * height <= most:
        assert sent == (width, height)
    else:
        assert 1 <= sent[0] <= width
        assert 1 <= sent[1] <= height
        assert sent[0] * sent[1] <= most or min(sent) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["message", "content", "logprobs", "token", "logprob", "bytes"]), inner
        )
    ),
    max_leaves=8,
)


def test_any_json_is_a_reply_or_a_server_error(server: ChatServer) -> None:
    vlm, _ = model(server)

    @settings(max_examples=40)
    @given(choice=json_values, whole=st.booleans())
    def check(choice: Any, whole: bool) -> None:
        if whole:
            server.acts = [send(200, json.dumps({"choices": choice}).encode())]
        else:
            server.acts = [send(200, chat(choice, logprobs=choice))]
        try:
            [reply] = vlm.answer(PICTURE, ["?"])
        except ServerError:
            return
        assert isinstance(reply.text, str)
        assert len(reply.tokens) == len(reply.logprobs)

    check()
