"""Atomic writes and the journal, also under kills."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from headsight.files import Journal, write_atomic


def test_write_atomic(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.json"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(path.parent.iterdir()) == [path]


def test_processes_may_write_a_file_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a"
    program = (
        "import pathlib, sys; from headsight.files import write_shared\n"
        "for _ in range(100): write_shared(pathlib.Path(sys.argv[1]), sys.argv[2].encode())"
    )
    jobs = [subprocess.Popen([sys.executable, "-c", program, path, w]) for w in ("old", "new")]
    assert [job.wait() for job in jobs] == [0, 0]
    assert path.read_bytes() in (b"old", b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"old")
    with pytest.raises(TypeError):
        write_atomic(path, [b"not bytes"])  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(OSError, match="a"):
        write_atomic(tmp_path / "a", b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_journal_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "jobs" / "journal.jsonl"
    with Journal(path) as journal:
        assert journal.records == []
        journal.add({"item": "ä\u2028b"})
    with Journal(path) as journal:
        journal.add({"item": 2})
        assert journal.records == [{"item": "ä\u2028b"}, {"item": 2}]
    assert [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]] == journal.records


@pytest.mark.parametrize(
    "tail", [b'{"item": 2', b'{"item": 2}', b"[2]\n", b"\xff\xfe", b"\0\0\0\n"]
)
def test_torn_lines_are_dropped(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b'{"item": 1}\n' + tail)
    with Journal(path) as journal:
        assert journal.records == [{"item": 1}]
        journal.add({"item": 3})
    assert path.read_bytes() == b'{"item": 1}\n{"item": 3}\n'


COUNT_ON = """
import sys
from pathlib import Path
from headsight.files import Journal
journal = Journal(Path(sys.argv[1]))
for i in range(len(journal.records), 200):
    journal.add({"item": i, "filling": "x" * (i * 37 % 2000)})
    print(i, flush=True)
journal.close()
"""


def test_killed_and_resumed(tmp_path: Path) -> None:
    """However often it is killed, nothing is lost and nothing is done twice."""
    path, chance = tmp_path / "journal", random.Random(0)
    command = [sys.executable, "-c", COUNT_ON, str(path)]
    for _ in range(2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
            assert job.stdout is not None
            for _ in range(chance.randrange(1, 60)):
                job.stdout.readline()
            job.kill()
        with path.open("ab") as file:
            file.write(b'{"item": 9'[: chance.randrange(1, 10)])  # what a torn write leaves
    subprocess.run(command, check=True, capture_output=True)
    with Journal(path) as journal:
        assert [r["item"] for r in journal.records] == list(range(200))
