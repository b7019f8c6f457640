"""The model that the package ships as `nano-keypoints`: the dynamic row, shown real faces too.

One more stage mixes rendered objects with weakly labelled faces of photographs (faces.py). Then
weights that are nano's to the bit (the frozen backbone, and heads that nothing reads) are left out;
`load_vlm` takes them from nano. The rest is written in half precision.

    python reproductions/capellm/release.py --model runs/capellm/seeds/0/dynamic/model \
        --objects runs/capellm/seen --faces runs/faces --run runs/release \
        --out src/headsight/models/grounding/nano_keypoints
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml
from base import WAY
from safetensors.torch import load_file, save

from headsight.files import write_atomic
from headsight.models.base import NANO
from headsight.models.grounding.weights import ENCODER, weight_files
from headsight.teach.plan import read_plan
from headsight.teach.stages import run_plan

STEPS, RATE = 800, 7e-4


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="a taught model's folder")
    parser.add_argument("--objects", type=Path, required=True, help="rendered seen objects")
    parser.add_argument("--faces", type=Path, required=True, help="folder of faces.py")
    parser.add_argument("--run", type=Path, required=True, help="folder of the stage")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    path = options.run / "plan.yaml"
    write_atomic(path, yaml.safe_dump(plan_of(options), sort_keys=False).encode())
    size = write_release(run_plan(read_plan(path)), options.out)
    print(f"{options.out}: {size / 1e6:.2f} MB of weights")


def plan_of(options: argparse.Namespace) -> dict[str, Any]:
    """The last stage: as many rendered objects as faces."""
    labels = json.loads((options.faces / "annotations.json").read_text("utf-8"))
    rounds = {"rounds": "dynamic", "k": 8}
    varied = {"scale_spread": 0.3, "turn_share": 0.5, "turn_deg": 20}
    rendered = {"path": str(options.objects), "limit": len(labels["annotations"]), **WAY, **rounds}
    faces = {"path": str(options.faces), "schemas": ["face-5"], **WAY, **rounds, **varied}
    stage = {
        "name": "faces",
        "type": "capellm",
        "data": [rendered, faces],
        "lora": None,
        "steps": options.steps,
        "batch_size": 16,
        "lr": RATE,
        "number_spread": 8,
        "loop": {"bf16": True, "save_every": 100, "clip_norm": 1.0},
    }
    return {
        "name": "nano-keypoints",
        "model": str(options.model),
        "output": str(options.run),
        "stages": [stage],
    }


def write_release(model: Path, out: Path) -> int:
    """The folder without what nano has; bytes of its weights.

    Raises:
        ValueError: a weight does not fit into half precision.
    """
    out.mkdir(parents=True, exist_ok=True)
    own = _tensors(model)
    nano = _tensors(NANO)
    kept = {}
    for name, value in own.items():
        theirs = nano.get(name)
        is_theirs = (
            name.startswith(ENCODER)
            and theirs is not None
            and theirs.shape == value.shape
            and torch.equal(theirs.float(), value.float())
        )
        if not is_theirs:
            kept[name] = value.to(torch.float16).contiguous()
            if not kept[name].isfinite().all():
                raise ValueError(f"{name} does not fit into half precision.")
    weights = save(kept, metadata={"format": "pt"})
    write_atomic(out / "model.safetensors", weights)
    for path in model.glob("*.json"):
        if path.name != "model.safetensors.index.json":
            shutil.copyfile(path, out / path.name)
    config = json.loads((out / "config.json").read_text("utf-8"))
    config["dtype"] = "float16"
    write_atomic(out / "config.json", json.dumps(config, indent=2).encode() + b"\n")
    return len(weights)


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = {}
    for file in weight_files(folder):
        found |= load_file(file)
    return found


if __name__ == "__main__":
    main()
