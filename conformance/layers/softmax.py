"""Softmin, Softmax, Softmax2d, LogSoftmax, their functions, and gumbel_softmax."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from conformance.laws.softmax import draws
from conformance.laws.softmax import softmax as laws
from conformance.model.case import Case, is_function
from conformance.oracles import softmax as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Conditions, Generation, Oracle, Randomness
from conformance.spec.propagation import computed
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Form, Input, Output, Signature
from conformance.spec.state import Shape
from conformance.spec.trial_protocol import FactsLike
from conformance.spec.workload import Filling, Workload
from conformance.strategies import softmax as cases
from conformance.strategies.invalid import softmax as invalid
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.shapes import shape_breaks

_DIM = Argument("dim", None, alternative=0, axis=True)
_DTYPE = Argument("dtype", None, alternative="float64", form=Form(torch_object=True))
_GUMBEL = (
    Argument("tau", 1.0, alternative=0.5),
    Argument("hard", False, alternative=True),
    Argument("eps", 1e-10, alternative=0.5),
    Argument("dim", -1, alternative=0, axis=True),
)


@dataclass(frozen=True)
class _Kind:
    """What a module and its function share.

    Args:
        values: the oracle.
        formula: as documented.
        laws: laws besides those of the family.
    """

    values: Callable[..., Any]
    formula: str
    laws: tuple[Any, ...]


_SOFTMAX = "Softmax(x_i) = exp(x_i) / sum_j exp(x_j)"
_KINDS = {
    ("Softmin", "functional.softmin"): _Kind(
        oracle.softmin, "Softmin(x_i) = exp(-x_i) / sum_j exp(-x_j)", (laws.mirrored, laws.whole)
    ),
    ("Softmax", "functional.softmax"): _Kind(oracle.softmax, _SOFTMAX, (laws.mirrored, laws.whole)),
    ("LogSoftmax", "functional.log_softmax"): _Kind(
        oracle.log_softmax,
        "LogSoftmax(x_i) = log(exp(x_i) / sum_j exp(x_j))",
        (laws.logarithm,),
    ),
}


def _batch_axis(case: Case) -> int | None:
    """Axis 0 counts the batch, unless the softmax is along it."""
    x = case.inputs[0]
    return 0 if x is not None and x.ndim and laws.axis_of_case(case) else None


def _is_along_last(facts: FactsLike) -> bool:
    """Whether the softmax is along the last axis, for which kernels have separate code."""
    x = facts.case.inputs[0]
    return x is not None and laws.axis_of_case(facts.case) == max(x.ndim - 1, 0)


def _working_dtype(case: Case) -> str:
    """The dtype of the computation and of the output."""
    return str(case.call.arguments.get("dtype") or case.call.dtype)


_DERIVED: Mapping[str, Callable[[FactsLike], Any]] = {
    "along_last": _is_along_last,
    "working_dtype": lambda found: _working_dtype(found.case),
}


def _allows(spec: LayerSpec, case: Case) -> bool:
    """Whether the input has the axis `dim`."""
    x, dim = case.inputs[0], case.call.arguments.get("dim", spec.signature.defaults["dim"])
    axes = 0 if x is None else max(x.ndim, 1)
    return dim is None or -axes <= dim < axes


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Four per element: subtract the maximum, exponential, sum, quotient."""
    return 4 * math.prod(outputs[0])


def _workload(
    name: str, text: str, shape: Shape, arguments: Mapping[str, Any], *, small: bool = True
) -> Workload:
    return Workload(name, text, arguments, (shape,), small=small)


def _layer_spec(name: str, kind: _Kind) -> LayerSpec:
    function = is_function(name)
    valid = partial(cases.softmaxes, name)
    last_axis = {"dim": -1}
    return LayerSpec(
        name,
        "softmax",
        signature=Signature(
            (_DIM, _DTYPE) if function else (_DIM,),
            (Input("input", batch_axis=_batch_axis),),
            (Output("output", _batch_axis, dtype=_working_dtype if function else None),),
            supports_complex=False,
            takes_device_and_dtype=False,
        ),
        shapes=Shapes({"input": "*sizes", "output": "*sizes"}),
        oracle=Oracle(values=kind.values, formula=(kind.formula,), propagation=computed),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.softmax_breaks(name)),
            examples_fraction=0.4,
        ),
        variation=Variation(allows=_allows),
        conditions=Conditions(derived_facts=_DERIVED),
        laws=(*laws.COMMON_LAWS, *kind.laws, *((laws.cast,) if function else ())),
        benchmark=Benchmark(
            workloads=(
                _workload(name, "96 by 128 by 128", (96, 128, 128), last_axis),
                _workload(name, "64 by 1000", (64, 1000), last_axis, small=False),
                _workload(name, "64 by 32000", (64, 32000), last_axis, small=False),
            ),
            filling=Filling(contraction=False, scale=lambda name, arguments: 1.0),
            flops=_flops,
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    for names, kind in _KINDS.items():
        yield from (_layer_spec(name, kind) for name in names)
        if names[0] == "Softmax":
            yield _softmax2d_spec(names[0], kind)
    yield _gumbel_softmax_spec()


def _softmax2d_spec(base_name: str, kind: _Kind) -> LayerSpec:
    name = "Softmax2d"
    valid = partial(cases.channel_softmaxes, name)
    base = _layer_spec(base_name, kind)
    signature = replace(
        base.signature, arguments=(), inputs=(Input("input"),), outputs=(Output("output"),)
    )
    shapes = Shapes(dict.fromkeys(("input", "output"), "batch? channels height width"))
    breaks = shape_breaks(signature, shapes)
    return replace(
        base,
        name=name,
        signature=signature,
        shapes=shapes,
        oracle=replace(
            base.oracle,
            values=oracle.softmax2d,
            formula=(_SOFTMAX, "at each place over the channels of (N, C, H, W) or (C, H, W)"),
        ),
        generation=replace(base.generation, cases=valid, invalid=invalid_cases(valid, breaks)),
        variation=Variation(),
        laws=laws.CHANNEL_LAWS,
        benchmark=replace(
            base.benchmark, workloads=(_workload(name, "8 by 21 by 64 by 64", (8, 21, 64, 64), {}),)
        ),
    )


def _gumbel_softmax_spec() -> LayerSpec:
    name = "functional.gumbel_softmax"
    valid = partial(cases.gumbel_softmaxes, name)
    return LayerSpec(
        name,
        "softmax",
        signature=Signature(
            _GUMBEL,
            (Input("logits", batch_axis=_batch_axis),),
            (Output("output", _batch_axis),),
            supports_complex=False,
            takes_device_and_dtype=False,
        ),
        shapes=Shapes({"logits": "*sizes", "output": "*sizes"}),
        oracle=Oracle(
            values=oracle.gumbel_softmax,
            formula=(
                "y = softmax((logits + g) / tau), g = -log(-log(u)), u ~ U(0, 1)",
                "hard: 1 at the largest y, 0 elsewhere, with the gradient of y",
            ),
            propagation=computed,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.softmax_breaks(name)),
            examples_fraction=0.35,
        ),
        variation=Variation(allows=_allows),
        conditions=Conditions(derived_facts=_DERIVED),
        laws=draws.LAWS,
        randomness=Randomness(is_used=lambda call: True, draws=draws.draws),
        benchmark=Benchmark(
            workloads=(_workload(name, "512 by 64", (512, 64), {}),),
            filling=Filling(contraction=False, scale=lambda name, arguments: 1.0),
            flops=_flops,
        ),
    )
