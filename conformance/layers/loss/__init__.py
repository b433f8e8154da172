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
    classes,
    decided,
    stand_in,
    workloads,
)
from conformance.layers.loss.parts import REDUCTION, filled, unreduced, weights
from conformance.layers.loss.parts import rows as batch
from conformance.model.case import Case, is_function
from conformance.oracles.loss import cross_entropy as oracle
from conformance.oracles.loss.nll import class_axis
from conformance.spec.axes import Axes, joined
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
    Argument("label_smoothing", 0.0, other=0.25),
)
_FORMULA = (
    "l_n = -w_{y_n} log(exp(x_{n,y_n}) / sum_c exp(x_{n,c})) 1{y_n != ignore_index}",
    "mean: sum_n l_n / sum_n w_{y_n} 1{y_n != ignore_index}",
    "of probabilities: l_n = -sum_c w_c log(exp(x_{n,c}) / sum_i exp(x_{n,i})) y_{n,c}",
    "mean: sum_n l_n / N",
)


def _weights(arguments: Arguments, input: Shape) -> tuple[StateTensor, ...]:
    """The weight for each class, which the constructor takes."""
    shape = (input[class_axis(input)],) if input else ()
    return weights(arguments, {"weight": shape})


def _classes(case: Case) -> tuple[Axes, ...]:
    """The axis of the classes in scores, probabilities and a function's weight."""
    x, target = case.inputs[:2]
    if x is None or target is None or case.call.state:
        return ()
    axis = class_axis(x.shape)
    probable = ((1, axis),) if target.dtype.kind == "f" else ()
    return (joined(case, (0, axis), *probable, (2, 0)),)


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Four per logit: subtract the maximum, exponential, sum, subtract the logarithm."""
    return 4 * math.prod(workload.inputs[0])


def _settled(trial: TrialLike) -> tuple[Rounded, ...]:
    """The oracle's values, with NaN and ∞ where every order of a sum of losses ≥ 0 has them."""
    (whole,) = trial.expected
    x = trial.case.inputs[0]
    assert x is not None
    if np.isfinite(x).all():
        return (whole,)
    # 0·∞ with a weight or a probability stays open.
    lost = np.isnan(stand_in(trial, np.isnan(x) | np.isposinf(x)))
    endless = stand_in(trial, ~np.isfinite(x))
    return (decided(endless, lost, np.isposinf(endless), whole),)


def rows() -> Iterator[LayerSpec]:
    """All losses, those of this module first."""
    for name in ("CrossEntropyLoss", "functional.cross_entropy"):
        function = is_function(name)
        inputs = (
            Input("input", batch_axis=batch),
            Input("target", "target", batch_axis=batch, signed=False),
        )
        signature = Signature(
            _ARGUMENTS,
            (*inputs, WEIGHT) if function else inputs,
            (unreduced(batch),),
            complex=False,
            placed=False,
        )
        state = State() if function else State(_weights, constructor_tensors=("weight",))
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
                propagation=Propagation(_settled),
            ),
            generation=Generation(
                cases=valid, invalid=invalid_cases(valid, breaks, state.constructor_tensors)
            ),
            state=state,
            variation=Variation(allows=allows, shared=_classes),
            laws=laws.LAWS,
            benchmark=Benchmark(
                workloads=workloads(name), filling=filled(target=classes), flops=_flops
            ),
        )
    for make_specs in (
        *(loss_differences.rows, loss_divergence.rows, loss_binary.rows, loss_likelihood.rows),
        *(loss_hinge.rows, loss_vectors.rows, loss_multi_margin.rows, loss_nll.rows),
        *(loss_linear.rows, loss_ctc.rows, loss_adaptive.rows),
    ):
        yield from make_specs()
