"""`headsight find-heads` on nano: what it writes, and going on after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import headsight
from headsight.attention.head_set import HeadSet
from headsight.cli.main import main
from headsight.models.base import VLM, load_vlm

SAMPLE = Path(headsight.__file__).parent / "samples" / "astronaut.jpg"
WORDS = ("the woman", "the face", "the largest head", "the person", "the leftmost head")


@pytest.fixture(scope="module")
def nano() -> VLM:
    return load_vlm()


@pytest.fixture
def find(
    nano: VLM, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs the command in this process; the model is loaded once."""
    from headsight.models.base import MODELS

    monkeypatch.setitem(MODELS, "nano", lambda device: nano)

    def call(*words: object, quiet: bool = True) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["find-heads", *["--quiet"] * quiet, *map(str, words)])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return call


def refs(folder: Path, number: int, *, gone: tuple[int, ...] = ()) -> Path:
    record = {"image": str(SAMPLE), "bbox": [160, 24, 297, 179], "height": 512, "width": 512}
    rows = [record | {"id": n, "sent": f"{WORDS[n % 5]} {n}"} for n in range(number)]
    broken = folder / "broken.png"
    broken.write_text("<html>")
    for n in gone:
        rows[n]["image"] = str(broken)
    path = folder / "refs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_what_is_written(find: Callable, tmp_path: Path) -> None:
    out = tmp_path / "heads.json"
    data = refs(tmp_path, 8, gone=(3,))
    words = ("--data", data, "--n", 7, "--trials", 2, "--seed", 4, "--k", 2, "--tau", 0.1)
    code, told, error = find(*words, "--out", out, "--skip-layers", 1, "--kernel", 5)
    assert code == 1  # one picture cannot be opened
    assert "headsight: 3: " in error
    found = HeadSet.load(out)
    assert f"{found.n} expressions in each of 2 draws" in told
    assert "+-" in told
    assert len(found.heads) == 2
    assert (found.seeds, found.kernel, found.sigma, found.rule.tau) == ((4, 5), 5, 1.0, 0.1)
    assert found.rule.skip_layers == 1
    assert (found.view_kind, found.model_id, found.query) == ("regions", "nano", "answer")
    assert found.data.startswith("refs.jsonl ")
    assert {"headsight", "torch", "transformers"} == found.versions.keys()
    for row in found.table:
        assert row.frequency_std is not None
        assert row.mean_iou is not None
        assert row.layer >= 1
    # 240 x 180 px a cell: picture, two heads, fused; six rows
    for name, size in (("heads-maps.png", (4 * 248 + 8, 30 + 6 * 214)), ("heads.png", (1000, 420))):
        with Image.open(tmp_path / name) as image:
            assert image.size == size
    assert not (tmp_path / "heads.json.state").exists()
    assert "Choose another --out" in find(*words, "--out", out)[2]


@pytest.mark.parametrize("name", ["heads.png", "heads-maps.png"])
def test_pictures_that_are_there_stay(find: Callable, tmp_path: Path, name: str) -> None:
    """They may be anybody's; those of an unfinished search are its own."""
    (tmp_path / name).write_bytes(b"mine")
    words = ("--data", refs(tmp_path, 2), "--out", tmp_path / "heads.json")
    code, _, error = find(*words)
    assert code == 2
    assert f"{name} exists. Choose another --out, or give --overwrite" in error
    assert (tmp_path / name).read_bytes() == b"mine"
    (tmp_path / "heads.json.state").write_text("torn")
    assert "cannot be read" in find(*words)[2]  # so far it came


def test_heads_are_no_picture(find: Callable, tmp_path: Path) -> None:
    code, _, error = find("--data", refs(tmp_path, 2), "--out", tmp_path / "heads.png")
    assert (code, (tmp_path / "heads.png").exists()) == (2, False)
    assert "Give a name that ends in .json" in error


def test_frequencies_that_tell_nothing_are_told(find: Callable, tmp_path: Path) -> None:
    """Of nano's last layer at most 8 heads qualify, and 10 are taken unless told otherwise."""
    words = ("--data", refs(tmp_path, 3), "--tau", 0.1, "--skip-layers", 3)
    told = find(*words, "--out", tmp_path / "a.json")[1]
    assert "heads that qualify are taken every time" in told
    _, told, error = find(*words, "--taken", 1, "--out", tmp_path / "b.json", quiet=False)
    assert "taken every time" not in told
    names = ("b.json", "b.png", "b-maps.png")
    assert error == "".join(f"written: {tmp_path / name}\n" for name in names)


