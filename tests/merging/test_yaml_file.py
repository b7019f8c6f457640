"""mergekit's YAML files mean what they mean there."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from headsight.errors import ConfigError
from headsight.merging import job_from_yaml, read_job
from headsight.merging.job import params_for
from headsight.merging.naming import depths, natural_key, part_rows, unit_of
from headsight.merging.settings import value_at
from headsight.merging.yaml_file import parse_bytes

TIES = """
models:
  - model: base
  - model: one
    parameters: {density: 0.5, weight: 0.5}
  - model: two+lora
    parameters:
      density: [0.1, 0.9]
      weight:
        - filter: mlp
          value: [0, 1]
        - value: 0.25
merge_method: ties
base_model: base
parameters: {normalize: false, int8_mask: true, lambda: 0.7}
dtype: bfloat16
out_dtype: float16
tokenizer_source: base
"""
SLERP = """
slices:
  - sources:
      - {model: one, layer_range: [0, 32]}
      - {model: two, layer_range: [0, 32]}
merge_method: slerp
base_model: one
parameters:
  t:
    - {filter: self_attn, value: [0, 0.5, 1]}
    - {filter: mlp, value: [1, 0]}
    - value: 0.5
dtype: bfloat16
"""


def test_ties() -> None:
    job = job_from_yaml(yaml.safe_load(TIES))
    assert (job.method, job.base, job.dtype) == ("ties", "base", "float16")
    assert [m.source for m in job.models] == ["one", "two+lora"]
    mlp = params_for(job, (0, 1), "model.layers.3.mlp.up.weight", 0.75)
    assert mlp.weights == (0.5, 0.75)
    assert mlp.densities == pytest.approx((0.5, 0.7))
    assert (mlp.normalize, mlp.scale) == (False, 0.7)
    assert params_for(job, (0, 1), "model.norm.weight", 1.0).weights == (0.5, 0.25)
    assert params_for(job, (1,), "model.norm.weight", 1.0).weights == (0.25,)


def test_slerp_in_slices() -> None:
    job = job_from_yaml(yaml.safe_load(SLERP))
    assert (job.base, [m.source for m in job.models], job.layers) == ("one", ["two"], 32)
    for name, depth, expected in (
        ("model.layers.8.self_attn.q_proj.weight", 0.25, 0.25),
        ("model.layers.24.self_attn.q_proj.weight", 0.75, 0.75),
        ("model.layers.8.mlp.up_proj.weight", 0.25, 0.75),
        ("model.norm.weight", 1.0, 0.5),
    ):
        assert params_for(job, (0,), name, depth).t == expected


def test_ours(tmp_path: Path) -> None:
    """Our own keys beside mergekit's; the command line goes before the file."""
    path = tmp_path / "merge.yml"
    path.write_text(
        "merge_method: layer_cosine\nbase_model: a\nmodels: [{model: b}]\nthreshold: quantile:0.2\n"
        "granularity: block\nout_shard_size: 2GB\nmissing: skip\nseed: 4\n"
    )
    job = read_job(path, {"granularity": "part", "seed": None})
    assert (str(job.threshold), job.granularity) == ("quantile:0.2", "part")
    assert (job.shard_bytes, job.missing, job.seed) == (2_000_000_000, "skip", 4)


