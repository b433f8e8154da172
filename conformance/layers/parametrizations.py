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

from conformance.arithmetic.rounded import Rounded, exactly
from conformance.laws import parametrizations as laws
from conformance.model.case import Call, Case, Updated, part
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
_NAME = Argument("name", "weight", other="bias")


def _row_of(module: oracle.Module) -> LayerSpec:
    # Imported here: the catalogue imports this module.
    from conformance.layers import CATALOGUE

    return CATALOGUE[module[0]]


def _cases_of(name: str, dtype: str) -> Any:
    """The strategy of a layer's cases."""
    return _row_of((name, ())).generation.cases(dtype)


def _inner(case: Case) -> Case:
    """The case as a call of the wrapped layer."""
    return replace(case, call=part(case.call, case.call.arguments["module"]))


def _wrapped(found: Facts) -> str:
    """Name of the layer whose weight is computed."""
    return str(found.case.call.arguments["module"][0])


def _batch(place: int, case: Case) -> int | None:
    row = _row_of(case.call.arguments["module"])
    return row.batch_axis(_inner(case), place)


def _batch_out(case: Case) -> int | None:
    row = _row_of(case.call.arguments["module"])
    return row.output_batch_axis(_inner(case), row.signature.outputs[0])


def _values(
    weight: Callable[..., tuple[Rounded, dict[str, Rounded]]],
    state: Mapping[str, Rounded],
    *inputs: Rounded,
    **arguments: Any,
) -> Any:
    """Outputs of the wrapped layer's oracle with the computed weight."""
    module, name = arguments["module"], arguments.get("name", "weight")
    found, after = weight(state, **arguments)
    whole = {key: x for key, x in state.items() if not key.startswith("parametrizations.")}
    output = _row_of(module).oracle.values({**whole, name: found}, *inputs, **dict(module[1]))
    return Updated(output, after) if after else output


def _layer_state(weight: Callable[..., Any], trial: TrialLike) -> dict[str, Rounded]:
    """The state of the wrapped layer, with its computed weight."""
    case, row = trial.case, trial.row
    mode = {"training": case.call.training} if row.traits.modes else {}
    state = {key: exactly(x, trial.precision) for key, x in case.call.state.items()}
    with np.errstate(all="ignore"):
        own, _ = weight(state, **row.written(case), **mode)
    return {**state, case.call.arguments.get("name", "weight"): own}


def _expected(weight: Callable[..., Any], trial: TrialLike) -> tuple[Rounded, ...]:
    """The oracle's values; unbounded errors where a product of three factors may overflow."""
    found, case = computed.expected(trial), trial.case
    if _row_of(case.call.arguments["module"]).oracle.propagation is not chained_sums:
        return found
    factor = _layer_state(weight, trial)["weight"].value
    x1, x2 = (x for x in case.inputs if x is not None)
    if in_range(trial.precision, x1, factor, x2):
        return found
    return tuple(x.with_error(np.full(x.shape, np.inf)) for x in found)


def _product(weight: Callable[..., Any], trial: TrialLike) -> Rounded | None:
    """The wrapped layer's product without its bias; None where that layer has no product."""
    module = trial.case.call.arguments["module"]
    row = _row_of(module)
    if row.traits.product is no_product:
        return None
    state = _layer_state(weight, trial)
    if "bias" in state:
        state["bias"] = exactly(np.zeros(state["bias"].shape), trial.precision)
    inputs = [exactly(x, trial.precision) for x in trial.case.inputs if x is not None]
    found = row.oracle.values(state, *inputs, **dict(module[1]))
    assert isinstance(found, Rounded)
    return found


def _shapes(*inputs: Shape, module: oracle.Module, **others: Any) -> tuple[Shape | None, ...]:
    return _row_of(module).shapes_of(inputs, dict(module[1]))


def _tensors(
    module: oracle.Module, name: str, input: Shape
) -> tuple[tuple[StateTensor, ...], StateTensor]:
    """The layer's tensors that stay parameters, and the tensor that is computed."""
    found = _row_of(module).state_tensors(dict(module[1]), input)
    (own,) = (x for x in found if x.name == name)
    return tuple(x for x in found if x.name != name), own


