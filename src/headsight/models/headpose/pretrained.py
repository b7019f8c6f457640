"""A crop regressor that starts from a picture model of transformers and its weights."""
# mypy: disable-error-code="no-untyped-call"
# (transformers is only partly typed)

from __future__ import annotations

from pathlib import Path
from typing import Any

from headsight.errors import CheckpointError
from headsight.models.checkpoints import bars_on_terminals_only, local_checkpoint
from headsight.models.headpose.config import SixDRepNetConfig
from headsight.models.headpose.model import SixDRepNet

__all__ = ["pretrained"]


def pretrained(folder_or_id: str | Path, **settings: Any) -> SixDRepNet:
    """A `SixDRepNet` whose backbone is that picture model; its last layer is new.

    `settings` are further fields of `SixDRepNetConfig`.

    Raises:
        CheckpointError: no such model, or none that transformers can load.
    """
    from transformers import AutoModel

    folder = local_checkpoint(folder_or_id)
    try:
        with bars_on_terminals_only():
            loaded = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except Exception as error:  # transformers raises what it likes on a damaged folder
        raise CheckpointError(
            f"{folder} cannot be loaded as a picture model: {' '.join(str(error).split())[:200]}."
            " Expected a folder of transformers, such as that of a ConvNeXt."
        ) from error
    values = loaded.config.to_diff_dict()
    kept = {k: v for k, v in values.items() if k not in ("model_type", "transformers_version")}
    config = SixDRepNetConfig(backbone=loaded.config.model_type, backbone_config=kept, **settings)
    model = SixDRepNet(config)
    model.backbone.get_submodule("model").load_state_dict(loaded.state_dict())
    return model
