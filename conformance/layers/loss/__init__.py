"""Losses: CrossEntropyLoss, module and function, and the rows of all other losses."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
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
    WEIGHT,
    classes,
    decided,
    refit,
    shared,
    stand_in,
    weights,
    workloads,
)
from conformance.layers.loss.parts import REDUCTION, filled, unreduced
from conformance.layers.loss.parts import rows as batch
from conformance.model.case import is_function
from conformance.oracles.loss import cross_entropy as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Generation, Oracle
from conformance.spec.propagation import Propagation
from conformance.spec.signature import Argument, Input, Signature
from conformance.spec.state import Shape
from conformance.spec.trial_like import TrialLike
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


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Of each logit: less the maximum, the exponential, the sum, less the logarithm."""
    return 4 * math.prod(workload.inputs[0])


def _settled(trial: TrialLike) -> tuple[Rounded, ...]:
    """The oracle's, and NaN and infinities that no order of a sum of losses ≥ 0 changes."""
    (whole,) = trial.expected
    x = trial.case.inputs[0]
    assert x is not None
    if np.isfinite(x).all():
        return (whole,)
    # 0·∞ of a weight or a probability is left open.
    lost = np.isnan(stand_in(trial, np.isnan(x) | np.isposinf(x)))
    endless = stand_in(trial, ~np.isfinite(x))
    return (decided(endless, lost, np.isposinf(endless), whole),)


def rows() -> Iterator[LayerSpec]:
    """The rows, in the order of torch's documentation."""
    for name in ("CrossEntropyLoss", "functional.cross_entropy"):
        function = is_function(name)
        inputs = (
            Input("input", batch_axis=batch),
            Input("target", "target", batch_axis=batch, signed=False),
        )
        valid = partial(cases.cross_entropies, name)
        breaks = invalid.cross_entropy_breaks()
        row = LayerSpec(
            name,
            "loss",
            signature=Signature(
                _ARGUMENTS,
                (*inputs, WEIGHT) if function else inputs,
                (unreduced(batch),),
                complex=False,
                placed=False,
            ),
            oracle=Oracle(
                values=oracle.cross_entropy if function else oracle.cross_entropy_loss,
                shapes=oracle.cross_entropy_shape if function else oracle.cross_entropy_loss_shape,
                formula=_FORMULA,
                propagation=Propagation(_settled),
            ),
            generation=Generation(
                cases=valid, invalid=invalid_cases(valid, breaks, () if function else ("weight",))
            ),
            variation=Variation(refit=refit, shared=shared),
            laws=laws.LAWS,
            benchmark=Benchmark(
                workloads=workloads(name), filling=filled(target=classes), flops=_flops
            ),
        )
        yield (
            row
            if function
            else replace(
                row, state=replace(row.state, tensors=weights, constructor_tensors=("weight",))
            )
        )
    others = (
        loss_differences, loss_divergence, loss_binary, loss_likelihood,
        loss_hinge, loss_vectors, loss_multi_margin, loss_nll, loss_linear, loss_ctc,
        loss_adaptive,
    )  # fmt: skip
    for module in others:
        yield from module.rows()
