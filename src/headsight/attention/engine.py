"""What happens in each attention call while a `HeadLab` is open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from headsight.attention.call import AttentionCall
from headsight.attention.edits import SiteEdit, keeps_patterns
from headsight.attention.heads import HeadSite, HeadTable
from headsight.attention.interface import Attend, is_eager, is_watched, switched
from headsight.attention.recording import Recording
from headsight.errors import InputError

__all__ = ["Engine", "Leaves"]


@dataclass
class Leaves:
    """Gates at 1 that gradients are taken by, made when a module is first called."""

    modules: frozenset[str]
    per_example: bool
    gates: dict[str, Tensor] = field(default_factory=dict)

    def gate(self, site: HeadSite, examples: int, like: Tensor) -> Tensor:
        """The gate of one module, (B, H) or shared (H,)."""
        if site.module not in self.gates:
            shape = (examples, site.num_heads) if self.per_example else (site.num_heads,)
            gate = torch.ones(shape, device=like.device, dtype=like.dtype, requires_grad=True)
            self.gates[site.module] = gate
        return self.gates[site.module]


@dataclass
class _Watch:
    """Where an attention module stands in the present forward pass."""

    site: HeadSite
    passes: int = 0
    calls: int = 0
    tokens: int = 0
    """Query tokens of the calls so far."""

    def begin(self, *ignored: Any) -> None:
        self.passes, self.calls, self.tokens = self.passes + 1, 0, 0

    def advance(self, tokens: int) -> None:
        self.calls, self.tokens = self.calls + 1, self.tokens + tokens


class Engine:
    """Edits and recorders of one model, and the hooks through which they act."""

    def __init__(
        self, model: nn.Module, table: HeadTable, *, by_projection: bool, chunk_rows: int
    ) -> None:
        self.model = model
        self.table = table
        self.edits: dict[str, SiteEdit] = {}
        self.leaves: Leaves | None = None
        self._by_projection = by_projection
        self._chunk_rows = chunk_rows
        self._watches = {site.module: _Watch(site) for site in table}
        self._recordings: list[tuple[Recording, dict[str, int]]] = []
        self._clean: dict[str, list[tuple[Tensor, Tensor]]] | None = None
        self._replaying = False
        self._fused = False
        self._picture_tokens: Tensor | None = None

    @property
    def num_calls(self) -> dict[str, int]:
        """Attention calls of each module in its last pass."""
        return {name: watch.calls for name, watch in self._watches.items()}

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Watch the model; it is as before at the end, also after an error.

        Raises:
            InputError: it is watched already.
        """
        if any(is_watched(module) for module in self.model.modules()):
            raise InputError(
                "A HeadLab is open on this model already. Use that one, or leave its `with` block."
            )
        modules = {name: self.model.get_submodule(name) for name in self._watches}
        names = {id(module): name for name, module in modules.items()}
        hook = self._hook_projection if self._by_projection else self._hook_attention
        with ExitStack() as stack:
            look = self.model.register_forward_pre_hook(self._look, with_kwargs=True)
            stack.callback(look.remove)
            for name, module in modules.items():
                stack.callback(module.register_forward_pre_hook(hook(self._watches[name])).remove)
            attend = None if self._by_projection else lambda m: self._attend_in(names[id(m)])
            stack.enter_context(switched(self.model, list(modules.values()), attend))
            self._fused = not self._by_projection and not all(map(is_eager, modules.values()))
            yield

    @contextmanager
    def recording(self, record: Recording) -> Iterator[None]:
        """Hand every call inside to `record`."""
        entry = (record, {name: watch.passes for name, watch in self._watches.items()})
        self._recordings.append(entry)
        try:
            yield
        finally:
            self._recordings.remove(entry)

    @contextmanager
    def clean_patterns(self) -> Iterator[Callable[[], None]]:
        """Keep queries and keys of all calls until the yielded function is called.

        From then on they are replayed wherever an ablation wants untouched patterns.
        """
        self._clean = {}

        def replay() -> None:
            self._replaying = True

        try:
            yield replay
        finally:
            self._clean, self._replaying = None, False

    def refuse(self, options: Mapping[str, Any]) -> None:
        """Stop options that transformers takes and silently ignores.

        Raises:
            InputError: one of them is given.
        """
        if options.get("head_mask") is not None:
            raise InputError(
                "head_mask was given, but transformers ignores it since version 5. Pass the same"
                " numbers as gates=(L, H) to run()."
            )
        if options.get("output_attentions") and self._fused:
            raise InputError(
                "output_attentions was given, but fused attention returns no weights: transformers"
                " would give an empty tuple. Use capture(inputs, [LastQueryRow(), ...])."
            )

    def is_split(self, site: HeadSite) -> bool:
        """Whether a tower gets all pictures of a batch as one long row of patches."""
        return site.tower == "vision" and self._picture_tokens is not None

    def _look(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        """Before each forward pass of the whole model."""
        self.refuse(kwargs)
        grids = [kwargs.get(name) for name in ("image_grid_thw", "grid_thw", "video_grid_thw")]
        counts = [grid.prod(-1).flatten() for grid in grids if isinstance(grid, Tensor)]
        self._picture_tokens = counts[0] if len(counts) == 1 else None

    def _hook_attention(self, watch: _Watch) -> Callable[..., None]:
        return lambda module, args: watch.begin()

    def _hook_projection(self, watch: _Watch) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...]) -> Any:
            watch.begin()
            out = args[0].unflatten(-1, (watch.site.num_heads, watch.site.head_dim))
            out = out if out.dim() == 4 else out[None]
            out = self._finish(watch, out, None)
            return (out.reshape(args[0].shape), *args[1:])

        return hook

    def _attend_in(self, module: str) -> Attend:
        watch = self._watches[module]
        return lambda call: self._attend(watch, call)

    def _attend(self, watch: _Watch, call: AttentionCall) -> tuple[Tensor, Tensor | None]:
        """One call of the attention interface."""
        self._learn(watch, call)
        if self._clean is not None:
            call = self._with_clean_pattern(watch, call, self._clean)
        edit = self.edits.get(watch.site.module)
        if edit is not None:
            call = edit.before(call)
        out, weights = call.run()
        return self._finish(watch, out, call), weights

    def _finish(self, watch: _Watch, out: Tensor, call: AttentionCall | None) -> Tensor:
        """Head outputs (B, Q, H, D) edited and recorded."""
        site, edit = watch.site, self.edits.get(watch.site.module)
        if edit is not None:
            self._check_examples(watch, edit)
            gate = None if edit.gate is None else self._spread(watch, edit.gate, out)
            out = edit.after(out, call, gate, self._chunk_rows)
        if self.leaves is not None and site.module in self.leaves.modules:
            leaf = self.leaves.gate(site, self._examples(site, out), out)
            out = out * self._spread(watch, leaf, out)
        for record, before in self._recordings:
            record.add(site.module, watch.passes - 1 - before[site.module], call, out)
        watch.advance(out.shape[1])
        return out

    def _examples(self, site: HeadSite, out: Tensor) -> int:
        """Examples in a call: rows of the batch, or pictures where they lie in one row."""
        split = self._picture_tokens is not None and self.is_split(site)
        return len(self._picture_tokens) if split and self._picture_tokens is not None else len(out)

    def _spread(self, watch: _Watch, gate: Tensor, out: Tensor) -> Tensor:
        """A gate (H,) or (B, H) against head outputs (B, Q, H, D)."""
        gate = gate.to(out)
        if gate.dim() == 1:
            return gate[None, None, :, None]
        count = self._examples(watch.site, out)
        if len(gate) != count:
            raise InputError(
                f"Gates are given for {len(gate)} examples, but '{watch.site.module}' runs on"
                f" {count}. Pass (L, H) for one gate that all share, or a row for each (each"
                " picture, in a vision tower)."
            )
        if not self.is_split(watch.site):
            return gate[:, None, :, None]
        return gate[self._owners(watch, out.shape[1])][None, :, :, None]

    def _owners(self, watch: _Watch, tokens: int) -> Tensor:
        """The picture that each of the next tokens belongs to."""
        assert self._picture_tokens is not None
        numbers = torch.arange(len(self._picture_tokens), device=self._picture_tokens.device)
        owners = numbers.repeat_interleave(self._picture_tokens)
        owners = owners[watch.tokens : watch.tokens + tokens]
        if len(owners) != tokens:
            raise InputError(
                f"'{watch.site.module}' runs on other tokens than the picture grids tell, so that"
                " they cannot be told apart. Pass gates (L, H), which all pictures share."
            )
        return owners

    def _check_examples(self, watch: _Watch, edit: SiteEdit) -> None:
        if self.is_split(watch.site) and any(a.examples != slice(None) for a, _ in edit.ablations):
            raise InputError(
                f"'{watch.site.module}' gets all pictures as one row, so that an ablation cannot be"
                " limited to some. Use gates (B, L, H) with a row for each picture."
            )

    def _with_clean_pattern(
        self, watch: _Watch, call: AttentionCall, clean: dict[str, list[tuple[Tensor, Tensor]]]
    ) -> AttentionCall:
        kept = clean.setdefault(watch.site.module, [])
        if not self._replaying:
            kept.append((call.query, call.key))
            return call
        if not keeps_patterns(self.edits):
            return call
        query, key = kept[watch.calls]
        copies = call.query.shape[0] // query.shape[0]
        query, key = (tensor.repeat(copies, 1, 1, 1) for tensor in (query, key))
        return replace(call, query=query, key=key)

    def _learn(self, watch: _Watch, call: AttentionCall) -> None:
        """Correct the table where a family's attributes told something else."""
        heads, kv_heads, width = call.query.shape[1], call.key.shape[1], call.value.shape[-1]
        new = replace(watch.site, num_heads=heads, num_kv_heads=kv_heads, head_dim=width)
        if new != watch.site:
            sites: Sequence[HeadSite] = [new if s == watch.site else s for s in self.table]
            self.table, watch.site = HeadTable(tuple(sites)), new
