"""A taught model as the package ships it: `nano-keypoints`.

Weights that are nano's to the bit (the frozen backbone, and heads that nothing reads) are left out;
`load_vlm` takes them from nano. The rest is written in half precision.

    python reproductions/capellm/release.py --model runs/capellm/seeds/0/dynamic/model \
        --out src/headsight/models/grounding/nano_keypoints
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from headsight.files import write_atomic
from headsight.models.base import NANO
from headsight.models.grounding.weights import ENCODER, weight_files


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="a taught model's folder")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    options = parser.parse_args()
    size = write_release(options.model, options.out)
    print(f"{options.out}: {size / 1e6:.2f} MB of weights")


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
