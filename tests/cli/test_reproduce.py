"""`headsight reproduce`: lists what there is, passes options on, and says where it must be run."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from headsight.cli.reproduce import at_once, in_processes


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    one = tmp_path / "reproductions" / "one"
    one.mkdir(parents=True)
    (one / "reproduce.py").write_text(
        "import pathlib, sys\npathlib.Path('said.txt').write_text(' '.join(sys.argv[1:]))\n"
        "sys.exit(7 if '--fail' in sys.argv else 0)\n"
    )
    (tmp_path / "reproductions" / "notes").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_lists_and_runs(run: Any, folder: Path) -> None:
    assert run("reproduce").out == "one\n"
    assert run("reproduce", "one", "--quick", "--out", "x").code == 0
    assert (folder / "said.txt").read_text() == "--quick --out x"
    assert run("reproduce", "one", "--fail").code == 7


def test_an_unknown_name_is_told(run: Any, folder: Path) -> None:
    ran = run("reproduce", "two")
    assert ran.code == 2
    assert "Known: one" in ran.err


def test_a_task_that_fails_does_not_stop_the_others() -> None:
    done: list[int] = []

    def fail() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        at_once([fail, *(partial(done.append, n) for n in range(4))], 1)
    assert done == [0, 1, 2, 3]
    assert at_once([lambda: 1, lambda: 2], 2) == [1, 2]


def test_a_command_that_fails_is_told() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        in_processes([["no-such-command"]], 1)
