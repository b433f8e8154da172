"""CosineEmbeddingLoss, TripletMarginLoss, TripletMarginWithDistanceLoss, and their functions.

A case holds no callables: `distance_function` is the name of one of torch's functions. For vectors
without negative components the cosine is not negative, as the page demands of a distance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from conformance.laws.loss import vectors as laws
from conformance.layers.loss.parts import (
    LOSS,
    REDUCTION,
    flops_per_element,
    loss_shapes,
    make_filling,
    random_signs,
    timed_call,
)
from conformance.model.case import Case, is_function
from conformance.oracles.loss import vectors as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Conditions, Generation, Oracle
from conformance.spec.propagation import computed
from conformance.spec.signature import Argument, Form, Input, Signature
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.loss.parts import margin_not_positive, operand_breaks
from conformance.strategies.loss import vectors as cases

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import FactsLike as Facts

_MARGIN = Argument("margin", 1.0, alternative=2.0)
_SWAP = Argument("swap", False, alternative=True)
_FUNCTION = Argument(
    "distance_function", None, alternative="pairwise_distance", form=Form(torch_object=True)
)
_NORM = (Argument("p", 2.0, alternative=1.0), Argument("eps", 1e-6, alternative=0.0))

_LABELLED = loss_shapes(
    "batch?", input1="batch? features", input2="batch? features", target="batch?"
)
_TRIPLET = loss_shapes(
    "batch?", anchor="batch? features", positive="batch? features", negative="batch? features"
)


def _allows(spec: LayerSpec, case: Case) -> bool:
    """Whether vectors have components, and suit the distance function."""
    first = case.inputs[0]
    if first is None or not first.shape[-1]:
        return False
    cosine = case.call.arguments.get("distance_function") == oracle.COSINE
    return not cosine or oracle.is_cosine_distance(case.inputs)


def _squared_length_products(facts: Facts) -> list[float]:
    """Product of both squared lengths, for each pair of vectors; special numbers count as 0."""
    pair = (np.where(np.isfinite(x), x, 0.0) for x in facts.case.inputs[:2] if x is not None)
    with np.errstate(over="ignore"):
        first, second = ((x**2).sum(-1).reshape(-1) for x in pair)
        return [float(x) for x in first * second]


def _largest_product(facts: Facts) -> float:
    return max(_squared_length_products(facts), default=0.0)


def _smallest_product(facts: Facts) -> float:
    return min(_squared_length_products(facts), default=1.0)


def _cosine_spec(name: str) -> LayerSpec:
    valid, function = partial(cases.cosine_embeddings, name), is_function(name)
    signature = Signature(
        (Argument("margin", 0.0, alternative=0.5), REDUCTION),
        (
            Input("input1"),
            Input("input2"),
            Input("target", "target", differentiable=False, any_value=False),
        ),
        (LOSS,),
        supports_complex=False,
        takes_device_and_dtype=False,
    )
    return LayerSpec(
        name,
        "loss",
        signature=signature,
        shapes=_LABELLED,
        oracle=Oracle(
            values=oracle.cosine_embedding_loss,
            formula=(
                "loss = 1 - cos(x1, x2) where y = 1, max(0, cos(x1, x2) - margin) where y = -1",
            ),
            propagation=computed,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, operand_breaks(signature, _LABELLED)),
            examples_fraction=0.2 if function else 0.3,
        ),
        variation=Variation(allows=_allows),
        conditions=Conditions(
            derived_facts={
                "largest_squares": _largest_product,
                "smallest_squares": _smallest_product,
            }
        ),
        laws=laws.COSINE,
        benchmark=Benchmark(
            workloads=timed_call(name, (512, 256), (512, 256), (512,)),
            filling=make_filling(target=random_signs),
            flops=flops_per_element(6),
        ),
    )


def _triplet_spec(name: str, *, distance: bool) -> LayerSpec:
    valid = partial(cases.triplets, name, distance=distance)
    names = ("anchor", "positive", "negative")
    distance_formula = "d(x, y) = |x - y + eps|_p"
    base = _cosine_spec(name)
    leading_arguments = (_FUNCTION, _MARGIN) if distance else (_MARGIN, *_NORM)
    signature = replace(
        base.signature,
        arguments=(*leading_arguments, _SWAP, REDUCTION),
        inputs=tuple(map(Input, names)),
    )
    excluded = ("* missing",) if distance else ()
    breaks = (margin_not_positive, *operand_breaks(signature, _TRIPLET, *excluded))
    return replace(
        base,
        signature=signature,
        shapes=_TRIPLET,
        oracle=replace(
            base.oracle,
            values=oracle.triplet_margin_with_distance_loss
            if distance
            else oracle.triplet_margin_loss,
            formula=("L(a, p, n) = max(d(a_i, p_i) - d(a_i, n_i) + margin, 0)", distance_formula),
        ),
        generation=replace(base.generation, cases=valid, invalid=invalid_cases(valid, breaks)),
        conditions=replace(base.conditions, derived_facts={}),
        laws=laws.WITH_DISTANCE if distance else laws.TRIPLET,
        benchmark=replace(
            base.benchmark,
            workloads=timed_call(name, (512, 256), (512, 256), (512, 256)),
            filling=make_filling(),
            flops=flops_per_element(8),
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """Each loss as a module and as a function."""
    for name in ("CosineEmbeddingLoss", "functional.cosine_embedding_loss"):
        yield _cosine_spec(name)
    for name in ("TripletMarginLoss", "functional.triplet_margin_loss"):
        yield _triplet_spec(name, distance=False)
    for name in (
        "TripletMarginWithDistanceLoss",
        "functional.triplet_margin_with_distance_loss",
    ):
        yield _triplet_spec(name, distance=True)
