"""`HeadLab`: see and edit every attention head of a loaded transformers model.

The model keeps its own fused attention; the lab stands between it and its output projection. See
the numbers of heads with `capture`, change them with `run`, score them with `gate_gradients` and
`sweep`.

    with HeadLab(model) as lab:
        row = lab.capture(inputs, LastQueryRow())["last_query_row"]  # (B, L, H, 1, K)
        out = lab.run(inputs, ablate=[zero((3, 5))])  # layer 3, head 5
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from headsight.attention.ablations import ABLATIONS, Ablation, mean
from headsight.attention.edits import Gates, SiteEdit, keeps_patterns, sort_edits
from headsight.attention.engine import Engine, Leaves
from headsight.attention.heads import (
    HeadAddress,
    HeadId,
    HeadTable,
    find_heads,
    find_projections,
    projection_candidates,
)
from headsight.attention.recording import Recording
from headsight.attention.reducers import HeadOutputs, Reducer
from headsight.attention.run_log import RunLog
from headsight.attention.sweep import sweep_heads
from headsight.errors import InputError

__all__ = ["HeadLab"]


class HeadLab:
    """A context in which the heads of a model are seen and edited; it is restored at the end."""

    def __init__(
        self,
        model: nn.Module,
        towers: str | Sequence[str] = "auto",
        *,
        output_projection: str | None = None,
        chunk_rows: int = 256,
    ) -> None:
        """Find the heads; nothing is changed before the `with` block.

        Args:
            model: a transformers model, or one wrapped by peft.
            towers: "auto" for all, or the ones to work on, such as "text".
            output_projection: for a model without the attention interface, the name of the linear
                maps that take the concatenated heads, "..." or "*" standing for anything. Gates,
                ablations of outputs and `HeadOutputs` work there; weights cannot be seen.
            chunk_rows: query rows whose weights are held at a time.

        Raises:
            InputError: the model has no heads that can be reached so, or no such tower.
        """
        by_projection = output_projection is not None
        table = find_projections(model, output_projection or "") if by_projection else None
        table = table or find_heads(model)
        if not table.sites:
            family = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
            raise InputError(
                f"Model family '{family}' does not use the attention interface; pass"
                f" output_projection='...out_proj' (candidates: {projection_candidates(model)})."
            )
        if towers != "auto":
            names = (towers,) if isinstance(towers, str) else towers
            table = HeadTable(tuple(site for name in names for site in table.tower(name)))
        self.model = model
        self._chunk_rows = chunk_rows
        self._engine = Engine(model, table, by_projection=by_projection, chunk_rows=chunk_rows)
        self._open: AbstractContextManager[None] | None = None
        self._attention = getattr(getattr(model, "config", None), "_attn_implementation", None)
        self._log: RunLog | None = None

    @property
    def heads(self) -> HeadTable:
        """The attention modules, one row each; widths are checked at the first forward pass."""
        return self._engine.table

    @property
    def num_calls(self) -> dict[str, int]:
        """How often each module called its attention in its last pass.

        More than once where a vision tower calls it for every picture or window.
        """
        return self._engine.num_calls

    def __enter__(self) -> HeadLab:
        opened = self._engine.opened()
        opened.__enter__()
        self._open = opened
        return self

    def __exit__(self, *error: Any) -> None:
        opened, self._open = self._open, None
        if opened is not None:
            opened.__exit__(None, None, None)

    @contextmanager
    def logged(self) -> Iterator[RunLog]:
        """Note every call of the lab inside, for a JSON record: see `RunLog`.

        Inputs are hashed, which costs time: log what is to be kept, not a training. What a model
        is asked past the lab, `model(...)` in a `recording` say, is not seen.

        Raises:
            InputError: the lab is logged already.
        """
        if self._log is not None:
            raise InputError("This HeadLab is logged already. Use that log, or leave its block.")
        self._log = RunLog(self.model, lambda: self.heads, self._attention)
        try:
            yield self._log
        finally:
            self._log = None

    def capture(
        self,
        inputs: Mapping[str, Any],
        reduce: Reducer | HeadOutputs | Sequence[Reducer | HeadOutputs],
        *,
        tower: str | None = None,
    ) -> dict[str, Tensor]:
        """Run the model once and return what the reducers kept, (B, L, H, ...) each, by name.

        No gradients are kept; the model's answer is dropped. For `generate`, or for the answer too,
        open `recording` around `run`.

        Raises:
            InputError: the tower did not run, or its calls differ in shape.
        """
        with (
            self._noted("capture", inputs, reduce=reduce, tower=tower),
            torch.no_grad(),
            self.recording(reduce, tower=tower) as record,
        ):
            self.run(inputs)
        if not record.steps:
            raise InputError(
                f"Tower '{tower or self.heads.main_tower}' did not run for the inputs"
                f" {sorted(inputs)}. Pass what it needs, e.g. pixel_values for a vision tower."
            )
        return dict(record.steps[0])

    @contextmanager
    def recording(
        self,
        reduce: Reducer | HeadOutputs | Sequence[Reducer | HeadOutputs],
        *,
        tower: str | None = None,
    ) -> Iterator[Recording]:
        """Record every forward pass inside, each decoding step of `generate` being one.

        Raises:
            InputError: the lab is closed, or two reducers have one name.
        """
        self._check_open()
        reducers = list(reduce) if isinstance(reduce, Sequence) else [reduce]
        record = Recording(self.heads.tower(tower), reducers, self._chunk_rows)
        with self._within("recording", reduce=reduce, tower=tower), self._engine.recording(record):
            yield record

    @contextmanager
    def editing(
        self,
        gates: Gates | None = None,
        ablate: Sequence[Ablation] = (),
        *,
        tower: str | None = None,
    ) -> Iterator[None]:
        """Gate and ablate heads in every forward pass inside, also those of `generate`.

        Gates are multiplied on the head outputs: (H,) for all layers, (L, H), or (B, L, H) with one
        row an example (a picture, in a vision tower that takes them all as one row), or a dict of
        (H,) or (B, H) by layer or module; they may require gradients. Layers and pairs are those of
        `tower`.

        Raises:
            InputError: the lab is closed or edits already, shapes do not fit, or a
                `PatternPreserving` is asked for, which `run` alone can do.
        """
        self._check_open()
        edits = sort_edits(self.heads, tower, gates, ablate)
        if keeps_patterns(edits):
            raise InputError(
                "PatternPreserving needs an untouched run first: use run() or sweep()."
            )
        with self._within("editing", gates=gates, ablate=ablate, tower=tower), self._edits(edits):
            yield

    def run(
        self,
        inputs: Mapping[str, Any],
        gates: Gates | None = None,
        ablate: Sequence[Ablation] = (),
        *,
        tower: str | None = None,
        generate: Mapping[str, Any] | None = None,
    ) -> Any:
        """The model's answer with heads gated and ablated; `generate` holds options of `generate`.

        Gradients flow unless the caller switches them off.

        Raises:
            InputError: see `editing`; or `head_mask` or `output_attentions` is among the inputs.
        """
        self._check_open()
        self._engine.refuse({**inputs, **(generate or {})})
        edits = sort_edits(self.heads, tower, gates, ablate)
        preserving = keeps_patterns(edits)
        if preserving and generate is not None:
            raise InputError("PatternPreserving has no untouched run to replay under generate().")
        with ExitStack() as stack:
            asked = {"gates": gates, "ablate": ablate, "tower": tower, "generate": generate}
            stack.enter_context(self._noted("run", inputs, **asked))
            if preserving:
                replay = stack.enter_context(self._engine.clean_patterns())
                with torch.no_grad():
                    self.model(**inputs)
                replay()
            if edits:
                stack.enter_context(self._edits(edits))
            if generate is not None:
                return self.model.generate(**inputs, **generate)  # type: ignore[operator]
            return self.model(**inputs)

    def gate_gradients(
        self,
        inputs: Mapping[str, Any],
        loss_fn: Callable[[Any], Tensor],
        *,
        per_example: bool = True,
        tower: str | None = None,
    ) -> Float[Tensor, "*b l h"]:
        """Derivative of the loss by each head's gate at 1: (B, L, H), in one backward pass.

        `loss_fn` takes the model's answer and returns one loss an example (B,). A loss that couples
        examples, such as CLIP's contrastive one, has no derivative by example: with
        `per_example=False` one gate (L, H) is shared by all, and the loss may be a scalar. The
        gradients of the model's own parameters are left alone.

        Raises:
            InputError: the loss has another shape, does not depend on the heads, or has no gradient
                that reaches them.
        """
        sites = self.heads.tower(tower)
        self._check_open()
        leaves = Leaves(frozenset(site.module for site in sites), per_example)
        self._engine.leaves = leaves
        try:
            asked = {"loss_fn": loss_fn, "per_example": per_example, "tower": tower}
            noted = self._noted("gate_gradients", inputs, **asked)
            with noted, _frozen(self.model), torch.enable_grad():
                loss = loss_fn(self.run(inputs))
                gates = [leaves.gates[s.module] for s in sites if s.module in leaves.gates]
                _check_loss(loss, gates, len(sites), per_example=per_example)
                found = torch.autograd.grad(loss.sum(), gates, allow_unused=True)
        finally:
            self._engine.leaves = None
        if all(d is None for d in found):
            raise InputError(
                "No gradient reaches the heads: the maps between them and the loss have none, as"
                " those of torch's 8-bit modules. Load the model unquantised, or use sweep()."
            )
        pairs = zip(found, gates, strict=True)
        return torch.stack([torch.zeros_like(g) if d is None else d for d, g in pairs], -2)

    def mean_outputs(
        self, inputs: Mapping[str, Any], *, tower: str | None = None
    ) -> Float[Tensor, "l h d"]:
        """Mean output of each head over examples and positions, padding left out; for `mean`."""
        with self._noted("mean_outputs", inputs, tower=tower):
            outputs = self.capture(inputs, HeadOutputs(), tower=tower)["outputs"]  # (B, L, H, T, D)
        mask = inputs.get("attention_mask")
        if not isinstance(mask, Tensor) or mask.shape != (outputs.shape[0], outputs.shape[3]):
            return outputs.float().mean((0, 3))
        share = mask.to(outputs.device).float() / mask.sum()
        return torch.einsum("blhtd,bt->lhd", outputs.float(), share)

    def sweep(
        self,
        inputs: Mapping[str, Any],
        metric_fn: Callable[[Any], Any],
        ablation: str | Callable[[HeadId], Ablation] = "zero",
        *,
        heads: Sequence[HeadAddress] | None = None,
        tower: str | None = None,
        batch_heads: int | Literal["layer"] = "layer",
    ) -> Float[Tensor, "l h"]:
        """A metric with each head ablated alone; NaN where no head was asked for.

        The ablations of one layer run as one batch, at most `batch_heads` at a time, and the layers
        below it are not run again. `metric_fn` takes the model's answer to `inputs`, and returns a
        number or one an example, whose mean is kept. `ablation` is "zero", "mean" (of this batch),
        "undifferentiated", "pattern-preserving", or makes the ablation of a head.

        Raises:
            InputError: `labels` or a cache is among the inputs, or the ablation is not known.
        """
        self._check_open()
        self._engine.refuse(inputs)
        asked = {"metric_fn": metric_fn, "ablation": ablation, "heads": heads, "tower": tower}
        with self._noted("sweep", inputs, **asked):
            return sweep_heads(
                self._engine,
                inputs,
                metric_fn,
                ablation if callable(ablation) else self._maker(ablation, inputs, tower),
                heads=heads,
                tower=tower,
                batch_heads=None if batch_heads == "layer" else batch_heads,
            )

    def _maker(
        self, ablation: str, inputs: Mapping[str, Any], tower: str | None
    ) -> Callable[[HeadId], Ablation]:
        if ablation in ABLATIONS:
            return ABLATIONS[ablation]
        if ablation != "mean":
            raise InputError(
                f"No ablation is called '{ablation}'. There are {(*ABLATIONS, 'mean')}; for others"
                " pass a function, e.g. lambda head: Scale((head,), 0.5)."
            )
        means = self.mean_outputs(inputs, tower=tower)
        rows = {site.module: row for row, site in enumerate(self.heads.tower(tower))}
        return lambda head: mean(head, means[rows[head.module], head.head])

    @contextmanager
    def _edits(self, edits: dict[str, SiteEdit]) -> Iterator[None]:
        if self._engine.edits:
            raise InputError("Heads are edited already. Give all gates and ablations in one call.")
        self._engine.edits = edits
        try:
            yield
        finally:
            self._engine.edits = {}

    def _noted(
        self, name: str, inputs: Mapping[str, Any], **asked: Any
    ) -> AbstractContextManager[None]:
        return nullcontext() if self._log is None else self._log.call(name, inputs, **asked)

    def _within(self, name: str, **asked: Any) -> AbstractContextManager[None]:
        return nullcontext() if self._log is None else self._log.context(name, **asked)

    def _check_open(self) -> None:
        if self._open is None:
            raise InputError("This HeadLab is closed. Use it inside `with HeadLab(model) as lab:`.")


@contextmanager
def _frozen(model: nn.Module) -> Iterator[None]:
    """No graph is kept for the weights inside."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _check_loss(loss: Tensor, gates: Sequence[Tensor], layers: int, *, per_example: bool) -> None:
    if len(gates) < layers or not loss.requires_grad:
        raise InputError(
            f"The loss does not depend on the heads: {len(gates)} of {layers} layers ran, and it"
            f" {'has' if loss.requires_grad else 'has no'} gradient. Compute it from the model's"
            " answer without detach(), and pass the inputs that the tower needs."
        )
    examples = len(gates[0])
    if per_example and loss.shape != (examples,) and loss.numel() * examples != 1:
        raise InputError(
            f"loss_fn returned the shape {tuple(loss.shape)} for {examples} examples. Return one"
            " loss an example (B,), or pass per_example=False: a loss that couples examples has no"
            " derivative by example."
        )
