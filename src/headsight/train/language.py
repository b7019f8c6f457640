"""Teaching the decoder to answer: several questions a picture, loss on the answers only.

The questions of a picture stand in one sequence. Its image tokens come first, once; each question
sees them and itself, never another question (a block mask with restarting positions), which is
exactly what the shared image prefix does when answering. The labels say which heads an answer
names; its numbers are the encoder's own reading of them, which the tokens hold: a decoder that is
taught numbers it cannot see learns to guess the commonest. A head that the reading misses is left
out. Number tokens have soft targets: the neighbouring bins share the weight (a Gaussian), circular
for angles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

from headsight.geometry.rotations import sixd_to_matrix
from headsight.models.grounding.config import GroundingVLMConfig
from headsight.models.grounding.headgrid import (
    HeadGrid,
    HeadReading,
    local_maxima,
)
from headsight.models.grounding.model import GroundingVLM
from headsight.models.grounding.tokenizer import IMAGE, build_tokenizer, first_number_id
from headsight.train.checkpoint import load_average_
from headsight.train.dense import pixels_to_input
from headsight.train.guiding import attention_inputs, guide_loss, guide_targets
from headsight.train.imagined import imagine, stack
from headsight.train.labels import LabelledPicture
from headsight.train.loop import run_stage
from headsight.train.optimizers import decoder_groups
from headsight.train.packing import (
    PackedQuestions,
    answer_loss,
    block_mask,
    image_prefix,
    pack,
    said_logits,
)
from headsight.train.pictures import Augmentation, Canvas, augment
from headsight.train.questions import Question, Subject, ask
from headsight.train.recipe import Recipe, Stage
from headsight.train.seeding import seed_numbers_

_Pictures = list[tuple[Canvas, bool]]
_Imagined = tuple[HeadReading, Float[Tensor, "b 2"], list[list[Question]]]

__all__ = [
    "LanguageJob",
    "LanguageOptions",
    "run_language",
]

_PROJECTION = ("read_in", "feature_in", "position")
"""Encoder weights that make tokens of the reading: learned here, not in the dense stage."""
_PREFIX_EXTRA = 3  # bos, boi, eoi
_FIRST_SLOT = 2  # bos, boi


@dataclass(frozen=True, kw_only=True)
class LanguageOptions:
    """Settings of a `language` stage."""

    poses: int = 3
    """Most pose questions a picture."""
    refers: int = 2
    """Most referring questions a picture."""
    box_spread: float = 2.0
    """Standard deviation of the soft target of a box edge, thousandths."""
    angle_spread: float = 2.0
    """Standard deviation of the soft target of an angle, degrees."""
    support: float = 0.15
    """Centre probability that a head needs in the encoder's reading to be asked for."""
    imagined: float = 0.0
    """Share of batches made of imagined readings instead of pictures, in [0, 1]."""
    ramp_steps: int = 0
    """Imagined readings hold one head at first, one more every so many steps; 0 = any number."""
    guided_layer: int = 1
    """Decoder layer whose attention is guided, see `guiding.py`."""
    guided_heads: tuple[int, ...] = ()
    """Attention heads of that layer that are taught where to look."""
    guide_weight: float = 0.3
    """Weight of that loss."""
    incomplete: tuple[int, ...] = ()
    """Indices of sources whose pictures may hold heads that are not labelled."""


