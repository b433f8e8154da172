"""Layers whose weight is computed from other tensors: weight_norm and spectral_norm.

The wrapped layer's own specification says its inputs, its outputs and its use of the weight.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.laws import parametrizations as laws
from conformance.model.case import Call, Case, Updated, argument_module_call
from conformance.oracles import parametrizations as oracle
from conformance.spec.law import Law
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import (
    Benchmark,
    Conditions,
    Generation,
    Oracle,
    State,
    Traits,
    no_product,
)
from conformance.spec.propagation import Propagation, chained_sums, computed, in_range
from conformance.spec.signature import Argument, Form, Input, Output, Signature
from conformance.spec.state import Shape, StateTensor
from conformance.spec.trial_protocol import FactsLike as Facts
from conformance.spec.trial_protocol import TrialLike
from conformance.spec.workload import Filling, Workload
from conformance.strategies import parametrizations as cases
from conformance.strategies.invalid import parametrizations as invalid
from conformance.strategies.invalid.breaks import Break, invalid_cases

_LINEAR = ("Linear", (("in_features", 512), ("out_features", 512)))
_NAME = Argument("name", "weight", alternative="bias")


def _spec_of(module: oracle.Module) -> LayerSpec:
    # Imported here: the catalogue imports this module.
    from conformance.layers import CATALOGUE

    return CATALOGUE[module[0]]


def _layer_cases(name: str, dtype: str) -> Any:
    """The strategy of a layer's cases."""
    return _spec_of((name, ())).generation.cases(dtype)


def _layer_case(case: Case) -> Case:
    """The case as a call of the wrapped layer."""
    return replace(case, call=argument_module_call(case.call, case.call.arguments["module"]))


def _wrapped_layer(facts: Facts) -> str:
    """Name of the layer whose weight is computed."""
    return str(facts.case.call.arguments["module"][0])


def _batch_axis(place: int, case: Case) -> int | None:
    spec = _spec_of(case.call.arguments["module"])
    return spec.batch_axis(_layer_case(case), place)


def _output_batch_axis(case: Case) -> int | None:
    spec = _spec_of(case.call.arguments["module"])
    return spec.output_batch_axis(_layer_case(case), spec.signature.outputs[0])


def _values(
    weight: Callable[..., tuple[Rounded, dict[str, Rounded]]],
    state: Mapping[str, Rounded],
    *inputs: Rounded,
    **arguments: Any,
) -> Any:
    """Outputs of the wrapped layer's oracle with the computed weight."""
    module, name = arguments["module"], arguments.get("name", "weight")
    computed_weight, updates = weight(state, **arguments)
    other_tensors = {key: x for key, x in state.items() if not key.startswith("parametrizations.")}
    output = _spec_of(module).oracle.values(
        {**other_tensors, name: computed_weight}, *inputs, **dict(module[1])
    )
    return Updated(output, updates) if updates else output


def _layer_state(weight: Callable[..., Any], trial: TrialLike) -> dict[str, Rounded]:
    """The state of the wrapped layer, with its computed weight."""
    case, spec = trial.case, trial.spec
    mode = {"training": case.call.training} if spec.traits.train_and_eval_differ else {}
    state = {key: exact_operand(x, trial.precision) for key, x in case.call.state.items()}
    with np.errstate(all="ignore"):
        layer_weight, _ = weight(state, **spec.oracle_arguments(case), **mode)
    return {**state, case.call.arguments.get("name", "weight"): layer_weight}


def _expected(weight: Callable[..., Any], trial: TrialLike) -> tuple[Rounded, ...]:
    """The oracle's values; unbounded errors where a product of three factors may overflow."""
    expected, case = computed.expected(trial), trial.case
    if _spec_of(case.call.arguments["module"]).oracle.propagation is not chained_sums:
        return expected
    factor = _layer_state(weight, trial)["weight"].value
    x1, x2 = (x for x in case.inputs if x is not None)
    if in_range(trial.precision, x1, factor, x2):
        return expected
    return tuple(x.with_error(np.full(x.shape, np.inf)) for x in expected)


def _product(weight: Callable[..., Any], trial: TrialLike) -> Rounded | None:
    """The wrapped layer's product without its bias; None where that layer has no product."""
    module = trial.case.call.arguments["module"]
    spec = _spec_of(module)
    if spec.traits.stored_product is no_product:
        return None
    state = _layer_state(weight, trial)
    if "bias" in state:
        state["bias"] = exact_operand(np.zeros(state["bias"].shape), trial.precision)
    inputs = [exact_operand(x, trial.precision) for x in trial.case.inputs if x is not None]
    product = spec.oracle.values(state, *inputs, **dict(module[1]))
    assert isinstance(product, Rounded)
    return product


def _shapes(*inputs: Shape, module: oracle.Module, **others: Any) -> tuple[Shape | None, ...]:
    return _spec_of(module).output_shapes_for(inputs, dict(module[1]))


def _layer_tensors(
    module: oracle.Module, name: str, input: Shape
) -> tuple[tuple[StateTensor, ...], StateTensor]:
    """The layer's tensors that stay parameters, and the tensor that is computed."""
    tensors = _spec_of(module).state_tensors(dict(module[1]), input)
    (reparametrized,) = (x for x in tensors if x.name == name)
    return tuple(x for x in tensors if x.name != name), reparametrized


