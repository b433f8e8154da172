"""Drawing cases, the same for a seed everywhere, and shrinking a failing one."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from functools import lru_cache

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Flaky
from hypothesis.internal.conjecture import providers

from .case import Case
from .catalogue import CATALOGUE
from .trial import Failure


class _Provider(providers.HypothesisProvider):
    """Hypothesis's own draws without the constants it collects from the user's local modules.

    With them the same seed draws other cases in another directory or after one more import
    (Hypothesis ≥ 6.131).
    """

    def _maybe_draw_constant(self, *arguments: object, **keywords: object) -> None:
        return None


providers.AVAILABLE_PROVIDERS["conformance"] = _Provider


def derived_seed(seed: int, layer: str, dtype: str) -> int:
    """The seed of a layer's cases; check, device and backend do not enter, so all see the same."""
    digest = hashlib.sha256(f"{seed}/{layer}/{dtype}".encode()).digest()
    return int.from_bytes(digest[:8], "big")


def _run(
    layer: str,
    dtype: str,
    examples: int,
    seed: int,
    body: Callable[[Case], None],
    *,
    shrink: bool,
    invalid: bool,
) -> None:
    phases = [Phase.generate, Phase.shrink] if shrink else [Phase.generate]
    settings = hypothesis.settings(
        max_examples=examples,
        backend="conformance",
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

    row = CATALOGUE[layer]
    strategy = row.invalid if invalid else row.cases
    assert strategy is not None
    test = hypothesis.given(strategy(dtype))(conformance_case)
    test = hypothesis.seed(derived_seed(seed, layer, dtype))(settings(test))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", hypothesis.errors.NonInteractiveExampleWarning)
        test()


# Neighbouring items are the checks of one layer and dtype: two streams are enough.
@lru_cache(maxsize=2)
def draw_cases(
    layer: str, dtype: str, examples: int, seed: int, *, invalid: bool = False
) -> tuple[Case, ...]:
    """The cases of a layer and dtype.

    Args:
        layer: a name of the catalogue.
        dtype: torch's name of the dtype.
        examples: how many.
        seed: the run's seed.
        invalid: calls that must be refused, instead of valid ones.
    """
    cases: list[Case] = []
    _run(layer, dtype, examples, seed, cases.append, shrink=False, invalid=invalid)
    return tuple(cases[:examples])


def shrink(
    layer: str,
    dtype: str,
    examples: int,
    seed: int,
    first: int,
    fails: Callable[[Case], Failure | None],
    *,
    invalid: bool = False,
) -> tuple[Case, Failure] | None:
    """The plainest failing case that Hypothesis finds from the first failing one.

    Args:
        layer, dtype, examples, seed, invalid: as given to `draw_cases`.
        first: index of the first failing case; those before it are known to pass.
        fails: runs the check on a case, and returns its failure.

    Returns:
        The minimal case and its failure; None if nothing failed this time.
    """
    found: list[tuple[Case, Failure]] = []
    drawn = 0

    def body(case: Case) -> None:
        nonlocal drawn
        drawn += 1
        if drawn <= first:
            return
        failure = fails(case)
        if failure is not None:
            found.append((case, failure))
            raise failure from None

    try:
        _run(layer, dtype, examples, seed, body, shrink=True, invalid=invalid)
    except (Failure, Flaky):
        # Hypothesis's last call is the minimal one.
        return found[-1] if found else None
    return None
