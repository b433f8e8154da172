"""HingeEmbeddingLoss, MarginRankingLoss, SoftMarginLoss, and their functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from conformance.laws.loss import hinge as laws
from conformance.layers.loss.parts import (
    REDUCTION,
    every_axis_of_all,
    filled,
    first_axis,
    flops,
    signs,
    timed,
    unreduced,
)
from conformance.model.case import is_function
from conformance.oracles.loss import hinge as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Generation, Oracle
from conformance.spec.propagation import computed
from conformance.spec.signature import Argument, Input, Signature
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.loss import hinge as invalid
from conformance.strategies.loss import hinge as cases

_BATCH = partial(first_axis, 1)
_TARGET = Input("target", "target", batch_axis=_BATCH, differentiable=False, signed=False)


def _embedding(name: str) -> LayerSpec:
    """The hinge embedding loss, and what the others have in common with it."""
    function = is_function(name)
    valid = partial(cases.embeddings, name)
    return LayerSpec(
        name,
        "loss",
        signature=Signature(
            (Argument("margin", 1.0, other=0.0), REDUCTION),
            (Input("input", batch_axis=_BATCH), _TARGET),
            (unreduced(_BATCH),),
            complex=False,
            placed=False,
        ),
        oracle=Oracle(
            values=oracle.hinge_embedding_loss,
            shapes=oracle.same_shape,
            formula=("l_n = x_n where y_n = 1, max(0, margin - x_n) where y_n = -1",),
            propagation=computed,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.label_breaks()),
            examples=0.2 if function else 0.3,
        ),
        variation=Variation(free=every_axis_of_all),
        laws=laws.EMBEDDING,
        benchmark=Benchmark(
            workloads=timed(name, (4096, 16), (4096, 16)),
            filling=filled(target=signs),
            flops=flops(3),
        ),
    )


def _ranking(name: str) -> LayerSpec:
    valid = partial(cases.rankings, name)
    base = _embedding(name)
    return replace(
        base,
        signature=replace(
            base.signature,
            arguments=(Argument("margin", 0.0, other=1.0), REDUCTION),
            inputs=(
                Input("input1", batch_axis=_BATCH),
                Input("input2", batch_axis=_BATCH),
                _TARGET,
            ),
        ),
        oracle=replace(
            base.oracle,
            values=oracle.margin_ranking_loss,
            shapes=oracle.margin_ranking_shape,
            formula=("loss(x1, x2, y) = max(0, -y * (x1 - x2) + margin)",),
        ),
        generation=replace(
            base.generation, cases=valid, invalid=invalid_cases(valid, invalid.ranking_breaks())
        ),
        laws=laws.RANKING,
        benchmark=replace(
            base.benchmark, workloads=timed(name, (65536,), (65536,), (65536,)), flops=flops(4)
        ),
    )


def _soft(name: str) -> LayerSpec:
    valid = partial(cases.logistic, name)
    base = _embedding(name)
    return replace(
        base,
        signature=replace(base.signature, arguments=(REDUCTION,)),
        oracle=replace(
            base.oracle,
            values=oracle.soft_margin_loss,
            formula=("loss(x, y) = sum_i log(1 + exp(-y[i] * x[i])) / x.nelement()",),
        ),
        generation=replace(
            base.generation, cases=valid, invalid=invalid_cases(valid, invalid.label_breaks())
        ),
        laws=laws.SOFT,
        benchmark=replace(
            base.benchmark, workloads=timed(name, (4096, 16), (4096, 16)), flops=flops(4)
        ),
    )


def rows() -> Iterator[LayerSpec]:
    """The rows, in the order of torch's documentation."""
    for made, module, function in (
        (_ranking, "MarginRankingLoss", "functional.margin_ranking_loss"),
        (_embedding, "HingeEmbeddingLoss", "functional.hinge_embedding_loss"),
        (_soft, "SoftMarginLoss", "functional.soft_margin_loss"),
    ):
        yield made(module)
        yield made(function)
