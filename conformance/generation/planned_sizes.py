"""Sizes that some of the drawn cases get, so that no seed lacks them.

Two kinds of cases seldom arise by chance. A kernel takes another path for an option, and its last
block is wrong there: each value of each option needs a case with a large size. And an index of 16
bits ends at 65,536 elements: each tensor that can be so large at a low cost needs such a case.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from conformance.generation.block_sizes import (
    LARGE_SIZES,
    MAX_ELEMENTS,
    MAX_SIZE,
    SIZES,
    Dimension,
    dimensions,
    place_counts,
    set_large_size,
    set_sizes,
    shrink_all_sizes,
)
from conformance.model.case import Case
from conformance.model.checks import MAIN_DTYPE
from conformance.model.formats import FORMATS
from conformance.spec.layer_spec import LayerSpec

CANDIDATE_STEP = 4
"""Only every fourth case gets planned sizes, so that checks that skip cases have them too."""
EXAMPLES_PER_BLOCK_CASE = 25
MIN_EXAMPLES = 20
"""From this number of drawn cases on, some are large."""
LARGE_CANDIDATES = 4
"""How many cases are tried for each tensor that shall be large."""
FIRST_SIZES, SECOND_SIZE = (MAX_SIZE, MAX_SIZE - 1, MAX_SIZE - 2), 65
MANY_ELEMENTS = 65_536

Option = tuple[str, str]


@dataclass(frozen=True)
class Plan:
    """Sizes that one of the drawn cases gets.

    Args:
        sizes: dimension → its size.
        is_large: one tensor gets more than 65,536 elements, and all other sizes are as small as
            possible.
    """

    sizes: Mapping[str, int]
    is_large: bool = False

    def apply(self, spec: LayerSpec, case: Case) -> Case:
        """The case with these sizes; unchanged if it cannot have them."""
        if any(x.size == 0 for x in case.operands):
            return case
        if self.is_large:
            ((name, size),) = self.sizes.items()
            return set_large_size(spec, case, name, size) or case
        return set_sizes(spec, case, self.sizes) or case

    def smaller_plans(self) -> Iterator[Plan]:
        """Plans with a smaller first size and no second one, the smallest first, then this one."""
        name, size = next(iter(self.sizes.items()))
        yield from (
            Plan({name: smaller}, self.is_large)
            for smaller in (LARGE_SIZES if self.is_large else SIZES)
            if smaller < size
        )
        yield self


def plan_sizes(spec: LayerSpec, cases: Sequence[Case]) -> dict[int, Plan]:
    """Choose which of a layer's drawn cases get which sizes, by their indices."""
    candidates = {
        index: cases[index]
        for index in range(0, len(cases), CANDIDATE_STEP)
        if "tile" not in cases[index].labels and all(x.size for x in cases[index].operands)
    }
    has_large = spec.generation.has_large_cases and len(cases) >= MIN_EXAMPLES
    plans = _plan_large(spec, candidates) if has_large else {}
    left = {index: case for index, case in candidates.items() if index not in plans}
    return plans | _plan_blocks(spec, left, len(cases) // EXAMPLES_PER_BLOCK_CASE)


def _plan_blocks(spec: LayerSpec, cases: Mapping[int, Case], count: int) -> dict[int, Plan]:
    """Plan the largest block size, so that each value of an option meets it, in each dimension.

    At first one dimension is enough for a value. A second dimension gets a size above one block
    of 64.
    """
    if not count:
        return {}
    names = {
        index: tuple(x.name for x in dimensions(spec, case) if x.size <= x.max_size)
        for index, case in cases.items()
    }
    options = {index: _option_values(spec, case) for index, case in cases.items()}
    covered, plans = set[tuple[Option, str]](), dict[int, Plan]()
    left = {(index, name) for index in cases for name in names[index]}
    while left and len(plans) < count:
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
        second = {others[len(plans) % len(others)]: SECOND_SIZE} if others else {}
        plan = _feasible_plan(spec, cases[index], name, second)
        if plan is not None:
            plans[index] = plan
            covered |= pairs
            left = {key for key in left if key[0] != index}
    return plans


def _feasible_plan(
    spec: LayerSpec, case: Case, name: str, second: Mapping[str, int]
) -> Plan | None:
    """The plan of the largest size that a dimension can have; groups may have to divide it.

    The second size is left out where the case would be larger than those of one size.
    """
    for size in FIRST_SIZES:
        plan = Plan({name: size})
        changed = plan.apply(spec, case)
        if {x.name: x.size for x in dimensions(spec, changed)}.get(name, 0) <= SECOND_SIZE:
            continue
        both = Plan({name: size, **second})
        elements = sum(x.size for x in both.apply(spec, case).operands)
        return both if elements <= MAX_ELEMENTS[1] else plan
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


def _plan_large(spec: LayerSpec, cases: Mapping[int, Case]) -> dict[int, Plan]:
    """Plan cases that together are large in as many ways as possible.

    Each dtype gets one of the ways, the main dtype the first: a single case costs little.
    """
    ways = dict[tuple[int, str], frozenset[str]]()
    # First those with most tensors: indices are an output that an option adds.
    richest = sorted(cases, key=lambda index: -_count_tensors(spec, cases[index]))
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
        return {}
    dtype = next(iter(cases.values())).call.dtype
    place = 0
    if dtype != MAIN_DTYPE:
        further = range(1, len(order)) or range(1)
        place = further[(*FORMATS,).index(dtype) % len(further)] if dtype in FORMATS else 0
    index, name = order[place]
    return {index: Plan({name: LARGE_SIZES[-1]}, is_large=True)}


def _count_tensors(spec: LayerSpec, case: Case) -> int:
    return len(case.operands) + sum(shape is not None for shape in spec.output_shapes(case))


def large_ways(spec: LayerSpec, case: Case, dimension: Dimension) -> frozenset[str]:
    """What has more than 65,536 places if a dimension is large; empty if it cannot be."""
    if dimension.max_size < LARGE_SIZES[-1]:
        return frozenset()
    counts = place_counts(spec, case, dimension, LARGE_SIZES[-1]) or {}
    return frozenset(name for name, count in counts.items() if count > MANY_ELEMENTS)
