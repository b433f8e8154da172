"""Items: one check of one layer in one dtype on one device; and which a run has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from conformance.backends.capabilities import offered, unasked_of
from conformance.checks import EVERY_CHECK
from conformance.layers import CATALOGUE
from conformance.model.case import Verdict
from conformance.model.checks import IN_FULL, facts_of
from conformance.model.protocols import Backend

FURTHER = 13
"""Where items sample, so many cases at most are drawn in dtypes other than `IN_FULL`."""


def examples_of(layer: str, examples: int) -> int:
    """How many examples of the profile's a layer needs, one at least."""
    return max(1, math.ceil(examples * CATALOGUE[layer].generation.examples))


@dataclass(frozen=True)
class Item:
    """What one verdict is about.

    Args:
        layer, check, dtype, device: names.
        samples: it has some of the cases (`Sampling.enough`, `FURTHER`).
    """

    layer: str
    check: str
    dtype: str
    device: str
    samples: bool = False

    @classmethod
    def of(cls, verdict: Verdict) -> Item:
        """The item that a verdict is about."""
        return cls(verdict.layer, verdict.check, verdict.dtype, verdict.device)

    @property
    def id(self) -> str:
        """`"Conv2d-values-float32-cpu"`."""
        return f"{self.layer}-{self.check}-{self.dtype}-{self.device}"

    def drawn(self, examples: int) -> int:
        """How many cases are drawn for its layer and dtype.

        Args:
            examples: of the profile.
        """
        number = examples_of(self.layer, examples)
        return min(number, FURTHER) if self.samples and self.dtype != IN_FULL else number

    def step(self, examples: int) -> int:
        """Of the cases drawn for its layer and dtype the item has every n-th: this n.

        Args:
            examples: of the profile.
        """
        sampling = facts_of(self.check).sampling
        if not self.samples:
            return sampling.step(CATALOGUE[self.layer].generation.examples, self.dtype)
        return max(self.drawn(examples) // sampling.enough_in(self.dtype), 1)


@dataclass(frozen=True)
class Profile:
    """How much of what there is a run looks at.

    Args:
        examples: cases of an item.
        samples: items have some of the cases, and beyond a layer's first dtype there are fewer
            checks (`Sampling.further`).
    """

    examples: int
    samples: bool = False

    def chosen(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """The items of a run, of those that there are.

        A check that is asked in some further dtypes only is asked in others of the next layer.
        """
        if not self.samples:
            return tuple(items)
        items = [replace(item, samples=True) for item in items]
        dtypes: dict[tuple[str, str], dict[str, None]] = {}
        for item in items:
            dtypes.setdefault((item.layer, item.device), {})[item.dtype] = None
        places = {layer: place for place, layer in enumerate(CATALOGUE)}

        def is_chosen(item: Item) -> bool:
            first, *further = dtypes[item.layer, item.device]
            if item.dtype == first:
                return True
            turn = places[item.layer] % len(further)
            turned = [*further[turn:], *further[:turn]]
            return item.dtype in turned[: facts_of(item.check).sampling.further]

        return tuple(filter(is_chosen, items))


PROFILES = {
    "smoke": Profile(40),
    "quick": Profile(130, samples=True),
    "standard": Profile(200),
    "thorough": Profile(4000),
}


def asked_of(item: Item, examples: int) -> int:
    """How many cases of the profile's an item has."""
    return math.ceil(item.drawn(examples) / item.step(examples))


def plan(
    backend: Backend,
    *,
    layers: Sequence[str],
    checks: Sequence[str],
    dtypes: Sequence[str],
    devices: Sequence[str],
    every_dtype: bool,
) -> tuple[Item, ...]:
    """The items of a run, those of a layer and dtype side by side.

    Args:
        backend: asked which layers it offers in which dtype, and which checks are not for it.
        layers, checks, dtypes, devices: what to combine.
        every_dtype: keep dtypes that the backend does not offer; otherwise they are left out,
            unless a layer would then have no item at all.
    """
    items = []
    unasked = unasked_of(backend)
    checks = [check for check in checks if check not in unasked]
    for layer in layers:
        for device in devices:
            kept = [d for d in dtypes if every_dtype or offered(backend, layer, d, device)]
            items += [
                Item(layer, check, dtype, device)
                for dtype in kept or dtypes[:1]
                for check in checks
                if EVERY_CHECK[check].applies(CATALOGUE[layer])
            ]
    return tuple(items)


def in_rounds(
    items: Sequence[Item], workers: int = 1, *, compiled: bool = False
) -> tuple[Item, ...]:
    """All items of a dtype after those of another: what no time is left for is a round's end.

    Layer by layer it would be a layer, in every dtype. A backend that compiles what it runs may not
    come to the end of the first dtype: there the checks that lead have a round of their own.

    Args:
        items: of a run.
        workers: that share the items. Each starts with a contiguous part, which holds every n-th
            layer.
        compiled: the backend compiles what it runs.
    """
    dtypes = list(dict.fromkeys(item.dtype for item in items))
    layers = {layer: k for k, layer in enumerate(dict.fromkeys(item.layer for item in items))}

    def place(item: Item) -> tuple[int, ...]:
        worker, dtype = layers[item.layer] % workers, dtypes.index(item.dtype)
        if not compiled:
            return worker, dtype
        leads = facts_of(item.check).leads
        return worker, dtype > 0, not leads, dtype

    return tuple(sorted(items, key=place))
