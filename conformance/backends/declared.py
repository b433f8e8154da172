"""What a backend says of itself by its optional members."""

from __future__ import annotations

import dataclasses

from conformance.backends.registry import BackendError
from conformance.model.case import Numerics
from conformance.model.describe import written
from conformance.model.finding import raised, returned
from conformance.model.protocols import Backend
from conformance.run.budget import parse
from conformance.run.trial import Failure

# A case takes 0.1 s at most in all checks together (measured on torch: LSTM 0.1, Linear 0.02), a
# loaded machine ten times as long; the rest is room for what is merely slow.
TIMEOUT, DOZEN, SLOW_MACHINE = 30, 12, 10


def numerics_of(backend: Backend, dtype: str) -> Numerics | None:
    """What a backend declares of its arithmetic, None where it offers no `numerics`.

    Raises:
        Failure: if it raises, or returns something else.
    """
    declare = getattr(backend, "numerics", None)
    if declare is None:
        return None
    try:
        declared = declare(dtype)
    except Exception as error:
        raise Failure(raised(f"numerics({dtype!r})", error, written(error))) from error
    if declared is not None and not isinstance(declared, Numerics):
        expected = "a conformance.Numerics"
        raise Failure(returned(f"numerics({dtype!r})", repr(declared), expected))
    return declared


def declared(backend: Backend, dtype: str) -> dict[str, str]:
    """Declared deviations of a backend from IEEE arithmetic in a dtype, by field.

    Args:
        backend: asked.
        dtype: torch's name of the dtype.
    """
    try:
        declared = numerics_of(backend, dtype)
    except Failure as failure:
        return {"error": str(failure)}
    usual = Numerics()
    return {
        field.name: str(getattr(declared, field.name))
        for field in dataclasses.fields(Numerics)
        if declared is not None and getattr(declared, field.name) != getattr(usual, field.name)
    }


def values_per_structure(backend: Backend) -> int:
    """How many cases share their shapes and arguments: the dearer these are, the more.

    A backend says by `compile_seconds` what a call of a new structure costs it, beyond the call.

    Args:
        backend: asked.
    """
    seconds = float(getattr(backend, "compile_seconds", 0.0))
    # A case costs some 10 ms otherwise (measured on torch: 2 ms a check for Linear, 3 for Conv2d,
    # 12 for LSTM). More than ten cases alike would leave a run too few structures.
    return max(1, min(10, round(seconds / 0.01)))


def budget_of(backend: Backend) -> str | None:
    """What a run may take where the user does not say, as `--conformance-budget` has it.

    A backend says so by `budget`, where its structures are too dear for a full run.

    Args:
        backend: asked.

    Raises:
        BackendError: if it is no budget.
    """
    declared = getattr(backend, "budget", None)
    if declared is None:
        return None
    try:
        parse(str(declared), 1, 1)
    except ValueError as error:
        raise BackendError(f"backend {backend.name!r}: budget={declared!r}: {error}") from None
    return str(declared)


def timeout_of(backend: Backend) -> int:
    """Seconds that one case may take where the user does not say.

    Args:
        backend: asked for its `timeout`, if calls themselves are slow, and its `compile_seconds`.
    """
    return int(getattr(backend, "timeout", TIMEOUT)) + round(SLOW_MACHINE * compiling(backend))


def base_of(backend: Backend, layer: str) -> str:
    """The backend whose kernels a layer inherits; empty for none.

    Args:
        backend: asked for its `base`, and whether it `inherits(layer)` from torch.
        layer: name of the layer.

    Raises:
        BackendError: if it is no name.
    """
    base = getattr(backend, "base", None)
    if base is None:
        inherits = getattr(backend, "inherits", None)
        base = "torch" if inherits is not None and inherits(layer) else ""
    if not isinstance(base, str):
        raise BackendError(
            f"backend {backend.name!r}: base={base!r}: "
            "expected the name of a backend, such as 'torch'"
        )
    return "" if base == backend.name else base


def accepted_by(backend: Backend) -> tuple[str, ...]:
    """The broken constraints that a backend accepts on purpose, as globs.

    Args:
        backend: asked for its `accepts`.

    Raises:
        BackendError: if these are no strings.
    """
    named = getattr(backend, "accepts", ())
    patterns = (named,) if isinstance(named, str) else tuple(named) if _several(named) else (named,)
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise BackendError(
            f"backend {backend.name!r}: accepts={named!r}: expected names of broken constraints, "
            "such as ('negative padding',)"
        )
    return patterns


def _several(named: object) -> bool:
    return isinstance(named, (tuple, list, set, frozenset))


def compiling(backend: Backend) -> float:
    """Seconds that a check of one case may spend on compiling.

    A check builds up to a dozen layers besides the case's own, each perhaps of a new structure.

    Args:
        backend: asked for its `compile_seconds`.
    """
    return DOZEN * float(getattr(backend, "compile_seconds", 0.0))


def offered(backend: Backend, layer: str, dtype: str, device: str) -> bool:
    """Whether a backend says that it has the layer; True where it says nothing."""
    offers = getattr(backend, "offers", None)
    return True if offers is None else bool(offers(layer, dtype, device))
