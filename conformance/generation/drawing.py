"""Draw cases that depend on the seed only, and shrink a failing one."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Flaky

from conformance.generation.argument_columns import cover_values
from conformance.generation.block_sizes import with_block_sizes
from conformance.generation.cache import CacheOfOneLayer
from conformance.generation.cases import MANY_CASES, MEMORY_LIMIT, MEMORY_LIMIT_OF_MANY, StoredCases
from conformance.generation.provider import drawing_provider, storage_elsewhere
from conformance.generation.variants import permuted, plainest
from conformance.layers import CATALOGUE
from conformance.model.case import Case
from conformance.model.failure import Failure

Found = TypeVar("Found")
"""A description of how a case fails."""


@dataclass(frozen=True)
class Sample:
    """Parameters that decide which cases are drawn.

    Args:
        layer, dtype: the layer and dtype of the cases.
        examples: how many cases to draw.
        seed: the run's seed.
        invalid: draw invalid calls instead of valid ones.
        values: approximate number of cases that share a structure and differ only in the order and
            signs of their elements. Every value of every argument is kept. An invalid structure
            has one case.
        round: see `derived_seed`.
    """

    layer: str
    dtype: str
    examples: int
    seed: int
    invalid: bool = False
    values: int = 1
    round: int = 0


def derived_seed(seed: int, layer: str, dtype: str, round: int = 0) -> int:
    """The seed of a layer's cases; they are the same for every check, device and backend.

    Args:
        seed: the run's seed.
        round: 0 for the cases that every backend gets; a backend that declines some of them also
            gets later rounds.
    """
    round_suffix = f"/{round}" if round else ""
    digest = hashlib.sha256(f"{seed}/{layer}/{dtype}{round_suffix}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def _run(sample: Sample, body: Callable[[Case], None], *, shrink: bool) -> None:
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    settings = hypothesis.settings(
        max_examples=sample.examples,
        backend=drawing_provider(),
        database=None,
        deadline=None,
        derandomize=False,
        phases=phases,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
    )

    def conformance_case(case: Case) -> None:
        body(case)

    spec = CATALOGUE[sample.layer]
    if sample.invalid:
        assert spec.generation.invalid is not None
        strategy = spec.generation.invalid(sample.dtype)
    else:
        strategy = with_block_sizes(spec, spec.generation.cases(sample.dtype))
    test = hypothesis.given(strategy)(conformance_case)
    seed = derived_seed(sample.seed, sample.layer, sample.dtype, sample.round)
    test = hypothesis.seed(seed)(settings(test))
    with warnings.catch_warnings(), storage_elsewhere():
        warnings.simplefilter("ignore", hypothesis.errors.NonInteractiveExampleWarning)
        test()


@CacheOfOneLayer
def _draw_all(
    layer: str, dtype: str, examples: int, seed: int, invalid: bool, round: int
) -> Sequence[Case]:
    # All rounds are kept at the same time, so later ones get less memory.
    cases = StoredCases(
        MEMORY_LIMIT if examples <= MANY_CASES and not round else MEMORY_LIMIT_OF_MANY
    )

    def add(case: Case) -> None:
        if len(cases) < examples:
            cases.add(case)

    sample = Sample(layer, dtype, examples, seed, invalid, round=round)
    _run(sample, add, shrink=False)
    return cases


@CacheOfOneLayer
def _covering_cases(
    layer: str, dtype: str, examples: int, seed: int, invalid: bool, round: int, values: int
) -> tuple[tuple[int, ...], int]:
    """Indices of the drawn cases whose structures are kept, and the number of cases for each."""
    cases = _draw_all(layer, dtype, examples, seed, invalid, round)
    kept_indices = cover_values(cases, -(-examples // values))
    return kept_indices, 1 if invalid else -(-examples // max(len(kept_indices), 1))


@CacheOfOneLayer
def draw_cases(
    layer: str,
    dtype: str,
    examples: int,
    seed: int,
    *,
    invalid: bool = False,
    values: int = 1,
    round: int = 0,
) -> Sequence[Case]:
    """The cases of a layer and dtype.

    Args:
        examples, seed, invalid, values, round: see `Sample`.
    """
    drawn = _draw_all(layer, dtype, examples, seed, invalid, round)
    if values == 1:
        return drawn
    kept_indices, cases_per_structure = _covering_cases(
        layer, dtype, examples, seed, invalid, round, values
    )
    cases = StoredCases(MEMORY_LIMIT if examples <= MANY_CASES else MEMORY_LIMIT_OF_MANY)
    for index in kept_indices:
        for k in range(cases_per_structure):
            if len(cases) < examples:
                cases.add(permuted(drawn[index], k))
    return cases


@CacheOfOneLayer
def make_plain_cases(
    layer: str, dtype: str, examples: int, seed: int, values: int = 1
) -> Sequence[Case]:
    """The plainest variants of the valid cases that `draw_cases` returns, in their order."""
    cases = StoredCases(MEMORY_LIMIT_OF_MANY)
    for case in draw_cases(layer, dtype, examples, seed, values=values):
        cases.add(plainest(case))
    return cases


def shrink(
    sample: Sample,
    first: int,
    fails: Callable[[Case], Found | None],
    vary: Callable[[Case], Case] | None = None,
) -> tuple[Case, Found] | None:
    """Let Hypothesis shrink the first failing case.

    Args:
        sample: the parameters of the draw.
        first: index of the first failing case; all cases before it pass.
        fails: returns how a case fails; None if it does not fail in the way in question.
        vary: returns the case to try instead of a drawn one; None = the drawn one.

    Returns:
        The minimal case and how it fails; None if no case failed this time.
    """
    failing: list[tuple[Case, Found]] = []
    drawn, structure, variant = 0, first, 0
    if sample.values > 1:
        kept_indices, cases_per_structure = _covering_cases(
            sample.layer, sample.dtype, sample.examples, sample.seed, sample.invalid,
            sample.round, sample.values,
        )  # fmt: skip
        structure_index, variant = divmod(first, cases_per_structure)
        structure = kept_indices[structure_index]

    def body(case: Case) -> None:
        nonlocal drawn
        drawn += 1
        if drawn <= structure:
            return
        case = permuted(case, variant)
        if vary is not None:
            case = vary(case)
        failure = fails(case)
        if failure is not None:
            failing.append((case, failure))
            raise Failure("it fails")

    try:
        _run(sample, body, shrink=True)
    except (Failure, Flaky):
        # Hypothesis's last call is the minimal one.
        return failing[-1] if failing else None
    return None
