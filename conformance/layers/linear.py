"""Identity, Linear and Bilinear: modules, the lazy module and functions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from conformance.arithmetic.rounded import Rounded, exactly
from conformance.laws import linear as laws
from conformance.laws import multilinear
from conformance.model.case import Case, is_function
from conformance.oracles import linear as oracle
from conformance.spec.axes import Axes, batched, joined
from conformance.spec.elementwise import every_axis
from conformance.spec.layer_spec import (
    Argument,
    Benchmark,
    Generation,
    Input,
    LayerSpec,
    Lazy,
    Oracle,
    Output,
    Signature,
    Traits,
    Variation,
)
from conformance.spec.outputs import input_dtype
from conformance.spec.propagation import chained_sums, copied
from conformance.spec.sizes import resized
from conformance.spec.state import Shape, StateTensor, products, uniform, with_bias
from conformance.spec.trial_like import TrialLike
from conformance.spec.workload import Filling, Workload
from conformance.strategies import linear as cases
from conformance.strategies.invalid import linear as invalid
from conformance.strategies.invalid.breaks import invalid_cases

_IN = Argument("in_features", plain=1, size=True)
_OUT = Argument("out_features", plain=1, size=True)
_BIAS = Argument("bias", True, other=False)
_PAIR = (Argument("in1_features", size=True), Argument("in2_features", size=True))
_SUMS = (
    multilinear.rows,
    multilinear.additive,
    multilinear.scaled,
    multilinear.outputs,
    multilinear.inputs,
    multilinear.function,
    multilinear.singles,
    laws.leading,
)
_WEIGHTS = (Input("weight", "weight"), Input("bias", "bias", optional=True))
_OUTPUT = (Output("output", batched(2)),)


def _inferred(input: Shape) -> Mapping[str, Any]:
    return {"in_features": input[-1]}


def _linear_state(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """A weight (out_features, in_features), a bias (out_features)."""
    weight = (arguments["out_features"], arguments["in_features"])
    return uniform(with_bias(weight, weight[0], arguments.get("bias", True)), products(weight))


def _bilinear_state(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """A weight (out_features, in1_features, in2_features), a bias (out_features)."""
    sizes = (arguments["in1_features"], arguments["in2_features"])
    weight = (arguments["out_features"], *sizes)
    return uniform(with_bias(weight, weight[0], arguments.get("bias", True)), sizes[0])


def _refit(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with its arrays in the shapes that other arguments ask for.

    A lazy layer's input is as wide as it was.
    """
    names = ("in_features", "in1_features", "in2_features")
    widths = [arguments[name] for name in names if name in arguments]
    inputs = list(case.inputs)
    for place, width in enumerate(widths):
        x = inputs[place]
        assert x is not None
        inputs[place] = resized(x, (*x.shape[:-1], width))
    first, state = inputs[0], case.call.state
    assert first is not None
    source = np.concatenate([x.reshape(-1) for x in state.values()] or [np.ones(1)])
    wanted = row.state_shapes(arguments, first.shape)
    arrays = {k: resized(state.get(k, source), s) for k, s in wanted.items()}
    layouts = {k: v for k, v in case.call.layouts.items() if k in arrays}
    call = replace(case.call, arguments=arguments, state=arrays, layouts=layouts)
    return replace(case, call=call, inputs=tuple(inputs))


def _features(case: Case) -> tuple[Axes, ...]:
    """The features that go in, and those that come out."""
    weight = case.inputs[1]
    outputs = joined(case, (1, 0), (2, 0)) if weight is not None and weight.ndim == 2 else ()
    return joined(case, (0, -1), (1, -1)), outputs


def _pairs(case: Case) -> tuple[Axes, ...]:
    """The features of either input, and those that come out."""
    return (
        joined(case, (0, -1), (2, 1)), joined(case, (1, -1), (2, 2)), joined(case, (2, 0), (3, 0))
    )  # fmt: skip


def _leading(inputs: int, case: Case) -> tuple[Axes, ...]:
    """Every axis but that of the features.

    Args:
        inputs: how many have these axes.
    """
    first = case.inputs[0]
    axes = 0 if first is None else first.ndim - 1
    return tuple(tuple((place, axis) for place in range(inputs)) for axis in range(axes))


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    return 2 * math.prod(weights[0]) * math.prod(outputs[0][:-1])