def test_mergekits_longer_names() -> None:
    models = [{"model": {"model": {"path": "a"}, "lora": {"path": "b"}}}, {"model": {"path": "c"}}]
    job = job_from_yaml({"merge_method": "linear", "models": models})
    assert [m.source for m in job.models] == ["a+b", "c"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base_modle": "x"}, "unknown key 'base_modle'. Did you mean base_model"),
        ({"merge_method": "tie"}, "no method 'tie'.*Did you mean ties"),
        ({"merge_method": None}, "no method 'None'"),
        ({"parameters": {"densty": 1}}, "unknown key 'densty'. Did you mean density"),
        ({"parameters": 3}, "parameters is 3; expected keys and values"),
        ({"parameters": {"weight": [1, "a"]}}, "a list must hold numbers only"),
        ({"parameters": {"weight": [{"filtre": "x"}]}}, "expected the keys filter and value"),
        ({"parameters": {"weight": None}}, "weight is None; expected a number"),
        ({"models": [{"modle": "a"}]}, "a model has an unknown key 'modle'. Did you mean model"),
        ({"models": [{"parameters": {}}]}, "names no model"),
        ({"models": []}, "models is missing or no list"),
        ({"models": [{"model": "a", "parameters": {"t": 1}}]}, "unknown key 't'"),
        ({"base_model": None}, "ties merges changes against a base, and none is given"),
        ({"out_dtype": "int4"}, "dtype is 'int4'; expected one of bfloat16"),
        ({"granularity": "row"}, "granularity is 'row'; expected one of module, block, part"),
        ({"missing": "guess"}, "missing is 'guess'; expected one of error, base, skip"),
        ({"threshold": "high"}, "threshold is 'high'"),
        ({"out_shard_size": "big"}, "size of a file is 'big'"),
        ({"slices": [{}, {}], "models": None}, "slices that stack layers"),
    ],
)
def test_files_that_cannot_be_used(change: dict, said: str, tmp_path: Path) -> None:
    values = yaml.safe_load(TIES) | change
    path = tmp_path / "merge.yml"
    path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not ...}))
    with pytest.raises((ConfigError, ValueError), match=said):
        read_job(path)


def test_slices_of_other_layers() -> None:
    values = yaml.safe_load(SLERP)
    values["slices"][0]["sources"][1]["layer_range"] = [8, 40]
    with pytest.raises(ConfigError, match="expected the same for all models"):
        job_from_yaml(values)


@pytest.mark.parametrize("text", ["merge_method: [", "- a", "merge_method: ties\n\tx"])
def test_files_that_are_none(text: str, tmp_path: Path) -> None:
    path = tmp_path / "merge.yml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"merge\.yml"):
        read_job(path)
    with pytest.raises(ConfigError, match="cannot be read as YAML"):
        read_job(tmp_path / "none.yml")


@pytest.mark.parametrize(
    ("depth", "expected"), [(0.0, 0), (0.25, 0.25), (0.5, 0.5), (0.75, 1.25), (1.0, 2)]
)
def test_numbers_are_spread_over_the_layers(depth: float, expected: float) -> None:
    assert value_at([0, 0.5, 2], "x", depth) == pytest.approx(expected)


def test_filters_that_do_not_fit_leave_the_default() -> None:
    assert value_at([{"filter": "mlp", "value": 1}], "attn", 0.5) is None
    assert value_at([{"filter": "*", "value": 1}], "attn", 0.5) == 1


@pytest.mark.parametrize(
    ("text", "expected"), [("5B", 5e9), ("500M", 5e8), ("2GB", 2e9), ("1.5g", 1.5e9), (7, 7)]
)
def test_sizes(text: str | int, expected: float) -> None:
    assert parse_bytes(text) == expected


def test_order_and_depth_of_names() -> None:
    names = [
        "lm_head.weight", "model.embed_tokens.weight", "model.layers.10.w", "model.layers.2.w",
        "vision.blocks.0.w", "vision.blocks.4.w", "vision.blocks.2.w", "model.norm.weight",
    ]  # fmt: skip
    assert sorted(names[2:4], key=natural_key) == ["model.layers.2.w", "model.layers.10.w"]
    found = depths(names)
    assert [found[n] for n in names] == [1, 0, 1, 0.2, 0, 1, 0.5, 1]


def test_units() -> None:
    assert unit_of("model.layers.3.mlp.up.weight", "module") == "model.layers.3.mlp.up"
    assert unit_of("model.layers.3.mlp.up.weight", "block") == "model.layers.3"
    assert unit_of("model.norm.weight", "block") == "model.norm"
    assert unit_of("scale", "module") == "scale"


@pytest.mark.parametrize(
    ("name", "shape", "config", "expected"),
    [
        ("a.qkv.weight", (12, 4), {}, (("q", 0, 4), ("k", 4, 8), ("v", 8, 12))),
        (
            "a.query_key_value.weight",
            (16, 8),
            {"num_attention_heads": 4, "num_multi_query_heads": 2},
            (("q", 0, 8), ("k", 8, 12), ("v", 12, 16)),
        ),
        ("a.q_proj.weight", (12, 4), {}, ()),
        ("a.qkv.weight", (13, 4), {}, ()),
    ],
)
def test_parts(name: str, shape: tuple, config: dict, expected: tuple) -> None:
    assert part_rows(name, shape, config) == expected
