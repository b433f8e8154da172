"""The private interface of Hypothesis that drawing uses, and the public substitute for it."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from functools import lru_cache

import hypothesis
from hypothesis import strategies

from conformance.model.scratch import scratch_folder

PROVIDER_NAME = "conformance"
"""Name of the suite's own provider, for `hypothesis.settings(backend=...)`."""

PUBLIC_PROVIDER = "hypothesis"
"""Name of Hypothesis's default provider."""

DRAWN_PUBLICLY = (
    "by the public interface of Hypothesis only: cases are others than this seed gives elsewhere, "
    "and may depend on what is imported"
)
"""Note in a results file if the suite's own provider did not draw the cases."""

_HOME_DIRECTORY = "__hypothesis_home_directory"

try:
    from hypothesis.internal.conjecture import providers

    providers.HypothesisProvider._maybe_draw_constant  # noqa: B018 - it must exist

    class Provider(providers.HypothesisProvider):
        """Hypothesis's draws without the constants that it collects from the user's modules.

        With those constants, the cases of a seed would depend on the working directory and on
        imports (Hypothesis ≥ 6.131.1).
        """

        def _maybe_draw_constant(self, *arguments: object, **keywords: object) -> None:
            return None

    # As text, because Hypothesis before 6.141 does not accept a class.
    providers.AVAILABLE_PROVIDERS[PROVIDER_NAME] = f"{__name__}.Provider"
    _REGISTERED = True
except (ImportError, AttributeError, TypeError):
    _REGISTERED = False


@lru_cache(maxsize=1)
def drawing_provider() -> str:
    """The provider to draw with: the suite's own if Hypothesis supports it, else the default."""
    return PROVIDER_NAME if _REGISTERED and _provider_works() else PUBLIC_PROVIDER


def describe_other_drawing() -> str:
    """The note for results if the suite's own provider is not used; else empty."""
    return "" if drawing_provider() == PROVIDER_NAME else DRAWN_PUBLICLY


def _provider_works() -> bool:
    """Whether Hypothesis draws with the suite's provider."""
    drawn = []

    def conformance_probe(x: int) -> None:
        drawn.append(x)

    try:
        settings = hypothesis.settings(
            backend=PROVIDER_NAME, max_examples=1, database=None, deadline=None,
            phases=[hypothesis.Phase.generate], suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        with storage_elsewhere(), warnings.catch_warnings():
            # Hypothesis warns of draws while pytest loads plug-ins, but this single draw is fast.
            warnings.simplefilter("ignore", hypothesis.errors.HypothesisSideeffectWarning)
            hypothesis.seed(0)(
                settings(hypothesis.given(strategies.integers())(conformance_probe))
            )()
    except Exception:  # a later Hypothesis may refuse it in any way
        return False
    return bool(drawn)


@contextlib.contextmanager
def storage_elsewhere() -> Iterator[None]:
    """Move Hypothesis's storage from the working directory to a temporary folder.

    The former place is restored afterwards, for the user's own tests in this process.
    """
    try:
        from hypothesis import configuration

        set_home = configuration.set_hypothesis_home_dir
    except (ImportError, AttributeError):
        yield
        return
    previous = vars(configuration).get(_HOME_DIRECTORY)
    if previous is None and "HYPOTHESIS_STORAGE_DIRECTORY" not in os.environ:
        set_home(scratch_folder("hypothesis"))
    try:
        yield
    finally:
        set_home(previous)
