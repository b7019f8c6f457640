"""The public surface equals a checked-in list, so that no name comes or goes unnoticed.

After a wanted change, edit `tests/surface.txt` and tell users about it in CHANGELOG.md.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import headsight
from headsight.cli.main import COMMANDS
from headsight.detections import Detections
from headsight.grounder import Grounder
from headsight.picture import Picture

LIST = Path(__file__).with_name("surface.txt")
ASKING = ("heads", "pose", "ground", "doctor")
"""Commands whose options are listed too."""


def surface() -> list[str]:
    """Every public name, one a line."""
    lines = [f"headsight.{name}" for name in headsight.__all__]
    for holder in (Detections, Grounder, Picture):
        names = {*vars(holder), *getattr(holder, "__dataclass_fields__", ())}
        lines += [f"{holder.__name__}.{name}" for name in names if not name.startswith("_")]
    for name, (home, _) in COMMANDS.items():
        lines.append(f"$ headsight {name}")
        module, _, function = home.partition(":")
        if name in ASKING:
            options = inspect.signature(getattr(import_module(module), function)).parameters
            lines += [f"$ headsight {name} {option}" for option in options]
    return sorted(lines)


def test_the_surface_is_the_checked_in_list() -> None:
    assert surface() == LIST.read_text("utf-8").splitlines()


def test_every_public_name_is_there() -> None:
    for name in headsight.__all__:
        assert getattr(headsight, name) is not None
        assert name in dir(headsight)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        headsight.nothing  # noqa: B018


def test_import_loads_nothing_heavy() -> None:
    code = (
        "import sys, headsight;"
        "print({'torch', 'transformers', 'peft', 'numpy', 'scipy', 'PIL'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_the_version_is_written_once_and_the_same() -> None:
    import tomllib

    project = Path(headsight.__file__).parents[2] / "pyproject.toml"
    if not project.exists():
        pytest.skip("no pyproject.toml beside an installed package")
    dynamic = tomllib.loads(project.read_text("utf-8"))
    assert "version" in dynamic["project"]["dynamic"]
    assert dynamic["tool"]["hatch"]["version"]["path"] == "src/headsight/__init__.py"
