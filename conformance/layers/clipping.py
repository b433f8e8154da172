"""Functions that measure gradients and clip them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws import clipping as laws
from conformance.model.case import GRADIENTS, LIST, Call, Case
from conformance.oracles import clipping as oracle
from conformance.spec.axes import Axes
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Conditions, Generation, Oracle, Traits, never
from conformance.spec.propagation import computed
from conformance.spec.signature import BY_NAME, Argument, Bundles, Input, Output, Passed, Signature
from conformance.spec.state import Shape
from conformance.spec.trial_protocol import FactsLike as Facts
from conformance.spec.workload import Filling, Workload
from conformance.strategies import clipping as cases
from conformance.strategies.invalid import clipping as invalid
from conformance.strategies.invalid.breaks import invalid_cases

if TYPE_CHECKING:
    from conformance.spec.law import Law

_MAX = Argument("max_norm", plain=1.0)
_TYPE = Argument("norm_type", 2.0, other=1.0)
_FINITE = Argument("error_if_nonfinite", False, other=True)
_FOREACH = Argument("foreach", None, other=False)
_CLIP = Argument("clip_value", plain=1.0)
_COEFFICIENT = "grad * min(max_norm / (total_norm + 1e-6), 1)"
_NORM = "total_norm = ||(||grad_0||, ||grad_1||, ...)||, of order norm_type"
# Weights of two layers of a small transformer, and their biases.
_SHAPES: tuple[Shape, ...] = ((512, 512), (512,), (2048, 512), (2048,))
_TEXT = "four gradients, 1.3 million numbers"


def _always(call: Call) -> bool:
    return True


def _refuses(case: Case) -> bool:
    return bool(case.call.arguments.get("error_if_nonfinite", False))


def _norm(found: Facts) -> float:
    """The norm by which gradients are clipped, in float64."""
    case, row = found.case, found.row
    given = found.operand("total_norm") if not row.signature.inputs[0].passed.part_of else None
    if given is not None:
        return float(given)
    kind = {**row.signature.defaults, **case.call.arguments}.get("norm_type", 2.0)
    return cases.plain_norm([x for x in case.inputs if x is not None], kind)


def _gradients(part_of: str, *, updated: bool) -> tuple[Input, ...]:
    return tuple(
        Input(f"{oracle.NAME}{k}", optional=k > 0, updated=updated, differentiable=False,
              passed=Passed(part_of=part_of))
        for k in range(cases.MOST)
    )  # fmt: skip


_OUTPUTS = tuple(Output(f"{oracle.NAME}{k}", differentiable=False) for k in range(cases.MOST))
_TOTAL = Output("total_norm", differentiable=False)
_PROPAGATION = replace(computed, parameters=False)


def _axes(case: Case) -> tuple[Axes, ...]:
    """Every axis of every gradient."""
    found = ((k, x) for k, x in enumerate(case.inputs) if x is not None)
    return tuple(((k, axis),) for k, x in found for axis in range(x.ndim))


def _refit(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments; None where the norm has to be finite and is not."""
    arrays = [x for x in case.inputs if x is not None]
    kind = arguments.get("norm_type", 2.0)
    finite = cases.measurable(arrays, kind, case.call.dtype)
    if arguments.get("error_if_nonfinite", False) and not finite:
        return None
    if float(kind) == math.inf and not all(x.size for x in arrays):
        return None  # an empty array has no largest element
    last = max((k for k, x in enumerate(case.inputs) if x is not None), default=-1)
    call = replace(case.call, arguments=arguments)
    return replace(case, call=call, inputs=case.inputs[: last + 1])


def _flops(workload: Workload, weights: Any, outputs: Sequence[Shape]) -> int:
    """A square and a product for each element."""
    return 2 * sum(math.prod(shape) for shape in workload.inputs)


def _one(shapes: Any, generator: np.random.Generator) -> np.ndarray:
    return np.array(generator.integers(1, 9) * 1.0)


def _called(
    arguments: tuple[Argument, ...],
    inputs: tuple[Input, ...],
    outputs: tuple[Output, ...],
    whole: str = GRADIENTS,
) -> Signature:
    """How torch is called: the gradients stand last and are one composite argument."""
    bundles = Bundles(wholes={inputs[-1].passed.part_of: whole})
    return Signature(arguments, inputs, outputs, complex=False, placed=False, bundles=bundles)


def _row(
    layer: str,
    signature: Signature,
    oracle: Oracle,
    laws: tuple[Law, ...],
    *,
    clips: bool = True,
    examples: float = 0.5,
) -> LayerSpec:
    """The parts that all layers of the family share."""
    names, inputs = tuple(a.name for a in signature.arguments), signature.inputs
    given = {"max_norm": 1.0, "clip_value": 1.0}
    shown = {k: x for k, x in given.items() if k in names}
    strategy = partial(cases.clipped, layer, (*names, *(x.name for x in inputs[:1])))
    first = tuple(() for x in inputs[:1] if not x.passed.part_of)
    return LayerSpec(
        layer,
        "clipping",
        signature=signature,
        oracle=oracle,
        generation=Generation(
            cases=strategy,
            invalid=invalid_cases(strategy, invalid.breaks(names)),
            examples=examples,
        ),
        variation=Variation(refit=_refit, free=_axes),
        traits=Traits(aliases=clips, updates=_always if clips else never, refuses_special=_refuses),
        conditions=Conditions(derived={"norm": _norm} if "max_norm" in names else {}),
        laws=laws,
        benchmark=Benchmark(
            workloads=(Workload(layer, _TEXT, shown, (*first, *_SHAPES), small=True),),
            filling=Filling(contraction=False, made={"total_norm": _one}),
            flops=_flops,
        ),
    )


def rows() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    gradients = _gradients("parameters", updated=True)
    yield _row(
        "utils.clip_grad_norm_",
        _called((_MAX, _TYPE, _FINITE, _FOREACH), gradients, (_TOTAL, *_OUTPUTS)),
        Oracle(
            oracle.clip_grad_norm_, oracle.clip_grad_norm_shape, (_NORM, _COEFFICIENT), _PROPAGATION
        ),
        laws.NORM,
    )
    yield _row(
        "utils.clip_grad_value_",
        _called((_CLIP, _FOREACH), gradients, _OUTPUTS),
        Oracle(
            oracle.clip_grad_value_,
            oracle.clip_grad_value_shape,
            ("min(max(grad, -clip_value), clip_value)",),
            _PROPAGATION,
        ),
        laws.VALUE,
    )
    total = Input("total_norm", "statistic", differentiable=False, signed=False, passed=BY_NAME)
    yield _row(
        "utils.clip_grads_with_norm_",
        _called((_MAX, _FOREACH), (total, *gradients), _OUTPUTS),
        Oracle(
            oracle.clip_grads_with_norm_,
            oracle.clip_grads_with_norm_shape,
            (_COEFFICIENT,),
            _PROPAGATION,
        ),
        laws.WITH_NORM,
    )
    yield _row(
        "utils.get_total_norm",
        _called((_TYPE, _FINITE, _FOREACH), _gradients("tensors", updated=False), (_TOTAL,), LIST),
        Oracle(oracle.get_total_norm, oracle.get_total_norm_shape, (_NORM,), _PROPAGATION),
        laws.MEASURE,
        clips=False,
        examples=1.0,  # one number each
    )
