"""PoissonNLLLoss, GaussianNLLLoss, and their functions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from conformance.laws.loss import likelihood as laws
from conformance.layers.loss import pointwise
from conformance.layers.loss.parts import REDUCTION
from conformance.layers.loss.pointwise import (
    batch_axis_of,
    independent_axes,
    input_and_target,
    input_shapes,
)
from conformance.model.case import Case, is_function
from conformance.oracles.loss import likelihood as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Traits
from conformance.spec.signature import Argument, Input
from conformance.spec.state import Shape
from conformance.strategies.invalid.loss import likelihood as invalid
from conformance.strategies.invalid.loss.pointwise import broadcast_breaks
from conformance.strategies.loss import likelihood as cases

_POISSON = (
    "l = exp(x) - y x; log_input=False: l = x - y log(x + eps)",
    "full: + y log y - y + log(2 pi y) / 2 where y > 1",
)
_GAUSSIAN = ("l = (log v + (x - y)^2 / v) / 2, v = max(var, eps)", "full: + log(2 pi) / 2")
_FULL = Argument("full", False, alternative=True)


def _aligned_shapes(case: Case) -> list[Shape | None]:
    """The input shapes; variances without the last axis get one of length 1."""
    first, *middle, var = input_shapes(case)
    if var is not None and first is not None and len(var) == len(first) - 1:
        var = (*var, 1)
    return [first, *middle, var]


def _poisson_spec(name: str) -> LayerSpec:
    logarithms = Argument("log_input", True, alternative=False)
    eps = Argument("eps", 1e-8, alternative=1e-4)
    return LayerSpec(
        name,
        "loss",
        signature=pointwise.signature(
            input_and_target(signed=False), (logarithms, _FULL, eps, REDUCTION)
        ),
        oracle=pointwise.oracle(
            "PoissonNLLLoss" if is_function(name) else None,
            oracle.poisson_nll_loss,
            _POISSON,
        ),
        generation=pointwise.generation(name, cases.poisson_losses, broadcast_breaks("batchmean")),
        variation=pointwise.VARIATION,
        laws=laws.POISSON,
        benchmark=pointwise.benchmark(name, 4),
    )


def _clamps_variance(case: Case) -> bool:
    """Whether var is below eps: gradients ignore that it is clamped."""
    var = case.inputs[2]
    return var is not None and bool(np.any(var <= case.call.arguments.get("eps", 1e-6)))


def _gaussian_spec(name: str) -> LayerSpec:
    operands = (
        Input(x, batch_axis=batch_axis_of(k, _aligned_shapes))
        for k, x in enumerate(("input", "target"))
    )
    var = Input("var", "statistic", batch_axis=batch_axis_of(2, _aligned_shapes), any_value=False)
    eps = Argument("eps", 1e-6, alternative=1e-3)
    return LayerSpec(
        name,
        "loss",
        signature=pointwise.signature(
            (*operands, var), (_FULL, eps, REDUCTION), pointwise.loss_outputs(_aligned_shapes)
        ),
        oracle=pointwise.oracle(
            "GaussianNLLLoss" if is_function(name) else None,
            oracle.gaussian_nll_loss,
            _GAUSSIAN,
            shapes=oracle.gaussian_nll_loss_shape,
        ),
        generation=pointwise.generation(name, cases.gaussian_losses, invalid.gaussian_breaks()),
        variation=Variation(independent_axes=independent_axes(_aligned_shapes)),
        traits=Traits(overrides_derivative=_clamps_variance),
        laws=laws.GAUSSIAN,
        benchmark=pointwise.benchmark(name, 6, operands=3),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """Each loss as a module and as a function."""
    for name in ("PoissonNLLLoss", "functional.poisson_nll_loss"):
        yield _poisson_spec(name)
    for name in ("GaussianNLLLoss", "functional.gaussian_nll_loss"):
        yield _gaussian_spec(name)
