"""`headsight`: the commands, each loaded when it is called."""

from __future__ import annotations

__all__ = ["COMMANDS", "main", "root_help"]

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

COMMANDS: dict[str, tuple[str, str]] = {
    "heads": ("headsight.cli.heads:heads", "Find every head: box, yaw, pitch and roll."),
    "pose": ("headsight.cli.pose:pose", "Tell the yaw, pitch and roll of the head in a box."),
    "ground": ("headsight.cli.ground:ground", "Find what the words name."),
    "keypoints": ("headsight.cli.keypoints:keypoints", "Find the named points of an object."),
    "doctor": ("headsight.cli.doctor:doctor", "Check packages, device and model."),
    "find-heads": ("headsight.cli.find_heads:find_heads", "Find a model's localization heads."),
    "eval heads": ("headsight.cli.eval:heads", "Measure boxes and poses on labelled pictures."),
    "eval keypoints": (
        "headsight.cli.eval_keypoints:keypoints",
        "Measure keypoints: PCK, NME, AUC, OKS and AP.",
    ),
    "eval pose": ("headsight.cli.eval_pose:pose", "Measure head poses and bad answers by kind."),
    "eval forget": (
        "headsight.cli.eval_forget:forget",
        "Compare skills before and after teaching.",
    ),
    "eval refer": ("headsight.cli.eval_refer:refer", "Measure boxes of referring expressions."),
    "eval segment": (
        "headsight.cli.eval_refer:segment",
        "Measure masks of referring expressions.",
    ),
    "data check": ("headsight.cli.data:check", "Tell what is wrong with a data set of heads."),
    "data build": ("headsight.cli.data:build", "Build AGORA-HPE or CMU-HPE from the raw set."),
    "data convert": ("headsight.cli.data:convert", "Write a data set as training labels."),
    "data weak-labels": (
        "headsight.cli.data_weak:weak_labels",
        "Label poses with a teacher.",
    ),
    "schema new": ("headsight.cli.schema:new", "Write a keypoint schema to fill in."),
    "schema check": ("headsight.cli.schema:check", "Tell what is wrong with keypoint schemas."),
    "schema show": ("headsight.cli.schema:show", "List the keypoint schemas, or show one."),
    "scenes": ("headsight.cli.scenes:scenes", "Render labelled training pictures."),
    "train": ("headsight.cli.train:train", "Run a training recipe."),
    "merge": ("headsight.cli.merge:merge", "Merge checkpoints without training."),
    "fold": ("headsight.cli.merge:fold", "Put a LoRA adapter into its model's weights."),
    "diff": ("headsight.cli.diff:diff", "Tell how two checkpoints differ."),
    "reproduce": ("headsight.cli.reproduce:reproduce", "Run a paper's reproduction."),
}
"""Command words, home of the function, and one line of help."""

_HELP = ("--help", "-h")
_PASSES_ON = {"reproduce": {"ignore_unknown_options": True}}
"""Commands that hand options of others on, and how typer is told."""
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave with its exit code.

    0 done; 1 some items failed; 2 wrong usage; 3 input unusable; 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):  # a name that cannot be printed must not end the run
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _run(words)
    except KeyboardInterrupt:
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        sys.stderr.write("headsight: interrupted\n")
    raise SystemExit(code)


def root_help(group: str = "") -> str:
    """What `headsight --help` prints, made without importing anything heavy.

    With a `group`, only the commands whose first word it is.
    """
    shown = {n: line for n, (_, line) in COMMANDS.items() if not group or n.split()[0] == group}
    width = max(map(len, shown))
    lines = [
        "Headsight: a picture and words go in, typed places come out.",
        "",
        "Usage: headsight COMMAND [ARGUMENTS]",
        "",
        "Commands:",
        *(f"  {name:<{width}}  {line}" for name, line in shown.items()),
        "",
        "  headsight COMMAND --help tells the options of a command; --version the version.",
        "",
        "Examples:",
        "  headsight heads photo.jpg --save drawn.png",
        "  headsight pose photo.jpg --box 159,23,297,179",
        '  headsight ground photo.jpg "the woman looking at the camera"',
        "",
        "Exit codes: 0 done, 1 some items failed, 2 wrong usage, 3 input unusable, 130 interrupted",
        "",
    ]
    return "\n".join(lines)


def _run(words: list[str]) -> int:
    if not words or words[0] in _HELP:
        (sys.stdout if words else sys.stderr).write(root_help())
        return 0 if words else 2
    if words[0] == "--version":
        from headsight import __version__

        sys.stdout.write(f"headsight {__version__}\n")
        return 0
    name = next((n for n in (" ".join(words[:2]), words[0]) if n in COMMANDS), None)
    if name is not None:
        return _call(name, words[len(name.split()) :])
    if any(n.split()[0] == words[0] for n in COMMANDS) and words[1:2] in (
        [],
        *([h] for h in _HELP),
    ):
        is_asked = len(words) > 1
        (sys.stdout if is_asked else sys.stderr).write(root_help(words[0]))
        return 0 if is_asked else 2
    return _no_such(words)


def _call(name: str, words: list[str]) -> int:
    import typer

    from headsight.errors import HeadsightError

    home, _, function = COMMANDS[name][0].partition(":")
    command: Callable[..., Any] = getattr(import_module(home), function)
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    settings = _PASSES_ON.get(name)
    app.command(name=name, help=_help_text(command), context_settings=settings)(command)
    try:
        code = app(words, prog_name=f"headsight {name}", standalone_mode=False)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except typer.Exit as leave:
        return leave.exit_code
    except HeadsightError as error:
        sys.stderr.write(f"headsight: {error}\n")
        return _exit_code(error)
    except Exception as error:
        if not hasattr(error, "format_message"):  # anything but wrong usage, as typer tells it
            raise
        message = _all_needed(error) or error.format_message()
        sys.stderr.write(f"headsight: {message}\nSee: headsight {name} --help\n")
        return 2
    return code if isinstance(code, int) else 0


def _all_needed(error: Exception) -> str | None:
    """What to say where one of several arguments is missing: which one, the parser cannot know."""
    parameter = getattr(error, "param", None)
    if getattr(parameter, "param_type_name", "") != "argument":
        return None
    known = getattr(getattr(getattr(error, "ctx", None), "command", None), "params", ())
    names = [p.metavar for p in known if p.param_type_name == "argument"]
    if len(names) < 2 or not type(error).__name__.startswith("Missing"):
        return None
    return f"{' and '.join(names)} are needed, in this order, and one is missing."


def _help_text(command: Callable[..., Any]) -> str:
    """The docstring, its examples one a line: the backspace keeps typer from wrapping them."""
    import inspect

    text, mark, examples = (inspect.getdoc(command) or "").partition("Examples:\n")
    lines = [line for line in examples.splitlines() if line.strip()]
    return text + "\n".join(["\b\n" + mark.strip(), *lines] if mark else [])


def _exit_code(error: Exception) -> int:
    """2 where the call is wrong (words, boxes, model names, settings), 3 where a file is."""
    from headsight.errors import ConfigError, InputError

    return 2 if isinstance(error, InputError | ConfigError) else 3


def _no_such(words: Sequence[str]) -> int:
    import difflib

    asked = " ".join(words[:2]) if any(n.startswith(f"{words[0]} ") for n in COMMANDS) else words[0]
    near = difflib.get_close_matches(asked, COMMANDS, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else "See: headsight --help"
    sys.stderr.write(f"headsight: no command '{asked}'. {hint}\n")
    return 2
