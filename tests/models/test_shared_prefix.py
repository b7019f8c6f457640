"""Many prompts about one picture: the same tokens as `generate`, with the picture seen once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
import torch
import transformers as hf
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, LogitsProcessorList
from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from headsight.errors import InputError
from headsight.models.shared_prefix import answer_shared, shared_length

IMAGE = 150
NEW = 7
Parts = tuple[Any, dict[str, Tensor], list[int]]
"""Config, what the processor says of the picture, and the tokens up to the end of the picture."""


def text(kind: str, **more: Any) -> dict[str, Any]:
    return {
        "model_type": kind,
        "vocab_size": 200,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 512,
        "bos_token_id": 1,
        "eos_token_id": None,
        "pad_token_id": 0,
        "initializer_range": 0.5,
        **more,
    }


def tower(kind: str, **more: Any) -> dict[str, Any]:
    return {
        "model_type": kind,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 4,
        **more,
    }


def pixels(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


SQUARE = {"pixel_values": pixels(1, 3, 16, 16)}
TILES = {"pixel_values": pixels(1, 3, 3, 16, 16), "image_sizes": torch.tensor([[16, 32]])}
TILE_TOKENS = [2] + [IMAGE] * (16 + 4 * (8 + 1))
PINPOINTS = [[16, 32], [32, 16], [32, 32]]


def llava() -> Parts:
    config = hf.LlavaConfig(
        vision_config=tower("clip_vision_model"),
        text_config=text("llama"),
        image_token_index=IMAGE,
    )
    return config, SQUARE, [2] + [IMAGE] * 16


def llava_next() -> Parts:
    config = hf.LlavaNextConfig(
        vision_config=tower("clip_vision_model"),
        text_config=text("mistral", sliding_window=None),
        image_token_index=IMAGE,
        image_grid_pinpoints=PINPOINTS,
    )
    return config, TILES, TILE_TOKENS


def llava_onevision() -> Parts:
    config = hf.LlavaOnevisionConfig(
        vision_config=tower("siglip_vision_model"),
        text_config=text("qwen2"),
        image_token_index=IMAGE,
        image_grid_pinpoints=PINPOINTS,
    )
    return config, TILES, TILE_TOKENS


def grid_model(config: type, kind: str, vision: dict[str, Any]) -> Parts:
    """A model with rows and columns as positions; 4 x 6 patches, merged to 2 x 3 tokens."""
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
    made = config(
        vision_config=vision,
        text_config=text(kind, rope_parameters=rope),
        image_token_id=IMAGE,
        video_token_id=151,
    )
    picture = {
        "pixel_values": pixels(24, 3 * 2 * 16),
        "image_grid_thw": torch.tensor([[1, 4, 6]]),
    }
    return made, picture, [2, 5] + [IMAGE] * 6


GRID_TOWER = {
    "depth": 2,
    "hidden_size": 16,
    "out_hidden_size": 32,
    "intermediate_size": 32,
    "num_heads": 2,
    "patch_size": 4,
}


def qwen2_vl() -> Parts:
    vision = {"depth": 2, "embed_dim": 16, "hidden_size": 32, "num_heads": 2, "patch_size": 4}
    return grid_model(hf.Qwen2VLConfig, "qwen2_vl_text", vision)


def qwen2_5_vl() -> Parts:
    vision = {**GRID_TOWER, "window_size": 16, "fullatt_block_indexes": [1]}
    return grid_model(hf.Qwen2_5_VLConfig, "qwen2_5_vl_text", vision)


def qwen3_vl() -> Parts:
    vision = {**GRID_TOWER, "num_position_embeddings": 16, "deepstack_visual_indexes": [0, 1]}
    return grid_model(hf.Qwen3VLConfig, "qwen3_vl_text", vision)


def glm4v() -> Parts:
    return grid_model(hf.Glm4vConfig, "glm4v_text", {**GRID_TOWER, "image_size": 16})


def internvl() -> Parts:
    vision = tower("internvl_vision", image_size=[16, 16], patch_size=[4, 4])
    config = hf.InternVLConfig(
        vision_config=vision, text_config=text("qwen2"), image_token_id=IMAGE
    )
    return config, {"pixel_values": pixels(2, 3, 16, 16)}, [2] + [IMAGE] * 8


def smolvlm(config: type = hf.SmolVLMConfig, kind: str = "smolvlm_vision") -> Parts:
    made = config(
        vision_config=tower(kind),
        text_config=text("llama"),
        image_token_id=IMAGE,
        scale_factor=2,
    )
    picture = {
        "pixel_values": pixels(1, 3, 3, 16, 16),
        "pixel_attention_mask": torch.ones(1, 3, 16, 16, dtype=torch.long),
    }
    return made, picture, [2, *[IMAGE] * 4, 5, *[IMAGE] * 4, 6, *[IMAGE] * 4]


def idefics3() -> Parts:
    return smolvlm(hf.Idefics3Config, "idefics3_vision")


def mistral3() -> Parts:
    config = hf.Mistral3Config(
        vision_config=tower("pixtral", head_dim=8, image_size=32),
        text_config=text("mistral"),
        image_token_index=IMAGE,
        spatial_merge_size=2,
    )
    picture = {"pixel_values": pixels(1, 3, 16, 24), "image_sizes": torch.tensor([[16, 24]])}
    return config, picture, [2, *[IMAGE] * 3, 5, *[IMAGE] * 3]


def gemma3(window: int = 512) -> Parts:
    config = hf.Gemma3Config(
        vision_config=tower("siglip_vision_model"),
        text_config=text(
            "gemma3_text",
            sliding_window=window,
            query_pre_attn_scalar=8,
            layer_types=["sliding_attention", "full_attention"],
            tie_word_embeddings=False,
        ),
        image_token_index=IMAGE,
        mm_tokens_per_image=4,
        tie_word_embeddings=False,
    )
    return config, SQUARE, [2, 5] + [IMAGE] * 4


def gemma3_short_window() -> Parts:
    return gemma3(window=8)


def paligemma() -> Parts:
    config = hf.PaliGemmaConfig(
        vision_config=tower("siglip_vision_model", projection_dim=32),
        text_config=text("gemma", tie_word_embeddings=False),
        image_token_index=IMAGE,
        projection_dim=32,
        tie_word_embeddings=False,
    )
    return config, SQUARE, [IMAGE] * 16


def deepseek_vl() -> Parts:
    config = hf.DeepseekVLConfig(
        vision_config=tower("siglip_vision_model"),
        text_config=text("llama"),
        image_token_id=IMAGE,
    )
    return config, SQUARE, [2] + [IMAGE] * 16


def qwen3_5() -> Parts:
    """Linear attention in its first layer."""
    rope = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}
    config = hf.Qwen3_5Config(
        vision_config={**GRID_TOWER, "num_position_embeddings": 16},
        text_config=text(
            "qwen3_5_text",
            layer_types=["linear_attention", "full_attention"],
            rope_parameters={**rope, "partial_rotary_factor": 1.0},
            linear_key_head_dim=8,
            linear_value_head_dim=8,
            linear_num_key_heads=2,
            linear_num_value_heads=4,
        ),
        image_token_id=IMAGE,
        video_token_id=151,
    )
    _, picture, head = qwen3_vl()
    return config, picture, head


SHARING = (
    llava,
    llava_next,
    llava_onevision,
    qwen2_vl,
    qwen2_5_vl,
    qwen3_vl,
    glm4v,
    internvl,
    smolvlm,
    idefics3,
    mistral3,
    gemma3,
    gemma3_short_window,
    deepseek_vl,
)
WHOLE = (paligemma, qwen3_5)
"""Models whose prompts cannot share a prefix."""


@cache
def model_of(parts: Callable[[], Parts]) -> Any:
    torch.manual_seed(0)
    return hf.AutoModelForImageTextToText.from_config(parts()[0]).eval()


def prompt(parts: Callable[[], Parts], ids: Sequence[int]) -> dict[str, Tensor]:
    """What a processor gives for one prompt."""
    tokens = torch.tensor([list(ids)])
    values = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), **parts()[1]}
    model = model_of(parts)
    if hasattr(model.base_model, "get_rope_index"):
        values["mm_token_type_ids"] = (tokens == IMAGE).int()
    elif parts is paligemma:
        values["token_type_ids"] = torch.zeros_like(tokens)
    elif hasattr(model, "create_masks_for_generate"):
        values["token_type_ids"] = (tokens == IMAGE).long()
    return values


QUESTIONS = ((10, 11, 12), (10, 20, 30, 40, 50, 60), (33,), (10, 11, 13, 14), (77, 78, 79, 80, 81))


def prompts(parts: Callable[[], Parts]) -> list[dict[str, Tensor]]:
    return [prompt(parts, [*parts()[2], 3, 4, *question]) for question in QUESTIONS]


def generated(model: Any, inputs: Sequence[dict[str, Tensor]], **more: Any) -> list[list[int]]:
    """One call of transformers' `generate` a prompt."""
    limits = {"max_new_tokens": NEW, "do_sample": False, "pad_token_id": 0}
    return [
        model.generate(**one, **{**limits, **more})[0, one["input_ids"].shape[1] :].tolist()
        for one in inputs
    ]


