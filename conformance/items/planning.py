"""Items, each one check of one layer in one dtype on one device, and the plan of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from conformance.backends.capabilities import is_offered, unasked_of
from conformance.checks import EVERY_CHECK
from conformance.layers import CATALOGUE
from conformance.model.case import Verdict
from conformance.model.checks import MAIN_DTYPE, facts_of
from conformance.model.protocols import Backend

MAX_SAMPLED_OTHER_DTYPES = 13
"""The largest number of cases drawn in dtypes other than `MAIN_DTYPE`, if items sample."""


def examples_for_layer(layer: str, examples: int) -> int:
    """How many of the profile's examples a layer needs, at least one."""
    return max(1, math.ceil(examples * CATALOGUE[layer].generation.examples_fraction))


@dataclass(frozen=True)
class Item:
    """The subject of one verdict.

    Args:
        layer, check, dtype, device: names.
        samples: it tests only some cases (`Sampling.sample_size`, `MAX_SAMPLED_OTHER_DTYPES`).
    """

    layer: str
    check: str
    dtype: str
    device: str
    samples: bool = False

    @classmethod
    def of_verdict(cls, verdict: Verdict) -> Item:
        """The item that a verdict is about."""
        return cls(verdict.layer, verdict.check, verdict.dtype, verdict.device)

    @property
    def id(self) -> str:
        """`"Conv2d-values-float32-cpu"`."""
        return f"{self.layer}-{self.check}-{self.dtype}-{self.device}"

    def drawn_count(self, examples: int) -> int:
        """How many cases are drawn for its layer and dtype, by the profile's examples."""
        count = examples_for_layer(self.layer, examples)
        return (
            min(count, MAX_SAMPLED_OTHER_DTYPES)
            if self.samples and self.dtype != MAIN_DTYPE
            else count
        )

    def step(self, examples: int) -> int:
        """The n for which the item has every n-th case that is drawn for its layer and dtype.

        Args:
            examples: the profile's examples.
        """
        sampling = facts_of(self.check).sampling
        if not self.samples:
            return sampling.step(CATALOGUE[self.layer].generation.examples_fraction, self.dtype)
        step = max(self.drawn_count(examples) // sampling.sample_size_in(self.dtype), 1)
        if not sampling.among_cases_of:
            return step
        other = replace(self, check=sampling.among_cases_of).step(examples)
        return -(-step // other) * other


@dataclass(frozen=True)
class Profile:
    """How many of all possible cases and items a run tests.

    Args:
        examples: cases of an item.
        samples: items test only a sample of the cases, and dtypes other than a layer's first have
            fewer checks (`Sampling.sampled_extra_dtypes`).
        rotates_dtypes: some checks run in only one of some dtypes (`Sampling.rotated_dtypes`).
    """

    examples: int
    samples: bool = False
    rotates_dtypes: bool = False

    def choose_items(self, items: Sequence[Item], seed: int) -> tuple[Item, ...]:
        """Choose the items of a run from all items.

        A check that runs in only some further dtypes uses different ones for the next layer, and
        at the next seed.
        """
        items = [replace(item, samples=self.samples) for item in items]
        dtypes: dict[tuple[str, str], dict[str, None]] = {}
        for item in items:
            dtypes.setdefault((item.layer, item.device), {})[item.dtype] = None
        layer_index = {layer: index for index, layer in enumerate(CATALOGUE)}

        def is_chosen(item: Item) -> bool:
            other_dtypes = [*dtypes[item.layer, item.device]][1:]
            sampling = facts_of(item.check).sampling
            if self.samples:
                rotated_dtypes, count = other_dtypes, sampling.sampled_extra_dtypes
            elif self.rotates_dtypes:
                rotated_dtypes, count = [d for d in other_dtypes if d in sampling.rotated_dtypes], 1
            else:
                rotated_dtypes, count = [], 0
            if item.dtype not in rotated_dtypes:
                return True
            rotation = (layer_index[item.layer] + seed) % len(rotated_dtypes)
            return item.dtype in [*rotated_dtypes[rotation:], *rotated_dtypes[:rotation]][:count]

        return tuple(filter(is_chosen, items))


PROFILES = {
    "smoke": Profile(40, rotates_dtypes=True),
    "quick": Profile(130, samples=True),
    "standard": Profile(200, rotates_dtypes=True),
    "thorough": Profile(4000),
}


def case_count(item: Item, examples: int) -> int:
    """How many cases an item has, by the profile's examples."""
    return math.ceil(item.drawn_count(examples) / item.step(examples))


def plan_items(
    backend: Backend,
    *,
    layers: Sequence[str],
    checks: Sequence[str],
    dtypes: Sequence[str],
    devices: Sequence[str],
    every_dtype: bool,
) -> tuple[Item, ...]:
    """Plan the items of a run; items of the same layer and dtype are adjacent.

    Args:
        backend: decides which layers it offers in which dtype, and which checks to exclude.
        layers, checks, dtypes, devices: names to combine.
        every_dtype: keep dtypes that the backend does not offer. Otherwise they are left out,
            unless a layer would then have no item at all.
    """
    items = []
    excluded_checks = unasked_of(backend)
    checks = [check for check in checks if check not in excluded_checks]
    for layer in layers:
        for device in devices:
            offered_dtypes = [
                d for d in dtypes if every_dtype or is_offered(backend, layer, d, device)
            ]
            items += [
                Item(layer, check, dtype, device)
                for dtype in offered_dtypes or dtypes[:1]
                for check in checks
                if EVERY_CHECK[check].applies(CATALOGUE[layer])
            ]
    return tuple(items)


def order_in_rounds(
    items: Sequence[Item], workers: int = 1, *, compiled: bool = False
) -> tuple[Item, ...]:
    """Order items dtype by dtype, so that a spent budget costs the last layers of one dtype.

    Layer by layer, it would cost whole layers in every dtype. A backend that compiles may not even
    finish the first dtype, so there the high-priority checks have their own round.

    Args:
        items: the items of a run.
        workers: number of workers that share the items. Each starts with a contiguous part, which
            holds every n-th layer.
        compiled: whether the backend compiles what it runs.
    """
    dtypes = list(dict.fromkeys(item.dtype for item in items))
    layers = {layer: k for k, layer in enumerate(dict.fromkeys(item.layer for item in items))}

    def sort_key(item: Item) -> tuple[int, ...]:
        worker, dtype = layers[item.layer] % workers, dtypes.index(item.dtype)
        if not compiled:
            return worker, dtype
        high_priority = facts_of(item.check).high_priority
        return worker, dtype > 0, not high_priority, dtype

    return tuple(sorted(items, key=sort_key))