def _weight_norm_tensors(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """Add g, initially the norm of the weight, and v, initially the weight itself."""
    name, dim = arguments.get("name", "weight"), arguments.get("dim", 0)
    other_tensors, reparametrized = _layer_tensors(arguments["module"], name, input)
    names = oracle.state_names(name)
    shape = oracle.magnitude_shape(reparametrized.shape, dim)
    # The weight is the same if g and v both change sign.
    g = StateTensor(names["g"], shape, constraint="positive")
    return (*other_tensors, g, replace(reparametrized, name=names["v"]))


def _spectral_norm_tensors(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """Add W, initially the weight, and buffers u and v, which a vector does not have."""
    name, dim = arguments.get("name", "weight"), arguments.get("dim")
    module = arguments["module"]
    other_tensors, reparametrized = _layer_tensors(module, name, input)
    names = oracle.state_names(name)
    tensors = (*other_tensors, replace(reparametrized, name=names["weight"]))
    if len(reparametrized.shape) < 2:
        return tensors
    rows, columns = oracle.matrix_shape(
        reparametrized.shape, oracle.output_axis(module) if dim is None else dim
    )
    u, v = (
        StateTensor(names[key], (size,), buffer=True, constraint="positive")
        for key, size in (("left", rows), ("right", columns))
    )
    return (*tensors, u, v)


def _resize(spec: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments; None if the state depends on one that changes.

    Every required input of the wrapped layer must be present.
    """
    fixed = ("module", "name", "dim")
    old, new = ({**spec.signature.defaults, **x} for x in (case.call.arguments, arguments))
    layer_inputs = _spec_of(old["module"]).signature.inputs
    if any(
        x is None and not place.optional
        for x, place in zip(case.inputs, layer_inputs, strict=False)
    ):
        return None
    if any(new[key] != old[key] for key in fixed):
        return None
    return replace(case, call=replace(case.call, arguments=arguments))


def _is_training(call: Call) -> bool:
    return call.training


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Operations of the Linear, and three per element of its weight."""
    largest = max((math.prod(shape) for shape in weights), default=0)
    return 2 * largest * math.prod(outputs[0][:-1]) + 3 * largest


@dataclass(frozen=True)
class _Kind:
    """One parametrization.

    Args:
        arguments: those besides the module and the name.
        formula: what it computes.
        weight: oracle of the weight: state, arguments → the weight and updated tensors.
        state: arguments, input shape → tensors of the wrapped module's state.
        cases: strategy of valid cases.
        breaks: ways to make a call invalid.
        laws: relations that hold of it.
        train_and_eval_differ: train mode differs from eval mode.
    """

    arguments: tuple[Argument, ...]
    formula: tuple[str, ...]
    weight: Callable[..., Any]
    state: Callable[[Mapping[str, Any], Shape], tuple[StateTensor, ...]]
    cases: Callable[..., Any]
    breaks: tuple[Break, ...]
    laws: tuple[Law, ...]
    train_and_eval_differ: bool = False


_KINDS = {
    "weight_norm": _Kind(
        (Argument("dim", 0),),
        (
            "w = g v / |v|, the norm over all axes but dim, of None over all",
            "and what the module computes with the weight w",
        ),
        oracle.weight_norm_weight,
        _weight_norm_tensors,
        cases.weight_norms,
        invalid.WEIGHT,
        laws.WEIGHT,
    ),
    "spectral_norm": _Kind(
        (
            Argument("n_power_iterations", 1, alternative=2),
            Argument("eps", 1e-12, alternative=1e-6),
            Argument("dim", None),
        ),
        (
            "w = W / s, s = u^T W v, W as a matrix with dim first",
            "in training before: n_power_iterations times u = W v / |W v|, v = W^T u / |W^T u|",
            "of a vector w = W / |W|",
            "and what the module computes with the weight w",
        ),
        oracle.spectral_norm_weight,
        _spectral_norm_tensors,
        cases.spectral_norms,
        invalid.SPECTRAL,
        laws.SPECTRAL,
        train_and_eval_differ=True,
    ),
}


def _iterates(case: Case) -> bool:
    return _is_training(case.call)


def _layer_spec(name: str, kind: _Kind) -> LayerSpec:
    valid = partial(kind.cases, name, cases_of=_layer_cases)
    module = Argument("module", simplest=_LINEAR, form=Form(module=True))
    return LayerSpec(
        name,
        "parametrizations",
        signature=Signature(
            (module, _NAME, *kind.arguments),
            (
                Input("input", batch_axis=partial(_batch_axis, 0)),
                Input("input2", optional=True, batch_axis=partial(_batch_axis, 1)),
            ),
            (Output("output", _output_batch_axis),),
            supports_complex=False,
            takes_device_and_dtype=False,
        ),
        oracle=Oracle(
            values=partial(_values, kind.weight),
            shapes=_shapes,
            formula=kind.formula,
            propagation=Propagation(partial(_expected, kind.weight), special_parameters=False),
        ),
        generation=Generation(
            cases=valid, invalid=invalid_cases(valid, kind.breaks), examples_fraction=0.5
        ),
        variation=Variation(resize=_resize),
        state=State(kind.state, roles={}),
        traits=Traits(
            train_and_eval_differ=kind.train_and_eval_differ,
            updates_state=_is_training if kind.train_and_eval_differ else Traits().updates_state,
            overrides_derivative=(
                _iterates if kind.train_and_eval_differ else Traits().overrides_derivative
            ),
            stored_product=partial(_product, kind.weight),
        ),
        conditions=Conditions(derived_facts={"wrapped": _wrapped_layer}),
        laws=kind.laws,
        benchmark=Benchmark(
            workloads=(
                Workload(name, "linear 512 to 512", {"module": _LINEAR}, ((64, 512),), small=True),
            ),
            filling=Filling(contraction=False),
            flops=_flops,
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    for name, kind in _KINDS.items():
        yield _layer_spec(f"utils.parametrizations.{name}", kind)