def ids_of(model: Any, inputs: Sequence[dict[str, Tensor]], **more: Any) -> list[list[int]]:
    written = answer_shared(model, inputs, **{"max_new_tokens": NEW, **more})
    return [list(one.token_ids) for one in written]


def tower_runs(model: Any, action: Callable[[], object]) -> int:
    """How often the vision tower is run meanwhile."""
    runs: list[int] = []
    hook = model.get_encoder("image").register_forward_hook(lambda *_: runs.append(1))
    try:
        action()
    finally:
        hook.remove()
    return len(runs)


@pytest.mark.parametrize("parts", [*SHARING, *WHOLE], ids=lambda parts: parts.__name__)
def test_tokens_of_generate_and_the_picture_seen_once(parts: Callable[[], Parts]) -> None:
    model, inputs = model_of(parts), prompts(parts)
    expected = generated(model, inputs)
    assert len(set(map(tuple, expected))) == len(QUESTIONS)  # the answers depend on the question
    assert max(len(set(ids)) for ids in expected) > 2
    answers: list[list[int]] = []
    assert tower_runs(model, lambda: answers.extend(ids_of(model, inputs))) == 1
    assert answers == expected
    assert tower_runs(model, lambda: generated(model, inputs)) == len(
        QUESTIONS
    )  # it can be counted


