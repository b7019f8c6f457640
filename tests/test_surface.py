"""The public surface equals a checked-in list, so that no name comes or goes unnoticed.

After a wanted change, edit `tests/surface.txt` and tell users about it in CHANGELOG.md.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import headsight.attention
import headsight.merging
from headsight.cli.main import COMMANDS
from headsight.detections import Detections
from headsight.grounder import Grounder
from headsight.picture import Picture

PACKAGES = (headsight, headsight.attention, headsight.merging)
LIST = Path(__file__).with_name("surface.txt")
ASKING = ("heads", "pose", "ground", "doctor")
"""Commands whose options are listed too."""


def surface() -> list[str]:
    """Every public name, one a line."""
    lines = [f"{p.__name__}.{name}" for p in PACKAGES for name in p.__all__]
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


@pytest.mark.parametrize("package", PACKAGES, ids=lambda p: p.__name__)
def test_every_public_name_is_there(package: ModuleType) -> None:
    for name in package.__all__:
        assert getattr(package, name) is not None
        assert name in dir(package)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018


def test_names_of_the_attention_package_are_their_files_own() -> None:
    """Each is public there too, and none is written twice."""
    homes = vars(headsight.attention)["_HOMES"]
    assert list(homes) == headsight.attention.__all__
    for name, home in homes.items():
        module = import_module(f"headsight.attention.{home}")
        assert name in module.__all__
        assert getattr(headsight.attention, name) is getattr(module, name)


@pytest.mark.parametrize("package", ["headsight", "headsight.attention", "headsight.merging"])
def test_import_loads_nothing_heavy(package: str) -> None:
    code = (
        f"import sys, {package};"
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