def _flops_bilinear(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """x₁ᵀA first, then times x₂."""
    (out, in1, in2), rows = weights[0], math.prod(outputs[0][:-1])
    return 2 * rows * (out * in1 * in2 + out * in2)


# Sizes of BERT-base after J. Devlin et al. (2019).
_LINEARS = (
    ("bert 768 to 768", (1, 64, 768), 768),
    ("bert 768 to 3072", (4, 128, 768), 3072),
    ("bert 3072 to 768", (4, 128, 3072), 768),
    ("decoding 4096 to 4096", (1, 4096), 4096),
)
_BILINEARS = (("pairs of 64", 16, 64, 32), ("pairs of 128", 64, 128, 128))


def _linear_workloads() -> Iterator[Workload]:
    for k, (name, shape, width) in enumerate(_LINEARS):
        arguments = {"in_features": shape[-1], "out_features": width}
        yield Workload("Linear", name, arguments, (shape,), k == 0)
        if k == 0:
            yield Workload("LazyLinear", name, {"out_features": width}, (shape,), small=True)
            inputs = (shape, (width, shape[-1]), (width,))
            yield Workload("functional.linear", name, {}, inputs, small=True)


def _bilinear_workloads() -> Iterator[Workload]:
    for k, (name, batch, width, out) in enumerate(_BILINEARS):
        arguments = {"in1_features": width, "in2_features": width, "out_features": out}
        pair = ((batch, width), (batch, width))
        yield Workload("Bilinear", name, arguments, pair, k == 0)
        if k == 0:
            inputs = (*pair, (out, width, width), (out,))
            yield Workload("functional.bilinear", name, {}, inputs, small=True)


def _of(name: str, workloads: Iterator[Workload]) -> tuple[Workload, ...]:
    return tuple(w for w in workloads if w.layer == name)


def _identity() -> LayerSpec:
    return LayerSpec(
        "Identity",
        "linear",
        signature=Signature(
            (),
            (Input("input", batch_axis=batched(2)),),
            (Output("output", batched(2), input_dtype),),
            placed=False,
        ),
        oracle=Oracle(
            values=oracle.identity,
            shapes=oracle.identity_shape,
            formula=(
                "a placeholder identity operator that is argument-insensitive: output = input",
            ),
            propagation=copied,
        ),
        generation=Generation(cases=partial(cases.identities, "Identity"), examples=0.3),
        variation=Variation(free=every_axis),
        traits=Traits(aliases=True, copies=True),
        laws=(
            laws.identity_rows,
            laws.identity_arguments,
            laws.identity_reshaped,
            laws.identity_twice,
        ),
        benchmark=Benchmark(
            workloads=(Workload("Identity", "64 by 768", {}, ((64, 768),), small=True),),
            filling=Filling(contraction=False),
            flops=lambda workload, weights, outputs: 0,
        ),
    )


def _product(trial: TrialLike) -> Rounded:
    """x Aᵀ."""

    def without_bias(name: str, x: np.ndarray | None) -> Rounded | None:
        if x is None:
            return None
        bias = trial.row.role(name) == "bias"
        return exactly(np.zeros(x.shape) if bias else x, trial.precision)

    state = {k: without_bias(k, x) for k, x in trial.case.call.state.items()}
    inputs = list(map(without_bias, trial.row.signature.input_names, trial.case.inputs))
    (product,) = trial.evaluate({k: x for k, x in state.items() if x is not None}, inputs)
    return product


def _linear(name: str, arguments: tuple[Argument, ...], values: Any, shapes: Any) -> LayerSpec:
    valid = partial(cases.linears, name)
    function = is_function(name)
    lazy = name.startswith("Lazy")
    return LayerSpec(
        name,
        "linear",
        signature=Signature(
            arguments,
            (Input("input", batch_axis=batched(2)), *(_WEIGHTS if function else ())),
            _OUTPUT,
        ),
        oracle=Oracle(
            values=values,
            shapes=shapes,
            formula=("y = x A^T + b",),
            module="Linear" if function else None,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.linear_breaks(name)),
            examples=0.3 if lazy else 1.0,
        ),
        variation=Variation(free=partial(_leading, 1)),
        traits=Traits(wide_sums=True, product=_product),
        laws=(*_SUMS, laws.vector if function else multilinear.lazy_equals_eager),
        benchmark=Benchmark(
            workloads=_of(name, _linear_workloads()),
            filling=Filling(wide_adjoints=True),
            flops=_flops,
        ),
        lazy=Lazy("Linear", _inferred) if lazy else None,
    )


def _bilinear(name: str, arguments: tuple[Argument, ...], values: Any, shapes: Any) -> LayerSpec:
    valid = partial(cases.bilinears, name)
    function = is_function(name)
    pair = tuple(Input(f"input{k + 1}", batch_axis=batched(2, k)) for k in range(2))
    return LayerSpec(
        name,
        "linear",
        signature=Signature(arguments, (*pair, *(_WEIGHTS if function else ())), _OUTPUT),
        oracle=Oracle(
            values=values,
            shapes=shapes,
            formula=("y = x_1^T A x_2 + b",),
            propagation=chained_sums,
            module="Bilinear" if function else None,
        ),
        generation=Generation(
            cases=valid, invalid=invalid_cases(valid, invalid.bilinear_breaks(name))
        ),
        variation=Variation(free=partial(_leading, 2)),
        laws=(*_SUMS, laws.swap),
        benchmark=Benchmark(
            workloads=_of(name, _bilinear_workloads()),
            filling=Filling(factors=3),
            flops=_flops_bilinear,
        ),
    )


def rows() -> Iterator[LayerSpec]:
    """The rows, in the order of torch's documentation."""
    yield _identity()
    linear = _linear("Linear", (_IN, _OUT, _BIAS), oracle.linear, oracle.linear_shape)
    yield replace(
        linear,
        variation=replace(linear.variation, refit=_refit),
        state=replace(linear.state, tensors=_linear_state),
    )
    lazy = _linear("LazyLinear", (_OUT, _BIAS), oracle.lazy_linear, oracle.lazy_linear_shape)
    yield replace(
        lazy,
        variation=replace(lazy.variation, refit=_refit),
        state=replace(lazy.state, tensors=_linear_state),
    )
    function = _linear(
        "functional.linear", (), oracle.functional_linear, oracle.functional_linear_shape
    )
    yield replace(function, variation=replace(function.variation, shared=_features))
    bilinear = _bilinear("Bilinear", (*_PAIR, _OUT, _BIAS), oracle.bilinear, oracle.bilinear_shape)
    yield replace(
        bilinear,
        variation=replace(bilinear.variation, refit=_refit),
        state=replace(bilinear.state, tensors=_bilinear_state),
    )
    function = _bilinear(
        "functional.bilinear", (), oracle.functional_bilinear, oracle.functional_bilinear_shape
    )
    yield replace(function, variation=replace(function.variation, shared=_pairs))
