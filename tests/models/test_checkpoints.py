"""Hub ids without a network: no waiting, and a message that says what is wrong."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from huggingface_hub import constants

from headsight.errors import CheckpointError
from headsight.models.checkpoints import PATIENCE, hub_answers, local_checkpoint
from headsight.models.transformers_vlm import load_transformers

PROXIES = ("https_proxy", "http_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a machine with a network, no proxy and an empty cache."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], None]], list[Any]]:
    """Replaces every connection by what a function does; gives the addresses that were tried."""

    def replace(connect: Callable[[], None]) -> list[Any]:
        tried: list[Any] = []

        def create_connection(address: Any, timeout: float | None = None, **rest: Any) -> Any:
            tried.append(address)
            connect()
            return socket.socket()

        monkeypatch.setattr(socket, "create_connection", create_connection)
        return tried

    return replace


def unknown() -> None:
    raise socket.gaierror(-2, "Name or service not known")


@pytest.mark.parametrize("load", [load_transformers, local_checkpoint])
def test_without_a_network_it_fails_at_once(load: Callable[[str], Any], doors: Any) -> None:
    tried = doors(unknown)
    began = time.monotonic()
    with pytest.raises(CheckpointError) as failure:
        load("org/name")
    assert time.monotonic() - began < PATIENCE
    assert tried == [("huggingface.co", 443)]  # and nothing after it
    assert str(failure.value) == (
        "org/name cannot be loaded: the hub https://huggingface.co does not answer, and the cache"
        " has no such model. Check the id and the network, or download the checkpoint elsewhere"
        " and pass its folder."
    )


def test_what_the_cache_holds_needs_no_network(doors: Any, tmp_path: Path) -> None:
    commit = "0" * 40
    model = tmp_path / "cache" / "models--org--name"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text(commit)
    held = model / "snapshots" / commit
    held.mkdir(parents=True)
    (held / "config.json").write_text("{}")
    doors(unknown)
    assert local_checkpoint("org/name") == held


def test_a_network_that_hangs_is_not_waited_for(doors: Any) -> None:
    late = Event()
    doors(lambda: late.wait(60))
    began = time.monotonic()
    assert not hub_answers(patience=0.05)
    assert time.monotonic() - began < 5
    late.set()


def test_a_hub_that_answers(doors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = doors(lambda: None)
    assert hub_answers()
    monkeypatch.setattr(constants, "ENDPOINT", "http://mirror.example:8080/hub")
    assert hub_answers()
    assert tried == [("huggingface.co", 443), ("mirror.example", 8080)]


def test_a_proxy_is_the_door(doors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = doors(lambda: None)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    assert hub_answers()
    monkeypatch.setenv("no_proxy", "huggingface.co")
    assert hub_answers()
    assert tried == [("proxy.example", 3128), ("huggingface.co", 443)]


def test_switched_off(doors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = doors(lambda: None)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="is switched off"):
        load_transformers("org/name")
    assert tried == []
