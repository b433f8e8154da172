"""KLDivLoss, BCELoss, BCEWithLogitsLoss, PoissonNLLLoss, GaussianNLLLoss, and their functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from conformance.laws import loss_binary as binary_laws
from conformance.laws import loss_likelihood as laws
from conformance.laws.law import Law
from conformance.layers.loss_pointwise import (
    as_given,
    batch_of,
    every_axis,
    flops,
    outputs,
    timed,
)
from conformance.layers.propagation import Propagation, computed
from conformance.layers.row import Argument, Arguments, Input, Row, Traits
from conformance.layers.state import Shape, StateTensor
from conformance.layers.workload import Filling
from conformance.model.case import Case, is_function
from conformance.oracles import loss_binary as binary
from conformance.oracles import loss_divergence as divergence
from conformance.oracles import loss_likelihood as likelihood
from conformance.strategies import loss_binary as binary_cases
from conformance.strategies import loss_divergence as divergence_cases
from conformance.strategies import loss_likelihood as cases
from conformance.strategies.invalid import loss_probabilities as invalid
from conformance.strategies.invalid.breaks import Break, invalid_cases

_REDUCTION = Argument("reduction", "mean", other="sum")
_REDUCED = ("mean: sum_n l_n / n", "sum: sum_n l_n")


def _scale(name: str, arguments: Mapping[str, Any]) -> float:
    return 1.0


def _probabilities(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    """Eighths that are neither 0 nor 1."""
    return generator.integers(1, 8, shapes[0]) / 8


def _binary_state(names: tuple[str, ...]) -> Callable[[Arguments, Shape], tuple[StateTensor, ...]]:
    """Weights of the last axis, where the constructor takes them."""

    def weights(arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
        return tuple(
            StateTensor(name, input[-1:], buffer=True, constraint="positive") for name in names
        )

    return weights


def _row(
    name: str,
    made: Callable[[str, str], Any],
    values: Callable[..., Any],
    shapes: Callable[..., Any],
    formula: tuple[str, ...],
    breaks: tuple[Break, ...],
    found: tuple[Law, ...],
    operations: int,
    *,
    arguments: tuple[Argument, ...] = (_REDUCTION,),
    inputs: tuple[Input, ...] = (),
    module: str = "",
    constructed: tuple[str, ...] = (),
    **facts: Any,
) -> Row:
    function = is_function(name)
    valid = partial(made, name)
    given: dict[str, Any] = {
        "outputs": outputs(),
        "free": every_axis(),
        "propagation": Propagation(computed.expected, parameters=False),
        "workloads": timed(name, 2),
        "filling": Filling(contraction=False, scale=_scale, made={"target": _probabilities}),
        **facts,
    }
    return Row(
        name,
        "loss",
        arguments,
        inputs,
        cases=valid,
        values=values,
        shapes=shapes,
        formula=(*formula, *_REDUCED),
        module=module if function else None,
        complex=False,
        invalid=invalid_cases(valid, breaks, constructed),
        laws=found,
        traits=Traits(placed=False),
        constructor_tensors=constructed,
        flops=flops(operations),
        examples=0.25 if function else 0.5,
        **given,
    )


def _pair(*, signed: bool) -> tuple[Input, Input]:
    """Input and target, which is a probability or a count."""
    first = Input("input", batch_axis=batch_of(0), signed=signed)
    return first, Input("target", "target", batch_axis=batch_of(1), signed=False)


def _divergences() -> Iterator[Row]:
    arguments = (_REDUCTION, Argument("log_target", False, other=True))
    formula = ("l = y (log y - x)", "log_target: l = exp(y) (y - x)", "batchmean: sum l / N")
    for name in ("KLDivLoss", "functional.kl_div"):
        yield _row(
            name,
            divergence_cases.divergences,
            divergence.kl_div,
            divergence.kl_div_shape,
            formula,
            invalid.divergence_breaks(),
            laws.DIVERGENCE,
            4,
            arguments=arguments,
            inputs=_pair(signed=True),
            module="KLDivLoss",
        )


def _weight(name: str, place: int, *, by_name: bool) -> Input:
    return Input(
        name,
        "weight",
        optional=True,
        batch_axis=batch_of(place),
        differentiable=False,
        by_name=by_name,
        signed=False,
    )


def _binaries() -> Iterator[Row]:
    formula = ("l = -w (y log x + (1 - y) log(1 - x)), no logarithm below -100",)
    for name in ("BCELoss", "functional.binary_cross_entropy"):
        function = is_function(name)
        pair = _pair(signed=False)
        constructed: tuple[str, ...] = () if function else ("weight",)
        yield _row(
            name,
            binary_cases.binary,
            binary.binary_cross_entropy if function else binary.bce_loss,
            binary.binary_shape if function else binary.bce_shape,
            formula,
            invalid.binary_breaks(),
            binary_laws.PROBABILITIES,
            6,
            inputs=(*pair, _weight("weight", 2, by_name=False)) if function else pair,
            module="BCELoss",
            constructed=constructed,
            state=_binary_state(constructed),
            # NaN and infinities are no probabilities.
            propagation=Propagation(computed.expected, roles=("weight",)),
            filling=Filling(
                contraction=False,
                scale=_scale,
                made={"input": _probabilities, "target": _probabilities},
            ),
        )
    formula = ("l = -w (p y log s(x) + (1 - y) log(1 - s(x))), s(x) = 1 / (1 + exp(-x))",)
    for name in ("BCEWithLogitsLoss", "functional.binary_cross_entropy_with_logits"):
        function = is_function(name)
        pair = _pair(signed=True)
        weights = (
            _weight("weight", 2, by_name=False),
            _weight("pos_weight", 3, by_name=True),
        )
        constructed = () if function else ("weight", "pos_weight")
        yield _row(
            name,
            binary_cases.binary_with_logits,
            binary.binary_cross_entropy_with_logits if function else binary.bce_with_logits_loss,
            binary.binary_shape if function else binary.bce_shape,
            formula,
            invalid.logits_breaks(),
            binary_laws.LOGITS,
            6,
            inputs=(*pair, *weights) if function else pair,
            module="BCEWithLogitsLoss",
            constructed=constructed,
            state=_binary_state(constructed),
        )


def _variances_aligned(case: Case) -> list[Shape | None]:
    """The shapes, that of variances which lack the last axis with one of length 1."""
    first, *rest, var = as_given(case)
    if var is not None and first is not None and len(var) == len(first) - 1:
        var = (*var, 1)
    return [first, *rest, var]


def _likelihoods() -> Iterator[Row]:
    arguments: tuple[Argument, ...] = (
        Argument("log_input", True, other=False),
        Argument("full", False, other=True),
        Argument("eps", 1e-8, other=1e-4),
        _REDUCTION,
    )
    formula = (
        "l = exp(x) - y x; log_input=False: l = x - y log(x + eps)",
        "full: + y log y - y + log(2 pi y) / 2 where y > 1",
    )
    for name in ("PoissonNLLLoss", "functional.poisson_nll_loss"):
        yield _row(
            name,
            cases.poisson,
            likelihood.poisson_nll_loss,
            likelihood.poisson_nll_loss_shape,
            formula,
            invalid.poisson_breaks(),
            laws.POISSON,
            4,
            arguments=arguments,
            inputs=_pair(signed=False),
            module="PoissonNLLLoss",
        )
    arguments = (
        Argument("full", False, other=True),
        Argument("eps", 1e-6, other=1e-3),
        _REDUCTION,
    )
    formula = (
        "l = (log v + (x - y)^2 / v) / 2, v = max(var, eps)",
        "full: + log(2 pi) / 2",
    )
    axes = _variances_aligned
    numbers = tuple(
        Input(x, batch_axis=batch_of(k, axes)) for k, x in enumerate(("input", "target"))
    )
    var = Input("var", "statistic", batch_axis=batch_of(2, axes), signed=False)
    for name in ("GaussianNLLLoss", "functional.gaussian_nll_loss"):
        yield _row(
            name,
            cases.gaussian,
            likelihood.gaussian_nll_loss,
            likelihood.gaussian_nll_loss_shape,
            formula,
            invalid.gaussian_breaks(),
            laws.GAUSSIAN,
            6,
            arguments=arguments,
            inputs=(*numbers, var),
            module="GaussianNLLLoss",
            outputs=outputs(axes),
            free=every_axis(axes),
            workloads=timed(name, 3),
            filling=Filling(contraction=False, scale=_scale),
        )


def rows() -> Iterator[Row]:
    """The rows, in the order of torch's documentation."""
    yield from _divergences()
    yield from _binaries()
    yield from _likelihoods()
