"""PoissonNLLLoss, GaussianNLLLoss, and their functions."""

from __future__ import annotations

from collections.abc import Iterator

from conformance.laws.loss import likelihood as laws
from conformance.layers.loss.parts import REDUCTION
from conformance.layers.loss.pointwise import (
    as_given,
    batch_of,
    every_axis,
    outputs,
    pair,
    pointwise,
    timed,
)
from conformance.model.case import Case
from conformance.oracles.loss import likelihood as oracle
from conformance.spec.layer_spec import Argument, Input, LayerSpec
from conformance.spec.state import Shape
from conformance.strategies.invalid.loss import likelihood as invalid
from conformance.strategies.invalid.loss.pointwise import broadcast_breaks
from conformance.strategies.loss import likelihood as cases

_POISSON = (
    "l = exp(x) - y x; log_input=False: l = x - y log(x + eps)",
    "full: + y log y - y + log(2 pi y) / 2 where y > 1",
)
_GAUSSIAN = ("l = (log v + (x - y)^2 / v) / 2, v = max(var, eps)", "full: + log(2 pi) / 2")
_FULL = Argument("full", False, other=True)


def _aligned(case: Case) -> list[Shape | None]:
    """The shapes, that of variances which lack the last axis with one of length 1."""
    first, *rest, var = as_given(case)
    if var is not None and first is not None and len(var) == len(first) - 1:
        var = (*var, 1)
    return [first, *rest, var]


def _poisson(name: str) -> LayerSpec:
    logarithms = Argument("log_input", True, other=False)
    return pointwise(
        name,
        "PoissonNLLLoss",
        cases.poisson,
        broadcast_breaks("batchmean"),
        values=oracle.poisson_nll_loss,
        shapes=oracle.poisson_nll_loss_shape,
        formula=_POISSON,
        laws=laws.POISSON,
        arguments=(logarithms, _FULL, Argument("eps", 1e-8, other=1e-4), REDUCTION),
        inputs=pair(signed=False),
        operations=4,
    )


def _gaussian(name: str) -> LayerSpec:
    numbers = (
        Input(x, batch_axis=batch_of(k, _aligned)) for k, x in enumerate(("input", "target"))
    )
    var = Input("var", "statistic", batch_axis=batch_of(2, _aligned), signed=False)
    return pointwise(
        name,
        "GaussianNLLLoss",
        cases.gaussian,
        invalid.gaussian_breaks(),
        values=oracle.gaussian_nll_loss,
        shapes=oracle.gaussian_nll_loss_shape,
        formula=_GAUSSIAN,
        laws=laws.GAUSSIAN,
        arguments=(_FULL, Argument("eps", 1e-6, other=1e-3), REDUCTION),
        inputs=(*numbers, var),
        outputs=outputs(_aligned),
        free=every_axis(_aligned),
        workloads=timed(name, 3),
        operations=6,
    )


def rows() -> Iterator[LayerSpec]:
    """The rows, in the order of torch's documentation."""
    for name in ("PoissonNLLLoss", "functional.poisson_nll_loss"):
        yield _poisson(name)
    for name in ("GaussianNLLLoss", "functional.gaussian_nll_loss"):
        yield _gaussian(name)
