"""Who may import whom, read from the source: data flows one way, and there are no cycles."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import headsight

ROOT = Path(headsight.__file__).parent
FORBIDDEN = {
    "geometry": {"language", "models", "tasks", "train", "data", "eval", "cli", "picture"},
    "language": {"models", "tasks", "train", "data", "eval", "cli", "picture", "detections"},
    "models": {"tasks", "train", "data", "eval", "cli", "grounder"},
    "tasks": {"train", "data", "eval", "cli", "grounder"},
    "eval": {"models", "tasks", "train", "cli", "grounder"},
    "data": {"models", "tasks", "train", "eval", "cli", "grounder"},
    "train": {"tasks", "cli", "grounder"},
}
"""Area: what none of its files may import, not even inside a function."""
HEAVY = {"torch", "transformers", "peft", "accelerate", "safetensors", "tokenizers"}
LIGHT_AREAS = ("cli", "tasks", "geometry", "language", "eval")
"""Importing these never imports torch ..."""
HEAVY_MODULES = {"headsight.language.logits"}
"""... but for what is only imported inside the functions that need it."""
FILES = sorted(p for p in ROOT.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = ("headsight", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(body: list[ast.stmt], *, deep: bool) -> Iterator[str]:
    """Modules that are imported, without those for type checkers; `deep` enters functions too."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.unparse(node.test):
                yield from imports(node.body, deep=deep)
            yield from imports(node.orelse, deep=deep)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not deep:
            continue
        else:
            for part in ("body", "orelse", "finalbody", "handlers"):
                yield from imports(getattr(node, part, []), deep=deep)


def imports_of(path: Path, *, deep: bool) -> set[str]:
    return set(imports(ast.parse(path.read_text("utf-8")).body, deep=deep))


@pytest.mark.parametrize("area", FORBIDDEN)
def test_data_flows_one_way(area: str) -> None:
    wrong = [
        f"{module_name(path)} imports {name}"
        for path in FILES
        if path.relative_to(ROOT).parts[0] == area
        for name in imports_of(path, deep=True)
        if name.startswith("headsight.") and name.split(".")[1] in FORBIDDEN[area]
    ]
    assert wrong == []


def test_light_areas_import_nothing_heavy_at_the_top() -> None:
    wrong = [
        f"{module_name(path)} imports {name}"
        for path in FILES
        if path.relative_to(ROOT).parts[0] in LIGHT_AREAS and module_name(path) not in HEAVY_MODULES
        for name in imports_of(path, deep=False)
        if name.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_no_cycles() -> None:
    names = {module_name(path): path for path in FILES}
    graph = {name: closest(imports_of(path, deep=False), names) for name, path in names.items()}
    done: set[str] = set()

    def walk(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail, name))
        if name not in done:
            for other in graph[name]:
                walk(other, (*trail, name))
            done.add(name)

    for name in graph:
        walk(name, ())


def closest(wanted: set[str], names: dict[str, Path]) -> set[str]:
    """The modules of ours behind `package.module.name`."""
    found = (name if name in names else name.rpartition(".")[0] for name in wanted)
    return {name for name in found if name in names}


def test_torchvision_and_timm_are_never_imported_to_be_used() -> None:
    allowed = {"headsight.doctor"}  # looks whether torchvision is broken
    wrong = [
        module_name(path)
        for path in FILES
        for name in imports_of(path, deep=True)
        if name.split(".")[0] in {"torchvision", "timm"} and module_name(path) not in allowed
    ]
    assert wrong == []