class LanguageJob:
    """The stage that trains the decoder (and what makes tokens of the reading)."""

    def __init__(
        self,
        module: GroundingVLM,
        tokenizer: PreTrainedTokenizerFast,
        sources: Sequence[tuple[Sequence[LabelledPicture], float, Augmentation]],
        validation: Sequence[LabelledPicture],
        *,
        batch_size: int,
        lr: float,
        seed: int,
        options: LanguageOptions,
    ) -> None:
        self.module = module
        self._tokenizer = tokenizer
        self._encoder: HeadGrid = module.model.vision.encoder
        self._sources = sources
        shares = np.array([share for _, share, _ in sources])
        self._shares = shares / shares.sum()
        self._validation = validation
        self._batch_size = batch_size
        self._lr = lr
        self._seed = seed
        self._options = options
        self._first_number = first_number_id(tokenizer)
        self._is_sayable = torch.zeros(len(tokenizer), dtype=torch.bool, device=module.device)
        self._is_sayable[_sayable(tokenizer)] = True

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Everything but the encoder's dense part."""
        learning = []
        for name, parameter in self.module.named_parameters():
            inner = name.removeprefix("model.vision.encoder.")
            is_dense = inner != name and not inner.startswith(_PROJECTION)
            parameter.requires_grad_(not is_dense)
            if not is_dense:
                learning.append((name, parameter))
        return decoder_groups(learning, lr=self._lr)

    def batch(self, step: int) -> _Pictures | _Imagined:
        """Augmented pictures and whether all their heads are labelled; or imagined readings."""
        rng = np.random.default_rng([self._seed, step])
        if rng.random() < self._options.imagined:
            config, grid = self._encoder.config, self._encoder.grid_hw[0]
            most = 1 + step // self._options.ramp_steps if self._options.ramp_steps else 12
            drawn = [
                imagine(rng, grid, config.attributes, most=most) for _ in range(self._batch_size)
            ]
            asked = [self._ask(subjects, rng, is_complete=True) for _, _, subjects in drawn]
            return stack([r for r, _, _ in drawn]), torch.tensor([c for _, c, _ in drawn]), asked
        result = []
        for _ in range(self._batch_size):
            chosen = int(rng.choice(len(self._sources), p=self._shares))
            pictures, _, augmentation = self._sources[chosen]
            canvas = augment(pictures[int(rng.integers(len(pictures)))], augmentation, rng)
            result.append((canvas, chosen not in self._options.incomplete))
        return result

    def loss(
        self, batch: _Pictures | _Imagined, module: nn.Module | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Mean over the answer tokens, weighted, and its value for numbers and for the rest."""
        device = self._encoder.position.device
        with torch.no_grad():
            if isinstance(batch, list):
                canvases = [c for c, _ in batch]
                content = torch.tensor([c.content_wh_rel for c in canvases])
                pixels = pixels_to_input(canvases).to(device)
                features = self._encoder.features(
                    pixels.contiguous(memory_format=torch.channels_last)
                )
                reading = self._encoder.read(features)
                questions = self._questions(batch, reading)
            else:
                reading, content, questions = batch
                reading = HeadReading(**{k: v.to(device) for k, v in vars(reading).items()})
                shape = (len(content), self._encoder.config.neck_channels, *self._encoder.grid_hw)
                features = torch.zeros(shape, device=device)
        tokens = self._encoder.tokens(features, reading, content.to(device))
        packed = pack(
            questions,
            self._tokenizer,
            box_spread=self._options.box_spread,
            angle_spread=self._options.angle_spread,
            first_position=_PREFIX_EXTRA + 1,
        )
        packed = PackedQuestions(**{k: v.to(device) for k, v in vars(packed).items()})
        attention = self.module.model.layers[self._options.guided_layer].self_attn
        with attention_inputs(attention) as seen:
            hidden = self._hidden(tokens, packed)
        said = packed.labels >= 0
        logits = said_logits(hidden[said], self.module.lm_head.weight, self._is_sayable)
        losses = answer_loss(
            logits,
            packed.labels[said],
            packed.spreads[said],
            packed.modulus[said],
            first_number=self._first_number,
        )
        weight = packed.weights[said]
        is_number = packed.spreads[said] > 0
        figures = {
            "numbers": float(losses[is_number].detach().mean()) if is_number.any() else 0.0,
            "rest": float(losses[~is_number].detach().mean()),
        }
        total = (losses * weight).sum() / weight.sum().clamp(min=1)
        if self._options.guided_heads:
            guide = guide_loss(
                attention,
                seen,
                self._targets(questions, packed, reading, content.to(device)),
                self._options.guided_heads,
                first_slot=_FIRST_SLOT,
                prefix=tokens.shape[1] + _PREFIX_EXTRA,
            )
            figures["guide"] = float(guide.detach())
            total = total + self._options.guide_weight * guide
        return total, figures

    def _targets(
        self,
        questions: Sequence[Sequence[Question]],
        packed: PackedQuestions,
        reading: HeadReading,
        content: Float[Tensor, "b 2"],
    ) -> Int[Tensor, "b t"]:
        cells = self._encoder.kept_cells(reading)
        probability = reading.center_logits.sigmoid()
        threshold = self._encoder.config.peak_threshold
        is_peak = (local_maxima(probability) & (probability > threshold)).flatten(1)
        boxes = reading.boxes.flatten(1, 2).gather(1, cells[..., None].expand(-1, -1, 4))
        relative = boxes / content.float().repeat(1, 2)[:, None]
        return guide_targets(questions, packed, relative * 1000, is_peak.gather(1, cells))

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """The loss on plain views of held-out pictures."""
        plain = Augmentation(image_size=self._encoder.config.image_size, plain_share=1.0)
        sums: dict[str, list[float]] = {}
        for start in range(0, len(self._validation), 8):
            part = self._validation[start : start + 8]
            views = [(augment(p, plain, np.random.default_rng(start)), True) for p in part]
            loss, figures = self.loss(views)
            for key, value in {"loss": float(loss), **figures}.items():
                sums.setdefault(key, []).append(value)
        return {k: float(np.mean(v)) for k, v in sums.items()}

    def _hidden(self, tokens: Tensor, packed: PackedQuestions) -> Tensor:
        prefix = tokens.shape[1] + _PREFIX_EXTRA
        batch = len(tokens)
        ids, types, positions = image_prefix(self._tokenizer, tokens.shape[1], tokens.device)
        out = self.module.model(
            input_ids=torch.cat([ids.expand(batch, -1), packed.input_ids], 1),
            token_type_ids=torch.cat(
                [types.expand(batch, -1), torch.zeros_like(packed.input_ids)], 1
            ),
            position_ids=torch.cat([positions.expand(batch, -1), packed.position_ids], 1),
            attention_mask=block_mask(packed.segments, prefix),
            image_features=tokens,
            use_cache=False,
        )
        return out.last_hidden_state[:, prefix:]  # type: ignore[no-any-return]

    def _questions(self, batch: _Pictures, reading: HeadReading) -> list[list[Question]]:
        probability = reading.center_logits.sigmoid()
        peaks = local_maxima(probability) & (probability > self._options.support)
        result = []
        for index, (canvas, is_complete) in enumerate(batch):
            rng = np.random.default_rng(abs(hash(canvas.pixels[::16, ::16].tobytes())) % 2**32)
            subjects, has_stranger = _subjects(canvas, reading, index, peaks[index])
            result.append(self._ask(subjects, rng, is_complete=is_complete and not has_stranger))
        return result

    def _ask(
        self, subjects: list[Subject], rng: np.random.Generator, *, is_complete: bool
    ) -> list[Question]:
        options = self._options
        return ask(
            subjects, rng, is_complete=is_complete, poses=options.poses, refers=options.refers
        )


def _sayable(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    """Ids of all that answers are made of."""
    texts = ("[[000,000,000,000;000,000,000,000]]", "{000,000,000}", "none")
    marks = {i for text in texts for i in tokenizer.encode(text, add_special_tokens=False)}
    first = first_number_id(tokenizer)
    return sorted(marks | {int(tokenizer.eos_token_id)} | set(range(first, first + 1000)))


def run_language(
    recipe: Recipe,
    stage: Stage,
    starts: Sequence[tuple[str, Path]],
    validation: Sequence[LabelledPicture],
    *,
    mark: str,
    quiet: bool,
) -> Path:
    """Build the model of `recipe`, start it from the stage before, and train it."""
    from headsight.train.run import read_sources

    options = LanguageOptions(**stage.options)
    tokenizer = build_tokenizer()
    model = build_model(recipe, tokenizer)
    for kind, checkpoint in starts:
        if kind == "dense":
            load_average_(model.model.vision.encoder, checkpoint, skip=_PROJECTION)
        else:
            load_average_(model, checkpoint)
    encoder = model.model.vision.encoder
    encoder.to(memory_format=torch.channels_last)
    job = LanguageJob(
        model,
        tokenizer,
        read_sources(stage, Augmentation(image_size=encoder.config.image_size)),
        validation,
        batch_size=stage.batch_size,
        lr=stage.lr,
        seed=recipe.seed + 1,
        options=options,
    )
    return run_stage(job, stage.loop, recipe.output / stage.name, fingerprint=mark, quiet=quiet)


def build_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> GroundingVLM:
    """A new model of the recipe's shape, numbers seeded."""
    generator = torch.Generator().manual_seed(recipe.seed)
    torch.manual_seed(recipe.seed)
    vision = {"encoder": "headgrid", **HeadGrid(recipe.encoder).config.to_dict()}
    config = GroundingVLMConfig(
        vocab_size=len(tokenizer),
        vision_config=vision,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        image_token_id=int(tokenizer.convert_tokens_to_ids(IMAGE)),  # type: ignore[arg-type]
        **dict(recipe.decoder),
    )
    model = GroundingVLM(config)
    seed_numbers_(model, tokenizer, generator=generator)
    return model


def _subjects(
    canvas: Canvas, reading: HeadReading, index: int, peaks: Bool[Tensor, "h w"]
) -> tuple[list[Subject], bool]:
    """Labelled heads that the reading holds, and whether it holds a head in an ignored place.

    Box and rotation are those that were read: they stand in the tokens to be copied.
    """
    side = canvas.pixels.shape[0]
    share = np.array([*canvas.content_wh_rel, *canvas.content_wh_rel], np.float64)
    read = reading.boxes[index][peaks].double().cpu().numpy()
    rotations = sixd_to_matrix(reading.sixd[index][peaks].double()).cpu().numpy()
    sure = reading.center_logits[index][peaks].cpu().numpy()
    middles = (read[:, :2] + read[:, 2:]) / 2 * side
    subjects = []
    for box, attributes in zip(canvas.boxes, canvas.attributes, strict=True):
        near = np.abs(middles - (box[:2] + box[2:]) / 2) < 0.35 * (box[2:] - box[:2])
        if not (is_near := near.all(1)).any():
            continue
        best = int(np.where(is_near, sure, -np.inf).argmax())
        relative = (read[best] / share).clip(0, 1)
        subjects.append(Subject(relative, rotations[best], 1.0, attributes))
    ignored = (
        (middles[:, None] > canvas.ignore[None, :, :2])
        & (middles[:, None] < canvas.ignore[None, :, 2:])
    ).all(-1)
    return subjects, bool(ignored.any())