@pytest.mark.parametrize("parts", [*SHARING, *WHOLE], ids=lambda parts: parts.__name__)
def test_shared_length(parts: Callable[[], Parts]) -> None:
    head = len(parts()[2]) + 2  # and the two tokens with which every question begins
    assert shared_length(model_of(parts), prompts(parts)) == (0 if parts in WHOLE else head)


@pytest.mark.parametrize("parts", [llava, qwen2_vl, gemma3_short_window, paligemma])
@pytest.mark.parametrize("batch_rows", [1, 2])
def test_small_batches_give_the_same(parts: Callable[[], Parts], batch_rows: int) -> None:
    model, inputs = model_of(parts), prompts(parts)
    assert ids_of(model, inputs, batch_rows=batch_rows) == ids_of(model, inputs)


@pytest.mark.parametrize("parts", [llava, qwen3_vl, gemma3_short_window, paligemma])
def test_rows_leave_where_they_end(parts: Callable[[], Parts]) -> None:
    model, inputs = model_of(parts), prompts(parts)
    full = generated(model, inputs)
    tokens = {token for ids in full for token in ids[1:]}
    some = sorted(t for t in tokens if 0 < sum(t in ids for ids in full) < len(full))
    ends = some[:1]  # a token that some answers hold, but not all
    expected = generated(model, inputs, eos_token_id=ends)
    written = answer_shared(model, inputs, max_new_tokens=NEW, eos_token_id=ends)
    for ids, one in zip(expected, written, strict=True):
        assert one.ended == (ids[-1] in ends)
        assert list(one.token_ids) == [token for token in ids if token not in ends]
        assert len(one.logprobs) == len(one.token_ids)
    assert {one.ended for one in written} == {True, False}


def test_the_end_is_that_of_the_generation_config() -> None:
    model, inputs = copy.deepcopy(model_of(llava)), prompts(llava)
    first = generated(model, inputs)[0]
    model.generation_config.eos_token_id = first[3]
    written = answer_shared(model, inputs, max_new_tokens=NEW)[0]
    assert written.token_ids == tuple(first[: first.index(first[3])])
    assert written.ended


