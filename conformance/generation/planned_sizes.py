"""Cases with planned sizes, so that no seed lacks them.

Two kinds of cases seldom arise by chance. A kernel takes another path for an option, and its last
block is wrong there: values of options need cases with a large size. And an index of 16 bits ends
at 65,536 elements: each tensor that can be so large at a low cost needs such a case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from conformance.generation.block_sizes import (
    MAX_ELEMENTS,
    MAX_SIZE,
    SIZES,
    Dimension,
    dimensions,
    is_block_case,
    set_sizes,
)
from conformance.generation.large_sizes import (
    LARGE_SIZES,
    place_counts,
    set_large_size,
    shrink_all_sizes,
)
from conformance.generation.variants import plainest
from conformance.model.case import Case
from conformance.model.checks import MAIN_DTYPE
from conformance.model.formats import FORMATS, round_to
from conformance.spec.layer_spec import LayerSpec

MAX_CANDIDATES = 12
"""About how many cases are looked at."""
BLOCK_CASES = 3
"""How many planned cases have block sizes, but at most every eighth case."""
EXAMPLES_PER_BLOCK_CASE = 16
"""Of many cases, one in so many has them."""
MIN_EXAMPLES = 3
"""From this number of drawn cases on, some are large."""
LARGE_CANDIDATES = 5
"""How many cases are tried for each tensor that shall be large."""
PARALLEL_SIZE = 2**15 + 1025
"""A size at which kernels use several threads: torch begins at 2¹⁵ elements."""
MAX_LARGE_SOURCES = 24
"""About how many cases are tried for the large cases of a check that has many."""
MAX_PUT_OFF = 4
"""How many cases are put off for those with rows of another axis."""
OUTLIER = 4.0
"""By how much at least a single number of some large cases exceeds all others."""
MIN_LARGE_CASES = 3
"""How many large cases a layer without options has, in a check that has many."""
FIRST_SIZES, SECOND_SIZE = (MAX_SIZE, MAX_SIZE - 1, MAX_SIZE - 2), 65
MANY_ELEMENTS = 65_536
_STREAM = 0x6F75746C

Option = tuple[str, str]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Plan:
    """Sizes that one of the drawn cases gets.

    Args:
        sizes: dimension → its size.
        is_large: one tensor gets more than 65,536 elements, and all other sizes are as small as
            possible.
        has_outlier: one number of a large tensor is larger than all others, so that parts of a row
            have different maxima.
    """

    sizes: Mapping[str, int]
    is_large: bool = False
    has_outlier: bool = False

    def apply(self, spec: LayerSpec, case: Case) -> Case:
        """The case with these sizes; unchanged if it cannot have them."""
        if any(x.size == 0 for x in case.operands):
            return case
        if self.is_large:
            ((name, size),) = self.sizes.items()
            large = set_large_size(spec, case, name, size)
            if large is None:
                return case
            return _with_outlier(spec, large) if self.has_outlier else large
        return set_sizes(spec, case, self.sizes, refill=True) or case

    def smaller_plans(self) -> Iterator[Plan]:
        """Plans with a smaller first size and no second one, the smallest first, then this one."""
        name, size = next(iter(self.sizes.items()))
        yield from (
            replace(self, sizes={name: smaller})
            for smaller in (LARGE_SIZES if self.is_large else SIZES)
            if smaller < size
        )
        yield self


@dataclass(frozen=True, eq=False)
class Planned:
    """A case with planned sizes, and the drawn one that it comes from."""

    case: Case
    plan: Plan
    source: Case


def kept_places(cases: Sequence[Case], count: int) -> Sequence[int]:
    """The indices of drawn cases that stay if `count` planned ones take the place of others.

    Those with drawn block sizes leave first, because they cost as much.
    """
    with_blocks = [k for k, case in enumerate(cases) if is_block_case(case)]
    last = [k for k in range(len(cases) - 1, -1, -1) if k not in with_blocks]
    removed = {*[*with_blocks, *last][:count]}
    return [k for k in range(len(cases)) if k not in removed]


def shrink_plan(
    spec: LayerSpec, planned: Planned, fails: Callable[[Case], Found | None]
) -> tuple[Case, Found] | None:
    """Find the smallest planned size of the plainest call that fails in the same way.

    No drawn case fails in this way, so Hypothesis has no smaller one to start from.
    """
    for source in (plainest(planned.source), planned.source):
        for plan in planned.plan.smaller_plans():
            case = plan.apply(spec, source)
            failure = fails(case)
            if failure is not None:
                return case, failure
    return None


def plan_cases(spec: LayerSpec, cases: Sequence[Case]) -> Sequence[Planned]:
    """Cases with planned sizes, to take the place of some of a layer's drawn cases.

    The last one is large, if the layer has large cases.
    """
    limit = spec.generation.max_planned_size
    if limit is not None and limit < MAX_SIZE:
        return ()
    candidates = [
        case
        for case in cases[:: max(len(cases) // MAX_CANDIDATES, 1)]
        if "tile" not in case.labels and all(x.size for x in case.operands)
    ]
    has_large = limit is None and len(cases) >= MIN_EXAMPLES
    large = _plan_large(spec, candidates) if has_large else None
    sources = [case for case in candidates if large is None or case is not large.source]
    count = max(min(BLOCK_CASES, len(cases) // 8), len(cases) // EXAMPLES_PER_BLOCK_CASE)
    return (*_plan_blocks(spec, sources, count), *([large] if large else []))


def plan_large_cases(spec: LayerSpec, cases: Sequence[Case], count: int) -> Sequence[Planned]:
    """Up to `count` cases that several threads compute: those with other options first."""
    limit = spec.generation.max_planned_size
    if limit is not None and limit < LARGE_SIZES[-1]:
        return ()
    sources = cases[:: max(len(cases) // MAX_LARGE_SOURCES, 1)]
    options = [_option_values(spec, x) | {("training", str(x.call.training))} for x in sources]
    has_rows = [bool(_row_axes(spec, x)) for x in sources]
    covered, planned, row_names = set[tuple[Option, str]](), list[Planned](), list[str]()
    left, put_off, spare = set(range(len(sources))), set[int](), list[tuple[Case, str]]()
    while left and len(planned) < count:
        # What can be large costs much to find out: that waits for where rows or options are new.
        met, needs_rows = {option for option, _ in covered}, len(row_names) < count // 2
        is_picky = needs_rows and len(put_off) < MAX_PUT_OFF
        hopeful = {k for k in left - put_off if has_rows[k]} if is_picky else set[int]()
        # The first with rows is as plain as the first case; then those with most new options.
        gains = {
            k: len(options[k] - met) if planned or not hopeful else len(options[k] & options[0])
            for k in hopeful or left
        }
        index = max(gains, key=lambda k: (gains[k], -k))
        source = sources[index]
        names = _large_names(spec, source)
        new = [x for x in names if not {(option, x) for option in options[index]} <= covered]
        rows = [x for x in new if x in _row_axes(spec, source)] if needs_rows else []
        if index in hopeful and set(rows) <= set(row_names):
            put_off.add(index)  # another may have rows of another axis
            continue
        left.remove(index)
        used = Counter(name for _, name in covered)
        # The plainest call has the most sizes that can be large.
        for name in sorted(rows or new, key=lambda x: used[x])[: 1 if planned else min(count, 2)]:
            large = _plan_one_large(spec, source, name, has_outlier=bool(rows))
            if large is not None:
                planned.append(large)
                covered |= {(option, name) for option in options[index]}
                row_names += [name] if rows else []
        if not new:
            spare += [(source, name) for name in names]
    missing = min(count, MIN_LARGE_CASES) - len(planned)
    others = [_plan_one_large(spec, *pair) for pair in spare[: max(missing, 0)]]
    return [*planned, *(x for x in others if x is not None)]


def _row_axes(spec: LayerSpec, case: Case) -> frozenset[str]:
    """The dimensions along which a kernel sums: that of the axis that an argument names.

    In train mode it may be any.
    """
    first, arguments = case.inputs[0], {**spec.signature.defaults, **case.call.arguments}
    if first is None:
        return frozenset()
    axes = [arguments[x.name] for x in spec.signature.arguments if x.axis and x.name in arguments]
    if case.call.training and spec.traits.train_and_eval_differ:
        axes += range(first.ndim)
    prefix = f"{spec.signature.input_names[0]}.shape"
    return frozenset(f"{prefix}[{k - first.ndim if k >= 0 else k}]" for k in axes if type(k) is int)


def _large_names(spec: LayerSpec, source: Case) -> list[str]:
    """The dimensions of a case that can be large."""
    if not all(x.size for x in source.operands):
        return []
    small = shrink_all_sizes(spec, source)
    return [x.name for x in dimensions(spec, small) if large_ways(spec, small, x)]


def _plan_one_large(
    spec: LayerSpec, source: Case, name: str, *, has_outlier: bool = False
) -> Planned | None:
    plan = Plan({name: PARALLEL_SIZE}, is_large=True, has_outlier=has_outlier)
    case = plan.apply(spec, source)
    return None if case is source else Planned(case, plan, source)


def _with_outlier(spec: LayerSpec, case: Case) -> Case:
    """The case with one number of its first input that is larger than all others by `OUTLIER`."""
    first = case.inputs[0]
    if first is None or first.dtype.kind != "f" or not spec.signature.inputs[0].any_value:
        return case
    largest = np.max(np.abs(first), initial=0.0, where=np.isfinite(first))
    changed = first.copy()
    place = np.random.default_rng((case.seed, _STREAM)).integers(first.size)
    changed.reshape(-1)[place] = round_to(largest + max(OUTLIER, largest / 8), case.call.dtype)
    inputs = tuple(changed if x is first else x for x in case.inputs)
    return replace(case, inputs=inputs)


def _plan_blocks(spec: LayerSpec, cases: Sequence[Case], count: int) -> Sequence[Planned]:
    """Plan the largest block size, so that it meets as many values of options as possible.

    Values that no planned case has yet come first, then those that lack it in a dimension. A second
    dimension gets a size above one block of 64.
    """
    names = [
        tuple(x.name for x in dimensions(spec, case) if x.size <= x.max_size) for case in cases
    ]
    options = [_option_values(spec, case) for case in cases]
    covered, planned = set[tuple[Option, str]](), list[Planned]()
    left = {(index, name) for index in range(len(cases)) for name in names[index]}
    while left and len(planned) < count:
        met = {option for option, _ in covered}
        index, name = best = max(
            sorted(left),
            key=lambda key: (
                len(options[key[0]] - met),
                len({(option, key[1]) for option in options[key[0]]} - covered),
            ),
        )
        pairs = {(option, name) for option in options[index]}
        if pairs <= covered:
            break
        left.remove(best)
        others = [x for x in names[index] if x != name]
        second = {others[len(planned) % len(others)]: SECOND_SIZE} if others else {}
        block_case = _plan_block(spec, cases[index], name, second)
        if block_case is not None:
            planned.append(block_case)
            covered |= pairs
            left = {key for key in left if key[0] != index}
    return planned


def _plan_block(
    spec: LayerSpec, source: Case, name: str, second: Mapping[str, int]
) -> Planned | None:
    """The case with the largest size that a dimension can have; groups may have to divide it.

    The second size is left out where the case would be larger than those of one size.
    """
    for size in FIRST_SIZES:
        for plan in (Plan({name: size, **second}), Plan({name: size})):
            case = plan.apply(spec, source)
            if case is source:
                break
            is_small = sum(x.size for x in case.operands) <= MAX_ELEMENTS[1]
            is_long = {x.name: x.size for x in dimensions(spec, case)}.get(name, 0) > SECOND_SIZE
            if is_long and (is_small or len(plan.sizes) == 1):
                return Planned(case, plan, source)
    return None


def _option_values(spec: LayerSpec, case: Case) -> frozenset[Option]:
    """What may decide a kernel's path: flags, words, and whether an argument or input is given."""
    arguments = {**spec.signature.defaults, **spec.oracle_arguments(case)}
    values = set[Option]()
    for name, value in arguments.items():
        argument = spec.signature.argument(name)
        if argument is None or argument.size:
            continue
        is_word = isinstance(value, (bool, str))
        differs = value is not None and value != spec.signature.defaults.get(name)
        values.add((name, str(value) if is_word else "given" if differs else "default"))
    for input_spec, x in zip(spec.signature.inputs, case.inputs, strict=False):
        if input_spec.optional:
            values.add((input_spec.name, "absent" if x is None else x.dtype.kind))
    return frozenset(values)


