"""The part of Hypothesis's private interface that drawing uses, and its public substitute."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from functools import lru_cache

import hypothesis
from hypothesis import strategies

from conformance.model.scratch import scratch

NAME = "conformance"
"""Of the suite's own provider, as `hypothesis.settings(backend=...)` has it."""

PUBLIC = "hypothesis"
"""Of the provider that Hypothesis itself draws with."""

OTHERWISE = (
    "by the public interface of Hypothesis only: cases are others than this seed gives elsewhere, "
    "and may depend on what is imported"
)
"""What a results file says of cases that the suite's own provider did not draw."""

_HOME = "__hypothesis_home_directory"

try:
    from hypothesis.internal.conjecture import providers

    providers.HypothesisProvider._maybe_draw_constant  # noqa: B018 - it must be there

    class Provider(providers.HypothesisProvider):
        """Hypothesis's own draws without the constants it collects from the user's local modules.

        With them the same seed draws other cases in another directory or after one more import
        (Hypothesis ≥ 6.131.1).
        """

        def _maybe_draw_constant(self, *arguments: object, **keywords: object) -> None:
            return None

    # As text: Hypothesis takes a class since 6.141 at the earliest.
    providers.AVAILABLE_PROVIDERS[NAME] = f"{__name__}.Provider"
    _REGISTERED = True
except (ImportError, AttributeError, TypeError):
    _REGISTERED = False


@lru_cache(maxsize=1)
def drawing_provider() -> str:
    """The provider to draw with: the suite's own, or Hypothesis's where it cannot be had."""
    return NAME if _REGISTERED and _draws() else PUBLIC


def drawn_otherwise() -> str:
    """How cases are drawn, where the suite's own provider is not used; else empty."""
    return "" if drawing_provider() == NAME else OTHERWISE


def _draws() -> bool:
    """Whether Hypothesis draws with the suite's provider."""
    drawn = []

    def conformance_probe(x: int) -> None:
        drawn.append(x)

    try:
        settings = hypothesis.settings(
            backend=NAME, max_examples=1, database=None, deadline=None,
            phases=[hypothesis.Phase.generate], suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        with kept_elsewhere(), warnings.catch_warnings():
            # One draw is not slow, and pytest's plug-ins are where a run is planned.
            warnings.simplefilter("ignore", hypothesis.errors.HypothesisSideeffectWarning)
            hypothesis.seed(0)(
                settings(hypothesis.given(strategies.integers())(conformance_probe))
            )()
    except Exception:  # a later Hypothesis may refuse it in any way
        return False
    return bool(drawn)


@contextlib.contextmanager
def kept_elsewhere() -> Iterator[None]:
    """What Hypothesis keeps for later it would keep in the working directory.

    The user's own tests in the same process go on as they were.
    """
    try:
        from hypothesis import configuration

        move = configuration.set_hypothesis_home_dir
    except (ImportError, AttributeError):
        yield
        return
    before = vars(configuration).get(_HOME)
    if before is None and "HYPOTHESIS_STORAGE_DIRECTORY" not in os.environ:
        move(scratch("hypothesis"))
    try:
        yield
    finally:
        move(before)