@pytest.mark.parametrize("parts", [llava, qwen2_vl, paligemma])
def test_logprobs_are_of_the_whole_distribution(parts: Callable[[], Parts]) -> None:
    model, inputs = model_of(parts), prompts(parts)
    written = answer_shared(model, inputs, max_new_tokens=NEW)
    for one, answer in zip(inputs, written, strict=True):
        out = model.generate(
            **one,
            max_new_tokens=NEW,
            do_sample=False,
            output_logits=True,
            return_dict_in_generate=True,
        )
        best = [float(scores.log_softmax(-1).max()) for scores in out.logits]
        # logits reach some hundreds here, where float32 is good to 1e-5
        assert answer.logprobs == pytest.approx(best, abs=2e-4)


@pytest.mark.parametrize("parts", [llava, llava_onevision, gemma3_short_window, qwen2_vl])
def test_eager_attention_gives_the_same(parts: Callable[[], Parts]) -> None:
    eager = copy.deepcopy(model_of(parts))
    eager.set_attn_implementation("eager")
    assert ids_of(eager, prompts(parts)) == ids_of(model_of(parts), prompts(parts))


def test_somebody_elses_attention_sees_whole_rows() -> None:
    lengths: list[tuple[int, ...]] = []

    def watching(module: Any, query: Tensor, key: Tensor, *rest: Any, **options: Any) -> Any:
        lengths.append((len(key), key.shape[2]))
        return sdpa_attention_forward(module, query, key, *rest, **options)

    AttentionInterface.register("watching", watching)
    AttentionMaskInterface.register("watching", sdpa_mask)
    model, inputs = copy.deepcopy(model_of(llava)), prompts(llava)
    model.set_attn_implementation({"text_config": "watching"})
    lengths.clear()
    assert ids_of(model, inputs) == ids_of(model_of(llava), inputs)
    # 2 layers: the prefix of 1 + 16 + 2 tokens, the longest question, then 6 steps
    assert lengths == [(n, k) for n, k in [(1, 19), *((5, 25 + i) for i in range(7))] for _ in "12"]


def test_attention_is_put_back_after_an_error() -> None:
    model, inputs = model_of(llava), prompts(llava)

    def failing(ids: Tensor, scores: Tensor) -> Tensor:
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        ids_of(model, inputs, filters=failing)
    assert model.config.text_config._attn_implementation == "sdpa"
    with pytest.raises(RuntimeError, match="on purpose"):
        ids_of(model_of(paligemma), prompts(paligemma), filters=failing)
    assert "get_image_features" not in vars(model_of(paligemma).model)


# features that are one tensor, a list of tensors, and several depths of them
@pytest.mark.parametrize("parts", [llava, llava_next, qwen2_vl, qwen3_vl, paligemma])
def test_a_question_before_the_picture(parts: Callable[[], Parts]) -> None:
    model, head = model_of(parts), parts()[2]
    inputs = [prompt(parts, [*question, *head, 3]) for question in QUESTIONS]
    expected = generated(model, inputs)
    assert shared_length(model, inputs) == 0
    assert tower_runs(model, lambda: ids_of(model, inputs)) == 1
    assert ids_of(model, inputs) == expected


def test_the_whole_prompt_may_be_the_same() -> None:
    model, inputs = model_of(llava), prompts(llava)[:1]
    assert shared_length(model, inputs) == inputs[0]["input_ids"].shape[1] - 1
    assert ids_of(model, [*inputs, *inputs]) == generated(model, [*inputs, *inputs])
    assert ids_of(model, inputs) == generated(model, inputs)


@pytest.mark.parametrize("parts", [llava, qwen2_vl, paligemma])
def test_filters(parts: Callable[[], Parts]) -> None:
    model, inputs = model_of(parts), prompts(parts)
    penalty = RepetitionPenaltyLogitsProcessor(3.0)  # of the tokens of the whole prompt
    expected = generated(model, inputs, logits_processor=LogitsProcessorList([penalty]))
    plain = generated(model, inputs)
    assert expected != plain
    assert ids_of(model, inputs, filters=[penalty] * 5) == expected
    some = ids_of(model, inputs, filters=[None, penalty, None, penalty, None])
    assert some == [plain[0], expected[1], plain[2], expected[3], plain[4]]

    def even(ids: Tensor, scores: Tensor) -> Tensor:
        scores[:, 1::2] = -torch.inf
        return scores

    assert all(token % 2 == 0 for ids in ids_of(model, inputs, filters=even) for token in ids)