def _plan_large(spec: LayerSpec, cases: Sequence[Case]) -> Planned | None:
    """A case that is large in one of the ways that together are as many as possible.

    Each dtype gets one of the ways, the main dtype the first: a single case costs little.
    """
    ways = dict[tuple[int, str], frozenset[str]]()
    # First those with most tensors: indices are an output that an option adds.
    richest = sorted(range(len(cases)), key=lambda index: -_count_tensors(spec, cases[index]))
    for index in richest[:LARGE_CANDIDATES]:
        small = shrink_all_sizes(spec, cases[index])
        for dimension in dimensions(spec, small):
            large = large_ways(spec, small, dimension)
            if large:
                ways[index, dimension.name] = large | {dimension.name}
    order, covered = list[tuple[int, str]](), frozenset[str]()
    while ways:
        best = max(ways, key=lambda key: (len(ways[key] - covered), -key[0]))
        covered |= ways[best]
        order.append(best)
        ways = {key: way for key, way in ways.items() if best[0] != key[0] and best[1] != key[1]}
    if not order:
        return None
    dtype, place = cases[0].call.dtype, 0
    others = [name for name in FORMATS if name != MAIN_DTYPE]
    if dtype in others and len(order) > 1:
        place = 1 + others.index(dtype) % (len(order) - 1)
    index, name = order[place]
    plan = Plan({name: LARGE_SIZES[-1]}, is_large=True)
    return Planned(plan.apply(spec, cases[index]), plan, cases[index])


def _count_tensors(spec: LayerSpec, case: Case) -> int:
    return len(case.operands) + sum(shape is not None for shape in spec.output_shapes(case))


def large_ways(spec: LayerSpec, case: Case, dimension: Dimension) -> frozenset[str]:
    """What has more than 65,536 places if a dimension is large; empty if it cannot be."""
    if dimension.max_size < LARGE_SIZES[-1]:
        return frozenset()
    counts = place_counts(spec, case, dimension, LARGE_SIZES[-1]) or {}
    return frozenset(name for name, count in counts.items() if count > MANY_ELEMENTS)
