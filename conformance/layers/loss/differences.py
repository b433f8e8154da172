"""L1Loss, MSELoss, SmoothL1Loss, HuberLoss, and their functions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from conformance.laws.loss import differences as laws
from conformance.layers.loss import pointwise
from conformance.layers.loss.parts import REDUCTION
from conformance.layers.loss.pointwise import batch_axis_of
from conformance.model.case import is_function
from conformance.oracles.loss import differences as oracle
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.signature import BY_NAME, Argument, Input
from conformance.strategies.invalid.loss import differences as invalid
from conformance.strategies.loss import differences as cases


@dataclass(frozen=True)
class _DifferenceLoss:
    """One of the losses.

    Args:
        module, function: its two names.
        values: its oracle.
        formula: its documented formula.
        factor: factor by which the loss grows if all numbers double.
        operations: operations for each element.
        edge: argument that says where a parabola becomes a line; empty = none.
        weights: whether the function takes weights.
    """

    module: str
    function: str
    values: Callable[..., Any]
    formula: tuple[str, ...]
    factor: float
    operations: int
    edge: str = ""
    weights: bool = True


_KINDS = (
    _DifferenceLoss("L1Loss", "functional.l1_loss", oracle.l1_loss, ("l_n = |x_n - y_n|",), 2.0, 2),
    _DifferenceLoss(
        "MSELoss", "functional.mse_loss", oracle.mse_loss, ("l_n = (x_n - y_n)^2",), 4.0, 2
    ),
    _DifferenceLoss(
        "SmoothL1Loss",
        "functional.smooth_l1_loss",
        oracle.smooth_l1_loss,
        ("l_n = (x_n - y_n)^2 / (2 beta) if |x_n - y_n| < beta else |x_n - y_n| - beta / 2",),
        2.0,
        4,
        "beta",
        weights=False,
    ),
    _DifferenceLoss(
        "HuberLoss",
        "functional.huber_loss",
        oracle.huber_loss,
        ("l_n = (x_n - y_n)^2 / 2 if |x_n - y_n| < delta else delta (|x_n - y_n| - delta / 2)",),
        4.0,
        4,
        "delta",
    ),
)
_PAIR = (Input("input", batch_axis=batch_axis_of(0)), Input("target", batch_axis=batch_axis_of(1)))
_WEIGHT = Input(
    "weight", "weight", optional=True, batch_axis=batch_axis_of(2), passing=BY_NAME, any_value=False
)


def _layer_spec(kind: _DifferenceLoss, name: str) -> LayerSpec:
    function = is_function(name)
    weights = kind.weights and function
    edge = (Argument(kind.edge, 1.0, alternative=0.5),) if kind.edge else ()
    loss_laws = laws.laws(kind.module, kind.edge, kind.factor)
    return LayerSpec(
        name,
        "loss",
        signature=pointwise.signature((*_PAIR, _WEIGHT) if weights else _PAIR, (REDUCTION, *edge)),
        oracle=pointwise.oracle(kind.module if function else None, kind.values, kind.formula),
        generation=pointwise.generation(
            name,
            partial(cases.differences, edge=kind.edge, weights=weights),
            invalid.difference_breaks(kind.edge, weights),
        ),
        variation=pointwise.VARIATION,
        laws=(*loss_laws, *laws.WEIGHTED) if weights else loss_laws,
        benchmark=pointwise.benchmark(name, kind.operations),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """Each loss as a module and as a function."""
    for kind in _KINDS:
        for name in (kind.module, kind.function):
            yield _layer_spec(kind, name)