def _of_length(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """Add g, initially the norm of the weight, and v, initially the weight itself."""
    name, dim = arguments.get("name", "weight"), arguments.get("dim", 0)
    others, own = _tensors(arguments["module"], name, input)
    names = oracle.names_of(name)
    shape = oracle.magnitude_shape(own.shape, dim)
    # The weight is the same if g and v both change sign.
    g = StateTensor(names["g"], shape, constraint="positive")
    return (*others, g, replace(own, name=names["v"]))


def _of_largest(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """Add W, initially the weight, and buffers u and v, which a vector does not have."""
    name, dim = arguments.get("name", "weight"), arguments.get("dim")
    module = arguments["module"]
    others, own = _tensors(module, name, input)
    names = oracle.names_of(name)
    found = (*others, replace(own, name=names["weight"]))
    if len(own.shape) < 2:
        return found
    rows, columns = oracle.matrix_shape(
        own.shape, oracle.output_axis(module) if dim is None else dim
    )
    u, v = (
        StateTensor(names[key], (size,), buffer=True, constraint="positive")
        for key, size in (("left", rows), ("right", columns))
    )
    return (*found, u, v)


def _same(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments; None if the state depends on one that changes.

    Every required input of the wrapped layer must be present.
    """
    fixed = ("module", "name", "dim")
    given, found = ({**row.signature.defaults, **x} for x in (case.call.arguments, arguments))
    own = _row_of(given["module"]).signature.inputs
    if any(x is None and not place.optional for x, place in zip(case.inputs, own, strict=False)):
        return None
    if any(found[key] != given[key] for key in fixed):
        return None
    return replace(case, call=replace(case.call, arguments=arguments))


def _trains(call: Call) -> bool:
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
        modes: train mode differs from eval mode.
    """

    arguments: tuple[Argument, ...]
    formula: tuple[str, ...]
    weight: Callable[..., Any]
    state: Callable[[Mapping[str, Any], Shape], tuple[StateTensor, ...]]
    cases: Callable[..., Any]
    breaks: tuple[Break, ...]
    laws: tuple[Law, ...]
    modes: bool = False


_KINDS = {
    "weight_norm": _Kind(
        (Argument("dim", 0),),
        (
            "w = g v / |v|, the norm over all axes but dim, of None over all",
            "and what the module computes with the weight w",
        ),
        oracle.by_length,
        _of_length,
        cases.weight_norms,
        invalid.WEIGHT,
        laws.WEIGHT,
    ),
    "spectral_norm": _Kind(
        (
            Argument("n_power_iterations", 1, other=2),
            Argument("eps", 1e-12, other=1e-6),
            Argument("dim", None),
        ),
        (
            "w = W / s, s = u^T W v, W as a matrix with dim first",
            "in training before: n_power_iterations times u = W v / |W v|, v = W^T u / |W^T u|",
            "of a vector w = W / |W|",
            "and what the module computes with the weight w",
        ),
        oracle.by_largest_value,
        _of_largest,
        cases.spectral_norms,
        invalid.SPECTRAL,
        laws.SPECTRAL,
        modes=True,
    ),
}


def _row(name: str, kind: _Kind) -> LayerSpec:
    valid = partial(kind.cases, name, cases_of=_cases_of)
    module = Argument("module", plain=_LINEAR, form=Form(module=True))
    return LayerSpec(
        name,
        "parametrizations",
        signature=Signature(
            (module, _NAME, *kind.arguments),
            (
                Input("input", batch_axis=partial(_batch, 0)),
                Input("input2", optional=True, batch_axis=partial(_batch, 1)),
            ),
            (Output("output", _batch_out),),
            complex=False,
            placed=False,
        ),
        oracle=Oracle(
            values=partial(_values, kind.weight),
            shapes=_shapes,
            formula=kind.formula,
            propagation=Propagation(partial(_expected, kind.weight), parameters=False),
        ),
        generation=Generation(cases=valid, invalid=invalid_cases(valid, kind.breaks), examples=0.5),
        variation=Variation(refit=_same),
        state=State(kind.state, roles={}),
        traits=Traits(
            modes=kind.modes,
            updates=_trains if kind.modes else Traits().updates,
            product=partial(_product, kind.weight),
        ),
        conditions=Conditions(derived={"wrapped": _wrapped}),
        laws=kind.laws,
        benchmark=Benchmark(
            workloads=(
                Workload(name, "linear 512 to 512", {"module": _LINEAR}, ((64, 512),), small=True),
            ),
            filling=Filling(contraction=False),
            flops=_flops,
        ),
    )


def rows() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    for name, kind in _KINDS.items():
        yield _row(f"utils.parametrizations.{name}", kind)
