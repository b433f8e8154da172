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
from conformance.spec.signature import BY_NAME, Argument, Bundles, Input, Output, Passing, Signature
from conformance.spec.state import Shape
from conformance.spec.trial_protocol import FactsLike as Facts
from conformance.spec.workload import Filling, Workload
from conformance.strategies import clipping as cases
from conformance.strategies.invalid import clipping as invalid
from conformance.strategies.invalid.breaks import invalid_cases

if TYPE_CHECKING:
    from conformance.spec.law import Law

_MAX = Argument("max_norm", simplest=1.0)
_TYPE = Argument("norm_type", 2.0, alternative=1.0)
_FINITE = Argument("error_if_nonfinite", False, alternative=True)
_FOREACH = Argument("foreach", None, alternative=False)
_CLIP = Argument("clip_value", simplest=1.0)
_COEFFICIENT = "grad * min(max_norm / (total_norm + 1e-6), 1)"
_NORM = "total_norm = ||(||grad_0||, ||grad_1||, ...)||, of order norm_type"
# Weights of two layers of a small transformer, and their biases.
_SHAPES: tuple[Shape, ...] = ((512, 512), (512,), (2048, 512), (2048,))
_TEXT = "four gradients, 1.3 million numbers"


def _always(call: Call) -> bool:
    return True


def _refuses_nonfinite(case: Case) -> bool:
    return bool(case.call.arguments.get("error_if_nonfinite", False))


def _norm(facts: Facts) -> float:
    """The norm by which gradients are clipped, in float64."""
    case, spec = facts.case, facts.spec
    total_norm = (
        facts.operand("total_norm") if not spec.signature.inputs[0].passing.part_of else None
    )
    if total_norm is not None:
        return float(total_norm)
    norm_type = {**spec.signature.defaults, **case.call.arguments}.get("norm_type", 2.0)
    return cases.float64_norm([x for x in case.inputs if x is not None], norm_type)


def _gradient_inputs(part_of: str, *, updated: bool) -> tuple[Input, ...]:
    return tuple(
        Input(f"{oracle.NAME}{k}", optional=k > 0, updated=updated, differentiable=False,
              passing=Passing(part_of=part_of))
        for k in range(cases.MAX_GRADIENTS)
    )  # fmt: skip


_OUTPUTS = tuple(
    Output(f"{oracle.NAME}{k}", differentiable=False) for k in range(cases.MAX_GRADIENTS)
)
_TOTAL = Output("total_norm", differentiable=False)
_PROPAGATION = replace(computed, special_parameters=False)


def _axes(case: Case) -> tuple[Axes, ...]:
    """Every axis of every gradient."""
    arrays = ((k, x) for k, x in enumerate(case.inputs) if x is not None)
    return tuple(((k, axis),) for k, x in arrays for axis in range(x.ndim))


def _resize(spec: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments; None where the norm has to be finite and is not."""
    arrays = [x for x in case.inputs if x is not None]
    norm_type = arguments.get("norm_type", 2.0)
    finite = cases.has_finite_norm(arrays, norm_type, case.call.dtype)
    if arguments.get("error_if_nonfinite", False) and not finite:
        return None
    if float(norm_type) == math.inf and not all(x.size for x in arrays):
        return None  # an empty array has no largest element
    last = max((k for k, x in enumerate(case.inputs) if x is not None), default=-1)
    call = replace(case.call, arguments=arguments)
    return replace(case, call=call, inputs=case.inputs[: last + 1])


def _flops(workload: Workload, weights: Any, outputs: Sequence[Shape]) -> int:
    """A square and a product for each element."""
    return 2 * sum(math.prod(shape) for shape in workload.inputs)


def _total_norm(shapes: Any, generator: np.random.Generator) -> np.ndarray:
    return np.array(generator.integers(1, 9) * 1.0)


def _signature(
    arguments: tuple[Argument, ...],
    inputs: tuple[Input, ...],
    outputs: tuple[Output, ...],
    composite: str = GRADIENTS,
) -> Signature:
    """How torch is called: the gradients stand last and are one composite argument."""
    bundles = Bundles(composite_arguments={inputs[-1].passing.part_of: composite})
    return Signature(
        arguments,
        inputs,
        outputs,
        supports_complex=False,
        takes_device_and_dtype=False,
        bundles=bundles,
    )


def _layer_spec(
    layer: str,
    signature: Signature,
    oracle: Oracle,
    laws: tuple[Law, ...],
    *,
    clips: bool = True,
    examples_fraction: float = 0.5,
) -> LayerSpec:
    """The parts that all layers of the family share."""
    names, inputs = tuple(a.name for a in signature.arguments), signature.inputs
    values = {"max_norm": 1.0, "clip_value": 1.0}
    timed_arguments = {k: x for k, x in values.items() if k in names}
    strategy = partial(cases.clippings, layer, (*names, *(x.name for x in inputs[:1])))
    first = tuple(() for x in inputs[:1] if not x.passing.part_of)
    return LayerSpec(
        layer,
        "clipping",
        signature=signature,
        oracle=oracle,
        generation=Generation(
            cases=strategy,
            invalid=invalid_cases(strategy, invalid.breaks(names)),
            examples_fraction=examples_fraction,
        ),
        variation=Variation(resize=_resize, independent_axes=_axes),
        traits=Traits(
            may_alias_inputs=clips,
            updates_state=_always if clips else never,
            refuses_special=_refuses_nonfinite,
        ),
        conditions=Conditions(derived_facts={"norm": _norm} if "max_norm" in names else {}),
        laws=laws,
        benchmark=Benchmark(
            workloads=(Workload(layer, _TEXT, timed_arguments, (*first, *_SHAPES), small=True),),
            filling=Filling(contraction=False, array_makers={"total_norm": _total_norm}),
            flops=_flops,
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    gradients = _gradient_inputs("parameters", updated=True)
    yield _layer_spec(
        "utils.clip_grad_norm_",
        _signature((_MAX, _TYPE, _FINITE, _FOREACH), gradients, (_TOTAL, *_OUTPUTS)),
        Oracle(
            oracle.clip_grad_norm_, oracle.clip_grad_norm_shape, (_NORM, _COEFFICIENT), _PROPAGATION
        ),
        laws.NORM,
    )
    yield _layer_spec(
        "utils.clip_grad_value_",
        _signature((_CLIP, _FOREACH), gradients, _OUTPUTS),
        Oracle(
            oracle.clip_grad_value_,
            oracle.clip_grad_value_shape,
            ("min(max(grad, -clip_value), clip_value)",),
            _PROPAGATION,
        ),
        laws.VALUE,
    )
    total = Input("total_norm", "statistic", differentiable=False, any_value=False, passing=BY_NAME)
    yield _layer_spec(
        "utils.clip_grads_with_norm_",
        _signature((_MAX, _FOREACH), (total, *gradients), _OUTPUTS),
        Oracle(
            oracle.clip_grads_with_norm_,
            oracle.clip_grads_with_norm_shape,
            (_COEFFICIENT,),
            _PROPAGATION,
        ),
        laws.WITH_NORM,
    )
    yield _layer_spec(
        "utils.get_total_norm",
        _signature(
            (_TYPE, _FINITE, _FOREACH), _gradient_inputs("tensors", updated=False), (_TOTAL,), LIST
        ),
        Oracle(oracle.get_total_norm, oracle.get_total_norm_shape, (_NORM,), _PROPAGATION),
        laws.MEASURE,
        clips=False,
        examples_fraction=1.0,  # one number each
    )
