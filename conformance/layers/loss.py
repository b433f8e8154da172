"""CrossEntropyLoss: the module and the function; and the rows of all other losses."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from conformance.arithmetic.rounded import Rounded, exactly
from conformance.laws import loss as laws
from conformance.layers import (
    loss_binary,
    loss_differences,
    loss_divergence,
    loss_likelihood,
)
from conformance.layers.axes import Axes, joined
from conformance.layers.propagation import Propagation
from conformance.layers.row import Argument, Input, Output, Row, Traits
from conformance.layers.state import Shape, StateTensor
from conformance.layers.workload import Filling, Workload
from conformance.model.case import Case, is_function
from conformance.model.protocols import TrialLike
from conformance.oracles import loss as oracle
from conformance.strategies import loss as cases
from conformance.strategies.invalid import loss as invalid
from conformance.strategies.invalid.breaks import invalid_cases

_ARGUMENTS = (
    Argument("ignore_index", -100, other=-1),
    Argument("reduction", "mean", other="sum"),
    Argument("label_smoothing", 0.0, other=0.25),
)
_FORMULA = (
    "l_n = -w_{y_n} log(exp(x_{n,y_n}) / sum_c exp(x_{n,c})) 1{y_n != ignore_index}",
    "mean: sum_n l_n / sum_n w_{y_n} 1{y_n != ignore_index}",
    "of probabilities: l_n = -sum_c w_c log(exp(x_{n,c}) / sum_i exp(x_{n,i})) y_{n,c}",
    "mean: sum_n l_n / N",
)


def _batch(case: Case) -> int | None:
    first = case.inputs[0]
    return 0 if first is not None and first.ndim > 1 else None


def _losses(case: Case) -> int | None:
    """The axis of samples in losses that are not reduced."""
    return _batch(case) if case.call.arguments.get("reduction", "mean") == "none" else None


def _classes(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    """A class for each sample."""
    logits, target = shapes[:2]
    return generator.integers(logits[oracle.class_axis(logits)], size=target)


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Of each logit: less the maximum, the exponential, the sum, less the logarithm."""
    return 4 * math.prod(workload.inputs[0])


# ImageNet's classes, GPT-2's vocabulary, Cityscapes' pixels.
_SIZES = (
    ("64 of 1000", (64, 1000), (64,)),
    ("512 of 50257", (512, 50257), (512,)),
    ("2 by 19 by 128 by 256", (2, 19, 128, 256), (2, 128, 256)),
)


def _scale(name: str, arguments: Mapping[str, Any]) -> float:
    """Of the logits, which are no sums."""
    return 1.0


def _workloads(layer: str) -> tuple[Workload, ...]:
    found = [
        Workload(layer, name, {}, (logits, target), small=k == 0)
        for k, (name, logits, target) in enumerate(_SIZES)
    ]
    return tuple(found[:1] if is_function(layer) else found)


def _weights(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """A weight for each class, where the constructor takes one."""
    shape = (input[oracle.class_axis(input)],) if input else ()
    return (StateTensor("weight", shape, buffer=True, constraint="positive"),)


def _settled(trial: TrialLike) -> tuple[Rounded, ...]:
    """The oracle's, and NaN and infinities that no order of a sum of losses ≥ 0 changes."""
    (whole,) = trial.expected
    x, *rest = trial.case.inputs
    assert x is not None
    if np.isfinite(x).all():
        return (whole,)
    precision = trial.precision
    state = {k: exactly(w, precision) for k, w in trial.case.call.state.items()}
    others = [None if y is None else exactly(y, precision) for y in rest]

    def stand_in(kept: np.ndarray) -> np.ndarray:
        logits = exactly(np.where(kept, x, 0.0), precision)
        (found,) = trial.evaluate(state, [logits, *others])
        return np.asarray(found.value)

    # 0·∞ of a weight or a probability is left open.
    lost = np.isnan(stand_in(np.isnan(x) | np.isposinf(x)))
    endless = np.isposinf(stand_in(~np.isfinite(x)))
    value = np.where(lost, np.nan, np.where(endless, np.inf, whole.value))
    return (Rounded(value, np.where(lost | endless, 0.0, whole.error), precision),)


def _refit(row: Row, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments: no shape changes; an index is a class, or ignored."""
    x, target = case.inputs[:2]
    assert x is not None
    assert target is not None
    ignored = arguments.get("ignore_index", -100)
    if target.dtype.kind == "i":
        count = x.shape[oracle.class_axis(x.shape)]
        if not (((target >= 0) & (target < count)) | (target == ignored)).all():
            return None
    elif ignored >= 0:
        return None
    return replace(case, call=replace(case.call, arguments=arguments))


def _shared(case: Case) -> tuple[Axes, ...]:
    """The classes of scores, probabilities and a function's weights."""
    x, target = case.inputs[:2]
    if x is None or target is None or case.call.state:
        return ()
    axis = oracle.class_axis(x.shape)
    probable = ((1, axis),) if target.dtype.kind == "f" else ()
    return (joined(case, (0, axis), *probable, (2, 0)),)


def rows() -> Iterator[Row]:
    """The rows, in the order of torch's documentation."""
    for name in ("CrossEntropyLoss", "functional.cross_entropy"):
        function = is_function(name)
        inputs = (
            Input("input", batch_axis=_batch),
            Input("target", "target", batch_axis=_batch, signed=False),
        )
        weight = Input("weight", "weight", optional=True, differentiable=False, signed=False)
        valid = partial(cases.cross_entropies, name)
        breaks = invalid.cross_entropy_breaks()
        row = Row(
            name,
            "loss",
            _ARGUMENTS,
            (*inputs, weight) if function else inputs,
            (Output("loss", _losses),),
            cases=valid,
            values=oracle.cross_entropy if function else oracle.cross_entropy_loss,
            shapes=oracle.cross_entropy_shape if function else oracle.cross_entropy_loss_shape,
            formula=_FORMULA,
            complex=False,
            invalid=invalid_cases(valid, breaks, () if function else ("weight",)),
            laws=laws.LAWS,
            propagation=Propagation(_settled),
            traits=Traits(placed=False),
            refit=_refit,
            shared=_shared,
            workloads=_workloads(name),
            filling=Filling(contraction=False, scale=_scale, made={"target": _classes}),
            flops=_flops,
        )
        yield row if function else replace(row, state=_weights, constructor_tensors=("weight",))
    yield from loss_differences.rows()
    yield from loss_divergence.rows()
    yield from loss_binary.rows()
    yield from loss_likelihood.rows()
