"""CosineEmbeddingLoss, TripletMarginLoss, TripletMarginWithDistanceLoss, and their functions.

A case holds no callables: `distance_function` is the name of a function that torch has. Of two
vectors without negative components the cosine is as good a distance as the page asks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.loss import vectors as laws
from conformance.layers.loss.parts import (
    REDUCTION,
    every_axis_of_all,
    filled,
    flops,
    signs,
    timed,
    unreduced,
)
from conformance.layers.loss.parts import rows as batch
from conformance.model.case import Case, is_function
from conformance.oracles.loss import vectors as oracle
from conformance.spec.axes import Axes, joined
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Conditions, Generation, Oracle
from conformance.spec.propagation import computed
from conformance.spec.signature import Argument, Form, Input, Signature
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.loss import vectors as invalid
from conformance.strategies.loss import vectors as cases

if TYPE_CHECKING:
    from conformance.spec.trial_like import FactsLike as Facts

_MARGIN = Argument("margin", 1.0, other=2.0)
_SWAP = Argument("swap", False, other=True)
_FUNCTION = Argument("distance_function", None, other="pairwise_distance", form=Form(of_torch=True))
_NORM = (Argument("p", 2.0, other=1.0), Argument("eps", 1e-6, other=0.0))


def _components(case: Case) -> tuple[Axes, ...]:
    """The last axis of both vectors; labels have none."""
    return (joined(case, (0, -1), (1, -1)),)


def _refit(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments; a vector of no components has no direction."""
    first = case.inputs[0]
    if first is None or not first.shape[-1]:
        return None
    if arguments.get("distance_function") == oracle.COSINE and not oracle.comparable(case.inputs):
        return None
    return replace(case, call=replace(case.call, arguments=arguments))


def _squares(facts: Facts) -> list[float]:
    """Of each pair the product of the squares of both lengths; infinite numbers count as 0."""
    pair = (np.where(np.isfinite(x), x, 0.0) for x in facts.case.inputs[:2] if x is not None)
    with np.errstate(over="ignore"):
        first, second = ((x**2).sum(-1).reshape(-1) for x in pair)
        return [float(x) for x in first * second]


def _largest(facts: Facts) -> float:
    return max(_squares(facts), default=0.0)


def _smallest(facts: Facts) -> float:
    return min(_squares(facts), default=1.0)


def _cosine(name: str) -> LayerSpec:
    valid, function = partial(cases.embeddings, name), is_function(name)
    return LayerSpec(
        name,
        "loss",
        signature=Signature(
            (Argument("margin", 0.0, other=0.5), REDUCTION),
            (
                Input("input1", batch_axis=batch),
                Input("input2", batch_axis=batch),
                Input("target", "target", batch_axis=batch, differentiable=False, signed=False),
            ),
            (unreduced(batch),),
            complex=False,
            placed=False,
        ),
        oracle=Oracle(
            values=oracle.cosine_embedding_loss,
            shapes=oracle.cosine_embedding_shape,
            formula=(
                "loss = 1 - cos(x1, x2) where y = 1, max(0, cos(x1, x2) - margin) where y = -1",
            ),
            propagation=computed,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.cosine_breaks()),
            examples=0.2 if function else 0.3,
        ),
        variation=Variation(refit=_refit, free=_components),
        conditions=Conditions(derived={"largest_squares": _largest, "smallest_squares": _smallest}),
        laws=laws.COSINE,
        benchmark=Benchmark(
            workloads=timed(name, (512, 256), (512, 256), (512,)),
            filling=filled(target=signs),
            flops=flops(6),
        ),
    )


def _triplet(name: str, *, distance: bool) -> LayerSpec:
    valid = partial(cases.triplets, name, distance=distance)
    names = ("anchor", "positive", "negative")
    vectors = "d(x, y) = |x - y + eps|_p"
    base = _cosine(name)
    return replace(
        base,
        signature=replace(
            base.signature,
            arguments=(
                *((_FUNCTION, _MARGIN) if distance else (_MARGIN, *_NORM)),
                _SWAP,
                REDUCTION,
            ),
            inputs=tuple(Input(x, batch_axis=batch) for x in names),
        ),
        oracle=replace(
            base.oracle,
            values=oracle.triplet_margin_with_distance_loss
            if distance
            else oracle.triplet_margin_loss,
            shapes=oracle.with_distance_shape if distance else oracle.triplet_margin_shape,
            formula=("L(a, p, n) = max(d(a_i, p_i) - d(a_i, n_i) + margin, 0)", vectors),
        ),
        generation=replace(
            base.generation, cases=valid, invalid=invalid_cases(valid, invalid.triplet_breaks())
        ),
        variation=replace(base.variation, free=every_axis_of_all),
        conditions=replace(base.conditions, derived={}),
        laws=laws.WITH_DISTANCE if distance else laws.TRIPLET,
        benchmark=replace(
            base.benchmark,
            workloads=timed(name, (512, 256), (512, 256), (512, 256)),
            filling=filled(),
            flops=flops(8),
        ),
    )


def rows() -> Iterator[LayerSpec]:
    """The rows, in the order of torch's documentation."""
    for name in ("CosineEmbeddingLoss", "functional.cosine_embedding_loss"):
        yield _cosine(name)
    for name in ("TripletMarginLoss", "functional.triplet_margin_loss"):
        yield _triplet(name, distance=False)
    for name in (
        "TripletMarginWithDistanceLoss",
        "functional.triplet_margin_with_distance_loss",
    ):
        yield _triplet(name, distance=True)
