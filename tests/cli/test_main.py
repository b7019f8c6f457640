"""The entry point: help at once, exit codes, wrong usage, interruptions."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from headsight import __version__
from headsight.cli.main import COMMANDS, root_help

HEAVY = ("torch", "transformers", "peft", "scipy", "numpy", "PIL", "typer", "rich", "jaxtyping")


def test_root_help_names_every_command(run: Callable) -> None:
    ran = run("--help")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == root_help()
    for name, (_, line) in COMMANDS.items():
        assert f"  {name} " in ran.out
        assert line in ran.out
    assert max(map(len, ran.out.splitlines())) <= 100


def test_nothing_asked_is_wrong_usage(run: Callable) -> None:
    ran = run()
    assert (ran.code, ran.out) == (2, "")
    assert "Usage: headsight COMMAND" in ran.err


def test_version(run: Callable) -> None:
    assert run("--version").out == f"headsight {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(run: Callable, name: str) -> None:
    ran = run(*name.split(), "--help")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0].startswith(f"Usage: headsight {name} ")
    examples = lines.index("  Examples:")
    assert lines[examples + 1].startswith(f"    headsight {name}")  # not wrapped into one line


def test_a_group_lists_its_commands(run: Callable) -> None:
    ran = run("eval", "--help")
    assert ran.code == 0
    assert "eval heads" in ran.out
    assert "Find every head" not in ran.out
    assert run("eval").code == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["hads"], "no command 'hads'. Did you mean 'heads'?"),
        (["eval", "haeds"], "no command 'eval haeds'. Did you mean 'eval heads'?"),
        (["qqqqq"], "no command 'qqqqq'. See: headsight --help"),
        (["heads"], "Missing argument 'PICTURE'.\nSee: headsight heads --help"),
        (["heads", "a.png", "--nope"], "No such option: --nope"),
        (["pose", "a.png"], "Missing option '--box'"),
        (["pose", "a.png", "--box", "1,2,3"], "The box '1,2,3' is not four numbers"),
        (["pose", "a.png", "--box", "9,9,3,3"], "has no area"),
        (["ground", "a.png"], "PICTURE and WORDS are needed, in this order"),
        (["ground", "a.png", " "], "has no words"),
        (["ground", "a.png", "x\x07y"], "control character U+0007"),
        (["heads", "a.png", "--tiles", "0"], "tiles is 0"),
        (["heads", "a.png", "--tiles", "x"], "tiles is 'x'"),
    ],
)
def test_wrong_usage_is_2_and_one_clear_message(
    run: Callable, words: list[str], message: str
) -> None:
    ran = run(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("headsight: ")
    assert message in ran.err
    assert "Traceback" not in ran.err


def test_unknown_models_and_devices(run: Callable, photo: Path, tmp_path: Path) -> None:
    ran = run("heads", photo, "--model", "nanno")
    assert (ran.code, ran.out) == (2, "")
    assert "Did you mean 'nano'?" in ran.err
    empty = tmp_path / "empty"
    empty.mkdir()
    ran = run("heads", photo, "--model", empty)
    assert (ran.code, ran.out) == (3, "")
    assert "no config.json" in ran.err


def test_a_pickle_is_refused(run: Callable, photo: Path, tmp_path: Path) -> None:
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"\x80\x04.")
    ran = run("heads", photo, "--model", weights)
    assert ran.code == 3
    assert "Only safetensors are read" in ran.err


def test_interrupted(run: Callable, vlm, photo: Path) -> None:
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    vlm.script = interrupt
    ran = run("heads", photo)
    assert ran.code == 130
    assert ran.out == ""
    assert ran.err.strip().endswith("headsight: interrupted")
    assert "Traceback" not in ran.err


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from headsight.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        f"sys.exit(repr(sorted(set({HEAVY}) & set(sys.modules))) if set({HEAVY}) & set(sys.modules)"
        " else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == root_help()


def test_the_module_runs_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headsight", "--version"], check=True, capture_output=True, text=True
    )
    assert done.stdout == f"headsight {__version__}\n"
