"""MultiMarginLoss, MultiLabelMarginLoss, MultiLabelSoftMarginLoss, and their functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from conformance.laws.loss import multi_margin as laws
from conformance.layers.loss.parts import (
    CLASS_WEIGHTS,
    LOSS,
    REDUCTION,
    flops_per_element,
    loss_shapes,
    make_filling,
    timed_call,
)
from conformance.model.case import Case, is_function
from conformance.oracles.loss import multi_margin as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Generation, Oracle, State
from conformance.spec.propagation import computed
from conformance.spec.signature import BY_NAME, Argument, Input, Passing, Signature
from conformance.spec.state import Shape
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.loss import multi_margin as invalid
from conformance.strategies.loss import multi_margin as cases

_INPUT = Input("input")
_TARGET = Input("target", "target", differentiable=False, any_value=False)
_WEIGHT = Input("weight", "weight", optional=True, differentiable=False, any_value=False)
_SINGLE_LABEL = loss_shapes("batch?", input="batch? classes", target="batch?", weight="classes")
_LABEL_LIST = loss_shapes("batch?", input="batch? classes", target="batch? classes")
_LABEL_FLAGS = loss_shapes(
    "batch?", input="batch? classes", target="batch? classes", weight="classes"
)


def _allows(spec: LayerSpec, case: Case) -> bool:
    """Whether there is a class, and indices are classes."""
    x, target = case.inputs[:2]
    if x is None or target is None or not x.shape[-1]:
        return False
    return target.dtype.kind != "i" or not (target >= x.shape[-1]).any()


def _resize_labels(spec: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments, without labels that are out of range or repeated."""
    x, target = case.inputs[:2]
    if x is None or target is None or not x.shape[-1]:
        return None
    # A resized case repeats a few rows many times.
    count = x.shape[-1]
    rows, place_of_row = np.unique(target.reshape(-1, count), axis=0, return_inverse=True)
    new_rows = np.full(rows.shape, -1)
    for new_labels, old_labels in zip(new_rows, rows, strict=True):
        used_labels = old_labels[: int(np.cumprod(old_labels >= 0).sum())]
        valid_labels = list(dict.fromkeys(label for label in used_labels.tolist() if label < count))
        new_labels[: len(valid_labels)] = valid_labels
        if len(valid_labels) == len(used_labels):
            new_labels[len(used_labels) :] = np.minimum(old_labels[len(used_labels) :], count - 1)
    new_target = new_rows[place_of_row.reshape(-1)].reshape(target.shape)
    call = replace(case.call, arguments=arguments)
    return replace(case, call=call, inputs=(x, new_target, *case.inputs[2:]))


def _single_labels(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    """One class for each sample."""
    return generator.integers(shapes[0][-1], size=shapes[1])


def _label_lists(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    """Three distinct classes for each sample, then −1."""
    labels = np.full(shapes[1], -1)
    labels[:, :3] = [generator.permutation(shapes[0][-1])[:3] for _ in labels]
    return labels


def _label_flags(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    """0 or 1 for each class of each sample."""
    return generator.integers(0, 1, shapes[1], endpoint=True).astype(np.float64)


def _signature(name: str, arguments: tuple[Argument, ...], passed: Passing) -> Signature:
    """The signature of a loss; a function also takes the weight for each class."""
    weight = (replace(_WEIGHT, passing=passed),) if is_function(name) else ()
    inputs = (_INPUT, _TARGET, *weight)
    return Signature(
        (*arguments, REDUCTION),
        inputs,
        (LOSS,),
        supports_complex=False,
        takes_device_and_dtype=False,
    )


def _multi_margin_spec(name: str) -> LayerSpec:
    valid, function = partial(cases.multi_margins, name), is_function(name)
    arguments = (Argument("p", 1, alternative=2), Argument("margin", 1.0, alternative=0.0))
    signature = _signature(name, arguments, BY_NAME)
    state = State() if function else CLASS_WEIGHTS
    breaks = invalid.multi_margin_breaks(signature, _SINGLE_LABEL)
    return LayerSpec(
        name,
        "loss",
        signature=signature,
        shapes=_SINGLE_LABEL,
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
            examples_fraction=0.2 if function else 0.3,
        ),
        variation=Variation(allows=_allows),
        state=state,
        laws=laws.MULTI_MARGIN,
        benchmark=Benchmark(
            workloads=timed_call(name, (512, 1000), (512,)),
            filling=make_filling(target=_single_labels),
            flops=flops_per_element(4),
        ),
    )


def _multilabel_margin_spec(name: str) -> LayerSpec:
    valid = partial(cases.multilabel_margins, name)
    base = _multi_margin_spec(name)
    signature = replace(
        base.signature,
        arguments=(REDUCTION,),
        # Moved elements could repeat a label of a sample.
        inputs=(_INPUT, replace(_TARGET, fixed=True)),
    )
    return replace(
        base,
        signature=signature,
        shapes=_LABEL_LIST,
        oracle=replace(
            base.oracle,
            values=oracle.multilabel_margin_loss,
            formula=("loss(x, y) = sum_ij max(0, 1 - (x[y[j]] - x[i])) / x.size(0), i != y[j]",),
        ),
        generation=replace(
            base.generation,
            cases=valid,
            invalid=invalid_cases(valid, invalid.multilabel_margin_breaks(signature, _LABEL_LIST)),
        ),
        variation=Variation(resize=_resize_labels),
        state=State(),
        laws=laws.MULTILABEL_MARGIN,
        benchmark=replace(
            base.benchmark,
            workloads=timed_call(name, (128, 200), (128, 200)),
            filling=make_filling(target=_label_lists),
            flops=flops_per_element(9),
        ),
    )


def _multilabel_soft_margin_spec(name: str) -> LayerSpec:
    valid = partial(cases.multilabel_soft_margins, name)
    base = _multi_margin_spec(name)
    signature = _signature(name, (), Passing())
    breaks = invalid.multilabel_soft_breaks(signature, _LABEL_FLAGS)
    return replace(
        base,
        signature=signature,
        shapes=_LABEL_FLAGS,
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
            workloads=timed_call(name, (512, 200), (512, 200)),
            filling=make_filling(target=_label_flags),
            flops=flops_per_element(6),
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """Each loss as a module and as a function."""
    for make_spec, module, function in (
        (_multilabel_margin_spec, "MultiLabelMarginLoss", "functional.multilabel_margin_loss"),
        (
            _multilabel_soft_margin_spec,
            "MultiLabelSoftMarginLoss",
            "functional.multilabel_soft_margin_loss",
        ),
        (_multi_margin_spec, "MultiMarginLoss", "functional.multi_margin_loss"),
    ):
        yield make_spec(module)
        yield make_spec(function)
