"""CTCLoss: the module and the function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.loss import ctc as laws
from conformance.layers.loss.parts import REDUCTION, loss_output, make_filling
from conformance.model.case import Case, is_function
from conformance.oracles.loss import ctc as oracle
from conformance.spec.axes import Axes
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Conditions, Generation, Oracle
from conformance.spec.propagation import Propagation, computed
from conformance.spec.signature import Argument, Input, Signature
from conformance.spec.state import Shape
from conformance.spec.workload import Workload
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.loss import ctc as invalid
from conformance.strategies.loss import ctc as cases

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import FactsLike as Facts

_ARGUMENTS = (
    Argument("blank", 0, alternative=1),
    REDUCTION,
    Argument("zero_infinity", False, alternative=True),
)
_FORMULA = (
    "l_n = -log sum_alignments prod_t exp(log_probs[t, n, alignment_t])",
    "over the alignments of input_lengths[n] steps that are the target",
    "without blanks and with each run of one class as one label",
    "mean: (1/N) sum_n l_n / target_lengths[n]",
)
_MAX_AXIS_SIZE = 129  # each step takes time


def _batch_axis(axis: int) -> Callable[[Case], int | None]:
    """The axis of the batch, if targets are a matrix and lengths are tensors."""

    def batch_axis(case: Case) -> int | None:
        targets = case.inputs[1]
        has_padded_targets = targets is not None and targets.ndim == 2
        return axis if has_padded_targets and not case.keywords else None

    return batch_axis


def _independent_axes(case: Case) -> tuple[Axes, ...]:
    """The axes of steps, of classes and, in padded targets, of labels."""
    x, targets = case.inputs[:2]
    assert x is not None
    assert targets is not None
    return (
        ((0, 0),), ((0, x.ndim - 1),), *((((1, 1),),) if targets.ndim == 2 else ())
    )  # fmt: skip


def _resize(spec: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments, its lengths limited to those of the sequences."""
    x, targets, *lengths = case.inputs
    assert x is not None
    assert targets is not None
    size, blank = x.shape[-1], arguments.get("blank", 0)
    if not len(x) or not 0 <= blank < size:
        return None
    if targets.size and (targets.max() >= size or targets.min() < 0 or (targets == blank).any()):
        return None
    limits = (len(x), targets.shape[-1] if targets.ndim == 2 else 2**31)
    if case.keywords:
        names = spec.signature.input_names[2:]
        pairs = zip(names, limits, strict=True)
        clipped = {name: tuple(min(n, end) for n in case.keywords[name]) for name, end in pairs}
        case = replace(case, keywords={**case.keywords, **clipped})
    else:
        clipped_lengths = [
            np.minimum(n, end) for n, end in zip(lengths, limits, strict=True) if n is not None
        ]
        case = replace(case, inputs=(x, targets, *clipped_lengths))
    return replace(case, call=replace(case.call, arguments=arguments))


def _has_impossible_class(facts: Facts) -> bool:
    """Whether a class is impossible at some step: its log probability is −∞."""
    x = facts.case.inputs[0]
    return bool(x is not None and np.isneginf(x).any())


def _labels(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    """Labels that are not the blank, which is class 0."""
    return generator.integers(1, shapes[0][-1], size=shapes[1])


def _full_input_lengths(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    return np.full(shapes[2], shapes[0][0])


def _full_target_lengths(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    return np.full(shapes[3], shapes[1][-1])


# An utterance as characters, a line of handwriting.
_SIZES = (("16 of 50 steps", 50, 16, 20, 15), ("8 of 500 steps", 500, 8, 32, 60))


def _workloads(layer: str) -> tuple[Workload, ...]:
    workloads = [
        Workload(layer, name, {}, ((t, n, c), (n, s), (n,), (n,)), small=k == 0)
        for k, (name, t, n, c, s) in enumerate(_SIZES)
    ]
    return tuple(workloads[:1] if is_function(layer) else workloads)


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Seven per state and step: three exponentials, two sums, a logarithm, a sum."""
    (steps, count, _), (_, labels) = workload.inputs[:2]
    return 7 * steps * count * (2 * labels + 1)


def layer_specs() -> Iterator[LayerSpec]:
    """The specifications of the module and of the function."""
    fillers = {
        "targets": _labels,
        "input_lengths": _full_input_lengths,
        "target_lengths": _full_target_lengths,
    }
    for name in ("CTCLoss", "functional.ctc_loss"):
        valid = partial(cases.ctc_losses, name)
        yield LayerSpec(
            name,
            "loss",
            signature=Signature(
                _ARGUMENTS,
                (
                    Input("log_probs", batch_axis=_batch_axis(1), any_value=False),
                    Input("targets", "target", batch_axis=_batch_axis(0), any_value=False),
                    Input("input_lengths", "index", batch_axis=_batch_axis(0), fixed=True),
                    Input("target_lengths", "index", batch_axis=_batch_axis(0), fixed=True),
                ),
                (loss_output(_batch_axis(0)),),
                supports_complex=False,
                takes_device_and_dtype=False,
            ),
            oracle=Oracle(
                values=oracle.ctc_loss,
                shapes=oracle.ctc_loss_shape,
                formula=_FORMULA,
                propagation=Propagation(computed.expected),
            ),
            generation=Generation(
                cases=valid,
                invalid=invalid_cases(valid, invalid.ctc_breaks()),
                examples_fraction=0.25 if is_function(name) else 0.75,
            ),
            variation=Variation(
                needs_keywords=lambda case: bool(case.keywords),
                resize=_resize,
                independent_axes=_independent_axes,
                max_axis_size=lambda case: _MAX_AXIS_SIZE,
            ),
            conditions=Conditions(derived_facts={"no_probability": _has_impossible_class}),
            laws=laws.LAWS,
            benchmark=Benchmark(
                workloads=_workloads(name), filling=make_filling(**fillers), flops=_flops
            ),
        )
