"""Who may import whom, read from the source; and what `import headsight` costs."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import headsight

ROOT = Path(headsight.__file__).parent


def module_name(path: Path) -> str:
    parts = ("headsight", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


@cache
def imports_in(name: str, *, lazy: bool) -> tuple[str, ...]:
    """Every module imported in a file; with `lazy` also inside functions. Never for types alone."""
    path = MODULES[name]
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]

    def walk(node: ast.AST) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            if is_type_checking(child):
                continue
            if not lazy and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            if isinstance(child, ast.Import):
                yield from (alias.name for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                up = package.split(".")[: len(package.split(".")) + 1 - child.level]
                base = ".".join([*up, child.module or ""] if child.level else [child.module or ""])
                base = base.strip(".")
                for alias in child.names:
                    inner = f"{base}.{alias.name}"
                    yield inner if inner in MODULES else base
            yield from walk(child)

    return tuple(walk(ast.parse(path.read_text("utf-8"))))


def ours(name: str, *, lazy: bool) -> set[str]:
    return {i for i in imports_in(name, lazy=lazy) if i.partition(".")[0] == "headsight"}


def in_area(area: str) -> list[str]:
    prefix = f"headsight.{area}"
    return [name for name in MODULES if name == prefix or name.startswith(prefix + ".")]


def test_no_cycles() -> None:
    graph = {name: ours(name, lazy=False) - {name} for name in MODULES}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))
    assert set(MODULES) <= set(order)


def test_every_import_of_ours_exists() -> None:
    for name in MODULES:
        missing = ours(name, lazy=True) - set(MODULES)
        assert not missing, f"{name} imports {missing}"


MAY_IMPORT = {
    "geometry": ("geometry", "errors"),
    "language": ("language", "geometry", "errors"),
    "errors": (),
    "files": ("errors",),
    "picture": ("errors",),
    "detections": ("errors", "geometry", "picture", "draw", "export"),
    "export": ("errors", "geometry", "detections"),
    "draw": ("errors", "geometry", "draw_labels", "draw_masks"),
}


@pytest.mark.parametrize("area", MAY_IMPORT)
def test_pure_parts_stay_pure(area: str) -> None:
    for name in in_area(area):
        for other in ours(name, lazy=True):
            home = other.split(".")[1] if "." in other else other
            assert home in MAY_IMPORT[area], f"{name} imports {other}"


MAY_NOT_IMPORT = {
    "models": ("tasks", "train", "eval", "cli", "app", "grounder"),
    "tasks": ("train", "eval", "cli", "app", "grounder"),
    "eval": ("models", "tasks", "train", "cli", "app", "grounder"),
    "data": ("models", "tasks", "train", "cli", "app", "grounder"),
    "merging": ("models", "tasks", "train", "eval", "data", "cli", "app", "grounder"),
    "train": ("cli", "app"),
    "grounder": ("train", "eval", "cli", "app"),
}


@pytest.mark.parametrize("area", MAY_NOT_IMPORT)
def test_data_flows_one_way(area: str) -> None:
    for name in in_area(area):
        for other in ours(name, lazy=True):
            home = other.split(".")[1] if "." in other else other
            assert home not in MAY_NOT_IMPORT[area], f"{name} imports {other}"


HEAVY = ("torch", "transformers", "peft", "accelerate", "tokenizers", "safetensors")


NEEDS_TORCH = "headsight.language.logits"  # a transformers LogitsProcessor, imported when asked for


@pytest.mark.parametrize("area", ["geometry", "eval", "data", "language", "merging"])
def test_heavy_packages_are_imported_late(area: str) -> None:
    for name in in_area(area):
        assert NEEDS_TORCH not in ours(name, lazy=False)
        if name == NEEDS_TORCH:
            continue
        heads = {i.partition(".")[0] for i in imports_in(name, lazy=False)}
        assert not heads & set(HEAVY), f"{name} imports {heads & set(HEAVY)} at its top"


@pytest.mark.parametrize("name", ["torchvision", "timm"])
def test_never_imported(name: str) -> None:
    for module in MODULES.keys() - {"headsight.doctor"}:  # which looks whether it is broken
        assert name not in {i.partition(".")[0] for i in imports_in(module, lazy=True)}


def loaded_by(code: str) -> set[str]:
    """Top-level packages in memory after `code` ran in a fresh interpreter."""
    script = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(ran.stdout.splitlines()[-1])}


def test_import_headsight_is_light() -> None:
    assert not loaded_by("import headsight") & {*HEAVY, "PIL", "numpy", "scipy", "rich", "typer"}


def test_pictures_and_results_need_no_torch() -> None:
    code = "import headsight as h; h.open_picture, h.Detections, h.Picture, h.load, h.__version__"
    loaded = loaded_by(code)
    assert {"PIL", "numpy"} <= loaded
    assert not loaded & set(HEAVY)


def test_public_names() -> None:
    for name in headsight.__all__:
        assert getattr(headsight, name) is not None
    assert set(headsight.__all__) <= set(dir(headsight))
    assert headsight.__version__ == "0.1.0"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        headsight.nothing  # noqa: B018
