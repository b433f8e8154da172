"""Identity, Linear and Bilinear: modules, the lazy module and functions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.laws import linear as laws
from conformance.laws import multilinear
from conformance.model.case import is_function
from conformance.oracles import linear as oracle
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.outputs import input_dtype
from conformance.spec.parts import Benchmark, Generation, Lazy, Oracle, State, Traits
from conformance.spec.propagation import chained_sums, copied
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Arguments, Input, Output, Signature
from conformance.spec.state import Shape, StateTensor, uniform_parameters
from conformance.spec.trial_protocol import TrialLike
from conformance.spec.workload import Filling, Workload
from conformance.strategies import linear as cases
from conformance.strategies.invalid import linear as invalid
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.shapes import shape_breaks

_IN = Argument("in_features", simplest=1, size=True)
_OUT = Argument("out_features", simplest=1, size=True)
_BIAS = Argument("bias", True, alternative=False)
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
_LINEAR = Shapes(
    {
        "input": "*batch in_features",
        "weight": "out_features in_features",
        "bias": "out_features if bias",
        "output": "*batch out_features",
    }
)
_FUNCTIONAL_LINEAR = Shapes(
    {
        "input": "*batch in_features",
        "weight": "out_features? in_features",
        "bias": "out_features?",
        "output": "*batch out_features?",
    }
)
_BILINEAR = Shapes(
    {
        "input1": "*batch in1_features",
        "input2": "*batch in2_features",
        "weight": "out_features in1_features in2_features",
        "bias": "out_features if bias",
        "output": "*batch out_features",
    }
)
_FUNCTIONAL_BILINEAR = replace(_BILINEAR, texts={**_BILINEAR.texts, "bias": "out_features"})


def _inferred_arguments(input: Shape) -> Mapping[str, Any]:
    return {"in_features": input[-1]}


def _initial_tensors(arguments: Arguments, shapes: Mapping[str, Shape]) -> tuple[StateTensor, ...]:
    """Tensors drawn uniformly; the bound depends on the first operand's number of features."""
    return uniform_parameters(shapes, shapes["weight"][1])


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    return 2 * math.prod(weights[0]) * math.prod(outputs[0][:-1])


def _flops_bilinear(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Operations of x₁ᵀA, then of its product with x₂."""
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


def _workloads_of(name: str, workloads: Iterator[Workload]) -> tuple[Workload, ...]:
    return tuple(w for w in workloads if w.layer == name)


def _identity_spec() -> LayerSpec:
    return LayerSpec(
        "Identity",
        "linear",
        signature=Signature(
            (),
            (Input("input"),),
            (Output("output", dtype=input_dtype),),
            takes_device_and_dtype=False,
        ),
        oracle=Oracle(
            values=oracle.identity,
            formula=(
                "a placeholder identity operator that is argument-insensitive: output = input",
            ),
            propagation=copied,
        ),
        generation=Generation(cases=partial(cases.identities, "Identity"), examples_fraction=0.3),
        shapes=Shapes({"input": "*batch", "output": "*batch"}),
        traits=Traits(may_alias_inputs=True, copies_input=True),
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
    """The product x Aᵀ, without the bias."""

    def without_bias(name: str, x: np.ndarray | None) -> Rounded | None:
        if x is None:
            return None
        bias = trial.spec.role(name) == "bias"
        return exact_operand(np.zeros(x.shape) if bias else x, trial.precision)

    state = {k: without_bias(k, x) for k, x in trial.case.call.state.items()}
    inputs = list(map(without_bias, trial.spec.signature.input_names, trial.case.inputs))
    (product,) = trial.evaluate({k: x for k, x in state.items() if x is not None}, inputs)
    return product


def _linear_spec(name: str, arguments: tuple[Argument, ...], values: Any) -> LayerSpec:
    valid = partial(cases.linears, name)
    function = is_function(name)
    lazy = name.startswith("Lazy")
    shapes = _FUNCTIONAL_LINEAR if function else _LINEAR
    inputs = (Input("input"), *(_WEIGHTS if function else ()))
    signature = Signature(arguments, inputs, (Output("output"),))
    breaks = invalid.negative_sizes(*signature.required)
    return LayerSpec(
        name,
        "linear",
        signature=signature,
        shapes=shapes,
        oracle=Oracle(
            values=values,
            formula=("y = x A^T + b",),
            equivalent_module="Linear" if function else None,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, (*shape_breaks(signature, shapes), *breaks)),
            examples_fraction=0.3 if lazy else 1.0,
        ),
        state=State() if function else State(tensors_from_shapes=_initial_tensors),
        traits=Traits(wide_sums=True, stored_product=_product),
        laws=(*_SUMS, laws.vector if function else multilinear.lazy_equals_eager),
        benchmark=Benchmark(
            workloads=_workloads_of(name, _linear_workloads()),
            filling=Filling(wide_adjoints=True),
            flops=_flops,
        ),
        lazy=Lazy("Linear", _inferred_arguments) if lazy else None,
    )


def _bilinear_spec(name: str, arguments: tuple[Argument, ...], values: Any) -> LayerSpec:
    valid = partial(cases.bilinears, name)
    function = is_function(name)
    shapes = _FUNCTIONAL_BILINEAR if function else _BILINEAR
    inputs = (Input("input1"), Input("input2"), *(_WEIGHTS if function else ()))
    signature = Signature(arguments, inputs, (Output("output"),))
    breaks = () if function else invalid.bilinear_breaks()
    return LayerSpec(
        name,
        "linear",
        signature=signature,
        shapes=shapes,
        oracle=Oracle(
            values=values,
            formula=("y = x_1^T A x_2 + b",),
            propagation=chained_sums,
            equivalent_module="Bilinear" if function else None,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, (*shape_breaks(signature, shapes), *breaks)),
            max_planned_size=1_025,
        ),
        state=State() if function else State(tensors_from_shapes=_initial_tensors),
        laws=(*_SUMS, laws.swap),
        benchmark=Benchmark(
            workloads=_workloads_of(name, _bilinear_workloads()),
            filling=Filling(factors=3),
            flops=_flops_bilinear,
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    yield _identity_spec()
    yield _linear_spec("Linear", (_IN, _OUT, _BIAS), oracle.linear)
    yield _linear_spec("LazyLinear", (_OUT, _BIAS), oracle.lazy_linear)
    yield _linear_spec("functional.linear", (), oracle.functional_linear)
    yield _bilinear_spec("Bilinear", (*_PAIR, _OUT, _BIAS), oracle.bilinear)
    yield _bilinear_spec("functional.bilinear", (), oracle.functional_bilinear)
