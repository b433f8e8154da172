"""MultiMarginLoss, MultiLabelMarginLoss, MultiLabelSoftMarginLoss, and their functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from conformance.laws.loss import multi_margin as laws
from conformance.layers.loss.parts import LOSS, REDUCTION, WEIGHTED, filled, flops, shapes_of, timed
from conformance.model.case import Case, is_function
from conformance.oracles.loss import multi_margin as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Generation, Oracle, State
from conformance.spec.propagation import computed
from conformance.spec.signature import BY_NAME, Argument, Input, Passed, Signature
from conformance.spec.state import Shape
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.loss import multi_margin as invalid
from conformance.strategies.loss import multi_margin as cases

_INPUT = Input("input")
_TARGET = Input("target", "target", differentiable=False, signed=False)
_WEIGHT = Input("weight", "weight", optional=True, differentiable=False, signed=False)
_ONE = shapes_of("batch?", input="batch? classes", target="batch?", weight="classes")
_SOME = shapes_of("batch?", input="batch? classes", target="batch? classes")
_ANY = shapes_of("batch?", input="batch? classes", target="batch? classes", weight="classes")


def _allows(row: LayerSpec, case: Case) -> bool:
    """Whether there is a class, and indices are classes."""
    x, target = case.inputs[:2]
    if x is None or target is None or not x.shape[-1]:
        return False
    return target.dtype.kind != "i" or not (target >= x.shape[-1]).any()


def _relabelled(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments, without labels that are out of range or repeated."""
    x, target = case.inputs[:2]
    if x is None or target is None or not x.shape[-1]:
        return None
    found, count = np.full(target.shape, -1), x.shape[-1]
    for new, old in zip(found.reshape(-1, count), target.reshape(-1, count), strict=True):
        front = old[: int(np.cumprod(old >= 0).sum())]
        kept = list(dict.fromkeys(label for label in front.tolist() if label < count))
        new[: len(kept)] = kept
        if len(kept) == len(front):
            new[len(front) :] = np.minimum(old[len(front) :], count - 1)
    call = replace(case.call, arguments=arguments)
    return replace(case, call=call, inputs=(x, found, *case.inputs[2:]))


def _one(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    """One class for each sample."""
    return generator.integers(shapes[0][-1], size=shapes[1])


def _some(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    """Three distinct classes for each sample, then −1."""
    found = np.full(shapes[1], -1)
    found[:, :3] = [generator.permutation(shapes[0][-1])[:3] for _ in found]
    return found


def _any(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    """0 or 1 for each class of each sample."""
    return generator.integers(0, 1, shapes[1], endpoint=True).astype(np.float64)


def _signature(name: str, arguments: tuple[Argument, ...], passed: Passed) -> Signature:
    """The signature of a loss; a function also takes the weight for each class."""
    weight = (replace(_WEIGHT, passed=passed),) if is_function(name) else ()
    inputs = (_INPUT, _TARGET, *weight)
    return Signature((*arguments, REDUCTION), inputs, (LOSS,), complex=False, placed=False)


def _multi_margin(name: str) -> LayerSpec:
    valid, function = partial(cases.multi_margins, name), is_function(name)
    arguments = (Argument("p", 1, other=2), Argument("margin", 1.0, other=0.0))
    signature = _signature(name, arguments, BY_NAME)
    state = State() if function else WEIGHTED
    breaks = invalid.multi_margin_breaks(signature, _ONE)
    return LayerSpec(
        name,
        "loss",
        signature=signature,
        shapes=_ONE,
        oracle=Oracle(
            values=oracle.multi_margin_loss,
            formula=(
                "loss(x, y) = sum_i w[y] * max(0, margin - x[y] + x[i])^p / x.size(0), i != y",
            ),
            propagation=computed,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, breaks, state.constructor_tensors),
            examples=0.2 if function else 0.3,
        ),
        variation=Variation(allows=_allows),
        state=state,
        laws=laws.MULTI_MARGIN,
        benchmark=Benchmark(
            workloads=timed(name, (512, 1000), (512,)), filling=filled(target=_one), flops=flops(4)
        ),
    )


def _multilabel_margin(name: str) -> LayerSpec:
    valid = partial(cases.multilabel_margins, name)
    base = _multi_margin(name)
    signature = replace(
        base.signature,
        arguments=(REDUCTION,),
        # Moved elements could repeat a label of a sample.
        inputs=(_INPUT, replace(_TARGET, fixed=True)),
    )
    return replace(
        base,
        signature=signature,
        shapes=_SOME,
        oracle=replace(
            base.oracle,
            values=oracle.multilabel_margin_loss,
            formula=("loss(x, y) = sum_ij max(0, 1 - (x[y[j]] - x[i])) / x.size(0), i != y[j]",),
        ),
        generation=replace(
            base.generation,
            cases=valid,
            invalid=invalid_cases(valid, invalid.multilabel_margin_breaks(signature, _SOME)),
        ),
        variation=Variation(refit=_relabelled),
        state=State(),
        laws=laws.MULTILABEL_MARGIN,
        benchmark=replace(
            base.benchmark,
            workloads=timed(name, (128, 200), (128, 200)),
            filling=filled(target=_some),
            flops=flops(9),
        ),
    )


def _multilabel_soft_margin(name: str) -> LayerSpec:
    valid = partial(cases.multilabel_soft_margins, name)
    base = _multi_margin(name)
    signature = _signature(name, (), Passed())
    breaks = invalid.multilabel_soft_breaks(signature, _ANY)
    return replace(
        base,
        signature=signature,
        shapes=_ANY,
        oracle=replace(
            base.oracle,
            values=oracle.multilabel_soft_margin_loss,
            formula=(
                "loss(x, y) = -1/C sum_i w[i] * (y[i] * log((1 + exp(-x[i]))^-1)",
                "    + (1 - y[i]) * log(exp(-x[i]) / (1 + exp(-x[i]))))",
            ),
        ),
        generation=replace(
            base.generation,
            cases=valid,
            invalid=invalid_cases(valid, breaks, base.state.constructor_tensors),
        ),
        laws=laws.MULTILABEL_SOFT,
        benchmark=replace(
            base.benchmark,
            workloads=timed(name, (512, 200), (512, 200)),
            filling=filled(target=_any),
            flops=flops(6),
        ),
    )


def rows() -> Iterator[LayerSpec]:
    """Each loss as a module and as a function."""
    for made, module, function in (
        (_multilabel_margin, "MultiLabelMarginLoss", "functional.multilabel_margin_loss"),
        (
            _multilabel_soft_margin,
            "MultiLabelSoftMarginLoss",
            "functional.multilabel_soft_margin_loss",
        ),
        (_multi_margin, "MultiMarginLoss", "functional.multi_margin_loss"),
    ):
        yield made(module)
        yield made(function)
