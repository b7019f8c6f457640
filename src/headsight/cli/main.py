"""`headsight`: the commands, each loaded when it is called."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

__all__ = ["COMMANDS", "main", "root_help"]

COMMANDS: dict[str, tuple[str, str]] = {
    "heads": ("headsight.cli.heads:heads", "Find every head: box, yaw, pitch and roll."),
    "pose": ("headsight.cli.pose:pose", "Tell the yaw, pitch and roll of the head in a box."),
    "ground": ("headsight.cli.ground:ground", "Find what the words name."),
    "doctor": ("headsight.cli.doctor:doctor", "Check what is installed and whether the model answers."),
    "eval heads": ("headsight.cli.eval:heads", "Measure boxes and poses on labelled pictures."),
    "scenes": ("headsight.cli.scenes:scenes", "Render labelled training pictures."),
    "train": ("headsight.cli.train:train", "Run a training recipe."),
}
"""Command words, home of the function, and one line of help."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code.

    0 done; 1 some items failed; 2 wrong usage; 3 input unusable; 130 interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("--help", "-h"):
        sys.stdout.write(root_help())
        raise SystemExit(0 if words else 2)
    if words[0] == "--version":
        from headsight import __version__

        sys.stdout.write(f"headsight {__version__}\n")
        raise SystemExit(0)
    name = next((n for n in (" ".join(words[:2]), words[0]) if n in COMMANDS), None)
    if name is None:
        raise SystemExit(_no_such(words))
    raise SystemExit(_call(name, words[len(name.split()) :]))


def root_help() -> str:
    """What `headsight --help` prints, made without importing anything heavy."""
    width = max(map(len, COMMANDS))
    lines = [
        "Headsight: a picture and words go in, typed places come out.",
        "",
        "Usage: headsight COMMAND [ARGUMENTS]",
        "",
        "Commands:",
        *(f"  {name:<{width}}  {line}" for name, (_, line) in COMMANDS.items()),
        "",
        "  --version  Print the version.   --help  Print this.",
        "",
        "Examples:",
        "  headsight heads photo.jpg --save drawn.png",
        '  headsight ground photo.jpg "the man in the red shirt"',
        "  headsight COMMAND --help",
        "",
    ]
    return "\n".join(lines)


def _call(name: str, words: list[str]) -> int:
    import typer

    from headsight.errors import HeadsightError

    home, _, function = COMMANDS[name][0].partition(":")
    command: Callable[..., Any] = getattr(import_module(home), function)
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command(name=name)(command)
    try:
        code = app(words, prog_name=f"headsight {name}", standalone_mode=False)
    except KeyboardInterrupt:
        sys.stderr.write("headsight: interrupted\n")
        return 130
    except HeadsightError as error:
        sys.stderr.write(f"headsight: {error}\n")
        return _exit_code(error)
    except typer.Exit as leave:
        return leave.exit_code
    except typer.Abort:
        return 130
    except Exception as error:
        if not hasattr(error, "exit_code") or not hasattr(error, "format_message"):
            raise
        sys.stderr.write(f"headsight: {error.format_message()}\nSee: headsight {name} --help\n")
        return 2
    return code if isinstance(code, int) else 0


def _exit_code(error: Exception) -> int:
    """2 where the call itself is wrong (words, boxes, model names, settings), 3 where a file is unusable."""
    from headsight.errors import ConfigError, InputError

    return 2 if isinstance(error, InputError | ConfigError) else 3


def _no_such(words: Sequence[str]) -> int:
    import difflib

    near = difflib.get_close_matches(words[0], COMMANDS, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else "See: headsight --help"
    sys.stderr.write(f"headsight: no command '{words[0]}'. {hint}\n")
    return 2
