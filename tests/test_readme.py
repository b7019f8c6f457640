"""What the README shows works as it stands there: its Python, its commands, its links, its tables."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from headsight.cli.main import COMMANDS
from headsight.models.base import MODELS

ROOT = Path(__file__).parents[1]
TEXTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", *sorted(map(str, ROOT.glob("docs/*.md")))]
README = (ROOT / "README.md").read_text("utf-8")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def blocks(language: str) -> list[str]:
    return [body for kind, body in BLOCK.findall(README) if kind == language]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vlm) -> Path:
    """A place with the picture the README talks about; the scripted model stands for nano."""
    Image.new("RGB", (640, 480), "gray").save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(MODELS, "nano", lambda device: vlm)
    return tmp_path


def test_the_python_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert blocks("python")
    for body in blocks("python"):
        exec(compile(body, "README.md", "exec"), {})
    assert (folder / "drawn.png").exists()
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.stem)
def test_the_python_of_the_pages_runs(folder: Path, page: Path) -> None:
    for kind, body in BLOCK.findall(page.read_text("utf-8")):
        if kind == "python" and body.startswith("import headsight"):  # others are fragments
            exec(compile(body, page.name, "exec"), {})


def commands() -> list[list[str]]:
    lines = (line for kind, body in BLOCK.findall(README) if not kind for line in body.splitlines())
    shown = [shlex.split(line, comments=True) for line in lines]
    return [words[1:] for words in shown if words[:1] == ["headsight"]]


def test_the_asking_commands_run(folder: Path, run: Callable) -> None:
    asked = [words for words in commands() if words[0] in ("heads", "pose", "ground")]
    assert len(asked) >= 3
    for words in asked:
        ran = run(*words)
        assert ran.code == 0, (words, ran.err)
        assert ran.out


def test_every_named_command_exists() -> None:
    for name in re.findall(r"`headsight ((?:eval|data|schema) [a-z-]+|[a-z-]+)\b", README):
        assert name in COMMANDS or name.split()[0] in COMMANDS, name


def test_the_two_commands_are_targets_of_the_makefile() -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    named = re.findall(r"^make (\w+)", README, re.M)
    assert named
    assert set(named) <= set(targets)


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name: str) -> None:
    path = ROOT / name
    links = [link for link in LINK.findall(path.read_text("utf-8")) if "://" not in link]
    missing = [link for link in links if not (path.parent / link).exists()]
    assert missing == []


def test_marked_tables_are_closed_and_not_nested() -> None:
    marks = re.findall(r"<!-- (/?)headsight:table ?([\w-]*) ?-->", README)
    assert marks
    for (opens, name), (closes, _) in zip(marks[::2], marks[1::2], strict=True):
        assert (opens, closes) == ("", "/")
        assert name


def test_the_tables_are_those_of_the_result_files() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "tables.py"), "--check"]
    done = subprocess.run(command, check=False)
    assert done.returncode == 0, "stale tables: run python benchmarks/tables.py"
