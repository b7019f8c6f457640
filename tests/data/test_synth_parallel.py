"""Worker processes: the same results in the same order; they end with the process they work for."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from headsight.data.synth.parallel import render_numbered
from headsight.errors import ConfigError

PROGRAM = """
from headsight.data.synth.parallel import render_numbered

if __name__ == "__main__":
    numbers = render_numbered(abs, 100, workers=2)
    print(next(numbers), flush=True)
    input()
"""


def test_order_is_that_of_the_numbers() -> None:
    alone = list(render_numbered(abs, 12, skip=[3]))
    assert alone == [(i, i) for i in range(12) if i != 3]
    assert list(render_numbered(abs, 12, workers=2, skip=[3])) == alone


def test_negative_counts_are_refused() -> None:
    with pytest.raises(ConfigError, match="n is -1 and workers is 0"):
        next(render_numbered(abs, -1))


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM, "utf-8")
    parent = subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"(0, 0)\n"
    parent.kill()
    # workers inherit the pipe, which ends only when the last of them does
    parent.communicate(timeout=30)
