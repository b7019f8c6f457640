"""The shipped recipe: what it names can be made by the commands in its head, and tables stay clean."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import headsight
from headsight.errors import ConfigError
from headsight.train.recipe import read_recipe

NANO = Path(headsight.__file__).parent / "train" / "recipes" / "nano.yaml"
HELD_OUT = "scenes_heldout"
"""What the tables are measured on."""


def test_a_source_without_its_labels_is_told(tmp_path: Path) -> None:
    text = NANO.read_text("utf-8").replace("{labels: runs/scenes, share: 0.36,", "{share: 0.36,")
    (tmp_path / "spoilt.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"stage 3 source: .*'labels'"):
        read_recipe(tmp_path / "spoilt.yaml")


def commands() -> list[list[str]]:
    """Those in the head of the recipe, continued lines joined."""
    head = [line[1:] for line in NANO.read_text("utf-8").splitlines() if line.startswith("#")]
    joined = re.sub(r"\\\n", " ", "\n".join(head))
    words = [shlex.split(line) for line in joined.splitlines() if line.startswith("   ")]
    return [line for line in words if line]


def option(command: list[str], name: str) -> str:
    return command[command.index(name) + 1] if name in command else ""


def test_training_never_looks_at_what_the_tables_are_measured_on() -> None:
    recipe = read_recipe(NANO)
    looked_at = {recipe.validation, *(s.labels for stage in recipe.stages for s in stage.sources)}
    assert looked_at
    assert not [path for path in looked_at if HELD_OUT in path.parts]


def test_every_folder_is_made_by_a_command_of_its_own() -> None:
    recipe = read_recipe(NANO)
    made = [Path(option(command, "--out")) for command in commands() if "--out" in command]
    assert len(set(made)) == len(made)
    looked_at = {recipe.validation, *(s.labels for stage in recipe.stages for s in stage.sources)}
    for path in looked_at:
        assert {path, *path.parents} & {*made, *(folder.resolve() for folder in made)}, path
    scenes = [command for command in commands() if command[:2] == ["headsight", "scenes"]]
    assert len({option(command, "--seed") for command in scenes}) == len(scenes) == 3
    [held_out] = [c for c in scenes if option(c, "--out").endswith(HELD_OUT)]
    assert option(held_out, "--split") == "heldout"
    assert all("--split" not in command for command in scenes if command is not held_out)
