"""Losses: CrossEntropyLoss and its function; the submodules have the other losses."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.laws.loss import cross_entropy as laws
from conformance.layers.loss import adaptive as loss_adaptive
from conformance.layers.loss import binary as loss_binary
from conformance.layers.loss import ctc as loss_ctc
from conformance.layers.loss import differences as loss_differences
from conformance.layers.loss import divergence as loss_divergence
from conformance.layers.loss import hinge as loss_hinge
from conformance.layers.loss import likelihood as loss_likelihood
from conformance.layers.loss import linear as loss_linear
from conformance.layers.loss import multi_margin as loss_multi_margin
from conformance.layers.loss import nll as loss_nll
from conformance.layers.loss import vectors as loss_vectors
from conformance.layers.loss.nll import (
    IGNORED,
    SHAPES,
    WEIGHT,
    allows,
    class_targets,
    evaluate_some_scores,
    replace_special_values,
    workloads,
)
from conformance.layers.loss.parts import REDUCTION, loss_output, make_filling, weight_tensors
from conformance.layers.loss.parts import batch_axis as batch
from conformance.model.case import Case, is_function
from conformance.oracles.loss import cross_entropy as oracle
from conformance.oracles.loss.nll import class_axis
from conformance.spec.axes import Axes, present_axes
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Generation, Oracle, State
from conformance.spec.propagation import Propagation
from conformance.spec.signature import Argument, Arguments, Input, Signature
from conformance.spec.state import Shape, StateTensor
from conformance.spec.trial_protocol import TrialLike
from conformance.spec.workload import Workload
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.loss import cross_entropy as invalid
from conformance.strategies.loss import cross_entropy as cases

_ARGUMENTS = (
    IGNORED,
    REDUCTION,
    Argument("label_smoothing", 0.0, alternative=0.25),
)
_FORMULA = (
    "l_n = -w_{y_n} log(exp(x_{n,y_n}) / sum_c exp(x_{n,c})) 1{y_n != ignore_index}",
    "mean: sum_n l_n / sum_n w_{y_n} 1{y_n != ignore_index}",
    "of probabilities: l_n = -sum_c w_c log(exp(x_{n,c}) / sum_i exp(x_{n,i})) y_{n,c}",
    "mean: sum_n l_n / N",
)


def _state_tensors(arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
    """The weight for each class, which the constructor takes."""
    shape = (input[class_axis(input)],) if input else ()
    return weight_tensors(arguments, {"weight": shape})


def _class_axes(case: Case) -> tuple[Axes, ...]:
    """The axis of the classes in scores, probabilities and a function's weight."""
    x, target = case.inputs[:2]
    if x is None or target is None or case.call.state:
        return ()
    axis = class_axis(x.shape)
    probability_axis = ((1, axis),) if target.dtype.kind == "f" else ()
    return (present_axes(case, (0, axis), *probability_axis, (2, 0)),)


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Four per logit: subtract the maximum, exponential, sum, subtract the logarithm."""
    return 4 * math.prod(workload.inputs[0])


def _expected(trial: TrialLike) -> tuple[Rounded, ...]:
    """The oracle's values, with NaN and ∞ where every order of a sum of losses ≥ 0 has them."""
    (expected,) = trial.expected
    x = trial.case.inputs[0]
    assert x is not None
    if np.isfinite(x).all():
        return (expected,)
    # 0·∞ with a weight or a probability stays open.
    is_nan = np.isnan(evaluate_some_scores(trial, np.isnan(x) | np.isposinf(x)))
    special_values = evaluate_some_scores(trial, ~np.isfinite(x))
    return (replace_special_values(special_values, is_nan, np.isposinf(special_values), expected),)


def layer_specs() -> Iterator[LayerSpec]:
    """All losses, those of this module first."""
    for name in ("CrossEntropyLoss", "functional.cross_entropy"):
        function = is_function(name)
        inputs = (
            Input("input", batch_axis=batch),
            Input("target", "target", batch_axis=batch, any_value=False),
        )
        signature = Signature(
            _ARGUMENTS,
            (*inputs, WEIGHT) if function else inputs,
            (loss_output(batch),),
            supports_complex=False,
            takes_device_and_dtype=False,
        )
        state = State() if function else State(_state_tensors, constructor_tensors=("weight",))
        valid = partial(cases.cross_entropies, name)
        breaks = invalid.cross_entropy_breaks(signature, SHAPES)
        yield LayerSpec(
            name,
            "loss",
            signature=signature,
            oracle=Oracle(
                values=oracle.cross_entropy if function else oracle.cross_entropy_loss,
                shapes=oracle.cross_entropy_shape,
                formula=_FORMULA,
                propagation=Propagation(_expected),
            ),
            generation=Generation(
                cases=valid, invalid=invalid_cases(valid, breaks, state.constructor_tensors)
            ),
            state=state,
            variation=Variation(allows=allows, tied_axes=_class_axes),
            laws=laws.LAWS,
            benchmark=Benchmark(
                workloads=workloads(name), filling=make_filling(target=class_targets), flops=_flops
            ),
        )
    for make_specs in (
        *(
            loss_differences.layer_specs,
            loss_divergence.layer_specs,
            loss_binary.layer_specs,
            loss_likelihood.layer_specs,
        ),
        *(
            loss_hinge.layer_specs,
            loss_vectors.layer_specs,
            loss_multi_margin.layer_specs,
            loss_nll.layer_specs,
        ),
        *(loss_linear.layer_specs, loss_ctc.layer_specs, loss_adaptive.layer_specs),
    ):
        yield from make_specs()