@pytest.mark.parametrize("parts", [llava, paligemma])
def test_penalties_of_the_generation_config_are_left_out(parts: Callable[[], Parts]) -> None:
    model, inputs = copy.deepcopy(model_of(parts)), prompts(parts)
    plain = generated(model, inputs)
    model.generation_config.repetition_penalty = 3.0
    own = model.generation_config
    assert generated(model, inputs) != plain
    assert ids_of(model, inputs) == plain
    assert model.generation_config is own


def test_half_precision() -> None:
    model = copy.deepcopy(model_of(llava)).to(torch.bfloat16)
    inputs = [{**one, "pixel_values": one["pixel_values"].bfloat16()} for one in prompts(llava)]
    written = answer_shared(model, inputs, max_new_tokens=NEW)
    assert [len(one.token_ids) for one in written] == [NEW] * 5


def test_nothing_asked() -> None:
    model = model_of(llava)
    assert answer_shared(model, [], max_new_tokens=NEW) == []
    written = answer_shared(model, prompts(llava), max_new_tokens=0)
    assert [(one.token_ids, one.ended) for one in written] == [((), False)] * 5


def without(one: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key: value for key, value in one.items() if key != name}


def test_bad_input() -> None:
    model, inputs = model_of(llava), prompts(llava)
    one = inputs[0]
    twice = {name: torch.cat([value, value]) for name, value in one.items()}
    padded = {**one, "attention_mask": one["attention_mask"].index_fill(1, torch.tensor([0]), 0)}
    other = {**one, "pixel_values": one["pixel_values"] + 1}
    bad: list[tuple[list[dict[str, Tensor]], dict[str, Any], str]] = [
        ([one, twice], {}, r"prompt 1 have the shape \(2, 22\)"),
        ([one, padded], {}, "Prompt 1 is padded"),
        ([one, other], {}, "pixel_values of prompt 1 is not that of prompt 0"),
        ([one, without(one, "pixel_values")], {}, "pixel_values of prompt 1"),
        ([one], {"batch_rows": 0}, "batch_rows is 0"),
        ([one], {"filters": [None, None]}, "2 filters were given for 1 prompts"),
    ]
    for given, options, message in bad:
        with pytest.raises(InputError, match=message):
            answer_shared(model, given, max_new_tokens=NEW, **options)


@pytest.mark.parametrize(
    ("parts", "name"),
    [(qwen2_5_vl, "mm_token_type_ids"), (gemma3, "token_type_ids"), (paligemma, "token_type_ids")],
)
def test_token_types_may_not_be_left_out(parts: Callable[[], Parts], name: str) -> None:
    inputs = [without(one, name) for one in prompts(parts)]
    with pytest.raises(InputError, match=f"Prompt 0 has no {name}"):
        ids_of(model_of(parts), inputs)


def test_a_model_whose_features_cannot_be_remembered() -> None:
    """Kosmos-2 encodes the picture in a method of its own, and answers one prompt at a time."""
    words = {"vocab_size": 200, "embed_dim": 32, "layers": 1, "ffn_dim": 48, "init_std": 0.5}
    config = hf.Kosmos2Config(
        text_config={**words, "attention_heads": 4, "max_position_embeddings": 64},
        vision_config=tower("kosmos_2_vision_model"),
        latent_query_num=4,
    )
    torch.manual_seed(0)
    model = hf.Kosmos2ForConditionalGeneration(config).eval()
    inputs = []
    for question in ([10, 11, 12], [20], [30, 31]):
        ids = torch.tensor([[0, 5, *[7] * 4, 6, *question]])
        mask = torch.zeros_like(ids).index_fill(1, torch.arange(2, 6), 1)
        seen = {"attention_mask": torch.ones_like(ids), "image_embeds_position_mask": mask}
        inputs.append({"input_ids": ids, **seen, **SQUARE})
    assert shared_length(model, inputs) == 0
    expected = generated(model, inputs, eos_token_id=199)
    assert ids_of(model, inputs, eos_token_id=199) == expected


def test_an_encoder_for_the_prompt_is_refused() -> None:
    small = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1}
    heads = {"encoder_attention_heads": 1, "decoder_attention_heads": 1}
    widths = {"encoder_ffn_dim": 8, "decoder_ffn_dim": 8, "vocab_size": 50}
    model = hf.BartForConditionalGeneration(hf.BartConfig(**small, **heads, **widths))
    with pytest.raises(InputError, match="bart model has an encoder"):
        answer_shared(model, [{"input_ids": torch.tensor([[5, 6]])}], max_new_tokens=2)
