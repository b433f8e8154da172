"""HingeEmbeddingLoss, MarginRankingLoss, SoftMarginLoss, and their functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from conformance.laws.loss import hinge as laws
from conformance.layers.loss.parts import LOSS, REDUCTION, filled, flops, shapes_of, signs, timed
from conformance.model.case import is_function
from conformance.oracles.loss import hinge as oracle
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.parts import Benchmark, Generation, Oracle
from conformance.spec.propagation import computed
from conformance.spec.signature import Argument, Input, Signature
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.loss.parts import operand_breaks
from conformance.strategies.loss import hinge as cases

_TARGET = Input("target", "target", differentiable=False, signed=False)
_ANY = shapes_of("batch? *rest", input="batch? *rest", target="batch? *rest")
_VECTORS = shapes_of("batch?", input1="batch?", input2="batch?", target="batch?")


def _embedding(name: str) -> LayerSpec:
    """The hinge embedding loss, on which the specifications of the others are based."""
    function = is_function(name)
    valid = partial(cases.embeddings, name)
    signature = Signature(
        (Argument("margin", 1.0, other=0.0), REDUCTION),
        (Input("input"), _TARGET),
        (LOSS,),
        complex=False,
        placed=False,
    )
    return LayerSpec(
        name,
        "loss",
        signature=signature,
        shapes=_ANY,
        oracle=Oracle(
            values=oracle.hinge_embedding_loss,
            formula=("l_n = x_n where y_n = 1, max(0, margin - x_n) where y_n = -1",),
            propagation=computed,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, operand_breaks(signature, _ANY, "* of another rank")),
            examples=0.2 if function else 0.3,
        ),
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
    signature = replace(
        base.signature,
        arguments=(Argument("margin", 0.0, other=1.0), REDUCTION),
        inputs=(Input("input1"), Input("input2"), _TARGET),
    )
    return replace(
        base,
        signature=signature,
        shapes=_VECTORS,
        oracle=replace(
            base.oracle,
            values=oracle.margin_ranking_loss,
            formula=("loss(x1, x2, y) = max(0, -y * (x1 - x2) + margin)",),
        ),
        generation=replace(
            base.generation,
            cases=valid,
            invalid=invalid_cases(valid, operand_breaks(signature, _VECTORS, "* missing")),
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
            base.generation,
            cases=valid,
            invalid=invalid_cases(valid, operand_breaks(base.signature, _ANY, "* of another rank")),
        ),
        laws=laws.SOFT,
        benchmark=replace(
            base.benchmark, workloads=timed(name, (4096, 16), (4096, 16)), flops=flops(4)
        ),
    )


def rows() -> Iterator[LayerSpec]:
    """Each loss as a module and as a function."""
    for made, module, function in (
        (_ranking, "MarginRankingLoss", "functional.margin_ranking_loss"),
        (_embedding, "HingeEmbeddingLoss", "functional.hinge_embedding_loss"),
        (_soft, "SoftMarginLoss", "functional.soft_margin_loss"),
    ):
        yield made(module)
        yield made(function)
