"""`headsight reproduce`: lists what there is, passes options on, and says where it must be run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


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