def test_the_data_is_told_by_its_hash(find: Callable, tmp_path: Path) -> None:
    out = tmp_path / "heads.json"
    seen = []
    for number in (3, 4, 4):
        words = ("--data", refs(tmp_path, number), "--n", 9, "--out", out, "--overwrite")
        assert find(*words)[0] == 0
        seen.append(out.read_bytes())
    assert seen[1] == seen[2]
    assert json.loads(seen[0])["data"] != json.loads(seen[1])["data"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--preset", "odd"), "expected one of paper, robust"),
        (("--criteria", "odd"), "--criteria is 'odd'; expected one of both, sum, entropy"),
        (("--weighting", "odd"), "expected one of area, mass"),
        (("--sum-filter", "odd"), "--sum-filter is 'odd'; expected one of mean, per_sample"),
        (("--query", "odd"), "expected one of last_text, last_prompt, mean_text, answer"),
        (("--views", "odd"), "expected one of global, merged"),
        (("--choice", "odd"), "expected one of fixed, greedy"),
        (("--tau", "7"), "tau is 7.0"),
        (("--kernel", "4"), "an odd number of cells"),
        (("--prompt", "odd"), "must hold {words}"),
        (("--trials", "2"), "all draws would be the same"),
        (("--kernel", "0"), "an odd number of cells"),
        (("--sigma", "nan"), "a finite sigma"),
        (("--n", "0"), "greater than or equal to 1"),
        (("--trials", "0"), "greater than or equal to 1"),
    ],
)
def test_wrong_usage(find: Callable, tmp_path: Path, words: Any, message: str) -> None:
    code, told, error = find("--data", refs(tmp_path, 2), "--out", tmp_path / "h.json", *words)
    assert (code, told) == (2, "")
    assert message in error
    assert not (tmp_path / "h.json").exists()


def test_a_killed_run_goes_on_where_it_stopped(
    find: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed as soon as something is saved; what is saved is not looked at again."""
    from headsight.tasks import finding

    number = 16
    data = refs(tmp_path, number)
    unbroken, killed = tmp_path / "a" / "heads.json", tmp_path / "b" / "heads.json"
    words = ["--data", str(data), "--n", str(number - 1), "--trials", "2", "--tau", "0.1"]
    code = (
        "import headsight.cli.head_search as search, headsight.cli.main as cli;"
        f"search.SAVE_SECONDS = 0.0; cli.main({['find-heads', *words, '--out', str(killed)]!r})"
    )
    command = [sys.executable, "-c", code]
    threads = str(torch.get_num_threads())  # sums differ in the last digits with another number
    environment = os.environ | {
        "PYTHONPATH": str(Path(headsight.__file__).parents[1]),
        "OMP_NUM_THREADS": threads,
    }
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    state = killed.with_name("heads.json.state")
    try:
        while not state.exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not killed.exists()
    done = json.loads(state.read_text())["done"]
    assert 0 < done < number - 1

    draws = finding.draw_samples(number, number - 1, trials=2)
    total = len({int(index) for draw in draws for index in draw})
    looked = []
    look = finding.look
    monkeypatch.setattr(finding, "look", lambda *a, **k: looked.append(a[2]) or look(*a, **k))
    assert find(*words, "--out", killed)[0] == 0
    assert len(looked) == total - done
    assert find(*words, "--out", unbroken)[0] == 0
    assert len(looked) == 2 * total - done
    assert killed.read_bytes() == unbroken.read_bytes()
    for name in ("heads.png", "heads-maps.png"):
        assert killed.with_name(name).read_bytes() == unbroken.with_name(name).read_bytes()
    assert not state.exists()

    state.write_text(json.dumps({"settings": {}}))
    code, _, error = find(*words, "--out", killed, "--overwrite")
    assert code == 3
    assert "made with other settings or data" in error


def test_scenes_are_taken_from_a_folder_or_rendered(
    find: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "scenes"
    folder.mkdir()
    (folder / "0.jpg").write_bytes(SAMPLE.read_bytes())
    head = {"id": 1, "image_id": 0, "bbox": [160, 24, 137, 155], "attributes": {"gender": "woman"}}
    image = {"id": 0, "file_name": "0.jpg", "width": 512, "height": 512}
    document = {"images": [image], "annotations": [head]}
    (folder / "annotations.json").write_text(json.dumps(document))
    assert find("--n", 2, "--out", tmp_path / "heads.json")[0] == 0  # scenes is the default
    assert HeadSet.load(tmp_path / "heads.json").data.startswith("scenes ")
    for package in ("anny", "embreex"):
        pytest.importorskip(
            package, reason="scenes need the extra: pip install 'headsight[scenes]'"
        )
    monkeypatch.chdir(folder)
    assert find("--n", 2, "--out", tmp_path / "made.json")[0] == 0
    assert (tmp_path / "made-scenes" / "annotations.json").is_file()
    assert HeadSet.load(tmp_path / "made.json").data.startswith("made-scenes ")
