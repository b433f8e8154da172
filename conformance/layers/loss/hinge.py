"""HingeEmbeddingLoss, MarginRankingLoss, SoftMarginLoss, and their functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from conformance.laws.loss import hinge as laws
from conformance.layers.loss.parts import (
    LOSS,
    REDUCTION,
    flops_per_element,
    loss_shapes,
    make_filling,
    random_signs,
    timed_call,
)
from conformance.model.case import is_function
from conformance.oracles.loss import hinge as oracle
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.parts import Benchmark, Generation, Oracle
from conformance.spec.propagation import computed
from conformance.spec.signature import Argument, Input, Signature
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.loss.parts import operand_breaks
from conformance.strategies.loss import hinge as cases

_TARGET = Input("target", "target", differentiable=False, any_value=False)
_ELEMENTWISE = loss_shapes("batch? *rest", input="batch? *rest", target="batch? *rest")
_VECTORS = loss_shapes("batch?", input1="batch?", input2="batch?", target="batch?")


def _embedding_spec(name: str) -> LayerSpec:
    """The hinge embedding loss, on which the specifications of the others are based."""
    function = is_function(name)
    valid = partial(cases.hinge_embeddings, name)
    signature = Signature(
        (Argument("margin", 1.0, alternative=0.0), REDUCTION),
        (Input("input"), _TARGET),
        (LOSS,),
        supports_complex=False,
        takes_device_and_dtype=False,
    )
    return LayerSpec(
        name,
        "loss",
        signature=signature,
        shapes=_ELEMENTWISE,
        oracle=Oracle(
            values=oracle.hinge_embedding_loss,
            formula=("l_n = x_n where y_n = 1, max(0, margin - x_n) where y_n = -1",),
            propagation=computed,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(
                valid, operand_breaks(signature, _ELEMENTWISE, "* of another rank")
            ),
            examples_fraction=0.2 if function else 0.3,
        ),
        laws=laws.EMBEDDING,
        benchmark=Benchmark(
            workloads=timed_call(name, (4096, 16), (4096, 16)),
            filling=make_filling(target=random_signs),
            flops=flops_per_element(3),
        ),
    )


def _ranking_spec(name: str) -> LayerSpec:
    valid = partial(cases.rankings, name)
    base = _embedding_spec(name)
    signature = replace(
        base.signature,
        arguments=(Argument("margin", 0.0, alternative=1.0), REDUCTION),
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
            base.benchmark,
            workloads=timed_call(name, (65536,), (65536,), (65536,)),
            flops=flops_per_element(4),
        ),
    )


def _soft_margin_spec(name: str) -> LayerSpec:
    valid = partial(cases.soft_margins, name)
    base = _embedding_spec(name)
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
            invalid=invalid_cases(
                valid, operand_breaks(base.signature, _ELEMENTWISE, "* of another rank")
            ),
        ),
        laws=laws.SOFT,
        benchmark=replace(
            base.benchmark,
            workloads=timed_call(name, (4096, 16), (4096, 16)),
            flops=flops_per_element(4),
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """Each loss as a module and as a function."""
    for make_spec, module, function in (
        (_ranking_spec, "MarginRankingLoss", "functional.margin_ranking_loss"),
        (_embedding_spec, "HingeEmbeddingLoss", "functional.hinge_embedding_loss"),
        (_soft_margin_spec, "SoftMarginLoss", "functional.soft_margin_loss"),
    ):
        yield make_spec(module)
        yield make_spec(function)
