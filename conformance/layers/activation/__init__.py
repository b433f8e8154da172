"""Activations: modules, functions, and functions that work in place."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from conformance.laws.activation import elementwise as laws
from conformance.laws.activation import slopes
from conformance.layers.activation.kinds import KINDS
from conformance.model.activations import ACTIVATIONS, Activation, Parameter, is_in_place
from conformance.model.case import Call, Case, is_function
from conformance.oracles.activation import elementwise as oracle
from conformance.oracles.forms import module_oracle
from conformance.spec.axes import Axes, present_axes
from conformance.spec.elementwise import every_axis, exhaustive_cases
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import (
    Benchmark,
    Generation,
    Oracle,
    Randomness,
    State,
    Traits,
    never,
)
from conformance.spec.propagation import computed
from conformance.spec.shapes import Shapes
from conformance.spec.signature import REQUIRED, Argument, Arguments, Input, Output, Signature
from conformance.spec.state import Constant, Shape, StateTensor
from conformance.spec.workload import Filling, Workload
from conformance.strategies import activation as cases
from conformance.strategies.invalid import activation as invalid
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.shapes import shape_breaks

_INPLACE = Argument("inplace", False, alternative=True)
_TRAINING = Argument("training", False, alternative=True)


_ANY = {"input": "batch? *rest", "output": "batch? *rest"}
_CHANNELS = "batch num_parameters *rest if num_parameters != 1 else batch? channels? *rest"
_PRELU = Shapes({"input": _CHANNELS, "weight": "num_parameters", "output": _CHANNELS})


def _is_inplace(call: Call) -> bool:
    return bool(call.arguments.get("inplace", False))


def _is_always_inplace(call: Call) -> bool:
    return True


def _flops(
    operations: int, workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    return operations * math.prod(outputs[0])


def _draws_slopes(call: Call) -> bool:
    """Whether the call draws slopes: in training, from an interval that is not a point."""
    training = call.training or call.arguments.get("training", False)
    return bool(training) and call.arguments.get("lower", 1 / 8) < call.arguments.get(
        "upper", 1 / 3
    )


def _argument(parameter: Parameter) -> Argument:
    default = REQUIRED if parameter.default is None else parameter.default
    return Argument(parameter.name, default, parameter.simplest, alternative=parameter.alternative)


def _elementwise_spec(name: str, activation: Activation) -> LayerSpec:
    kind = KINDS[activation.module]
    breaks = invalid.activation_breaks(name)
    valid = partial(cases.activations, name)
    differs_by_mode = activation.random and not is_function(name)
    always_inplace = is_in_place(name)
    inplace = always_inplace or activation.inplace
    updates = _is_always_inplace if always_inplace else _is_inplace
    arguments = (
        *map(_argument, activation.parameters),
        *((_TRAINING,) if activation.random and not differs_by_mode else ()),
        *((_INPLACE,) if activation.inplace and not always_inplace else ()),
    )
    return LayerSpec(
        name,
        "activation",
        signature=Signature(
            arguments,
            (Input("input", updated=inplace),),
            (Output("output"),),
            supports_complex=False,
            takes_device_and_dtype=False,
        ),
        shapes=Shapes(_ANY, where=(activation.ordering,) if activation.ordering else ()),
        oracle=Oracle(
            values=partial(kind.oracle, inplace=True) if always_inplace else kind.oracle,
            formula=(activation.formula,),
            propagation=computed,
        ),
        generation=Generation(
            cases=valid,
            # None where every shape and every argument is valid.
            invalid=invalid_cases(valid, breaks) if breaks else None,
            examples_fraction=activation.examples_fraction,
            exhaustive_cases=partial(exhaustive_cases, name, arguments),
        ),
        traits=Traits(
            may_alias_inputs=inplace, updates_state=updates, train_and_eval_differ=differs_by_mode
        ),
        laws=(
            laws.elements,
            laws.reshaped,
            laws.in_place if always_inplace else laws.form,
            *kind.laws,
        ),
        randomness=Randomness(
            is_used=_draws_slopes if activation.random else never,
            draws=slopes.draws if activation.random else None,
        ),
        benchmark=Benchmark(
            workloads=tuple(_workloads(name, activation)),
            filling=Filling(contraction=False, scale=lambda name, arguments: 1.0),
            flops=partial(_flops, activation.operations),
        ),
        in_torch=activation.in_torch,
    )


def _workloads(name: str, activation: Activation) -> Iterator[Workload]:
    required_arguments = {p.name: p.simplest for p in activation.parameters if p.default is None}
    yield Workload(name, "64 by 3072", required_arguments, ((64, 3072),), small=True)
    if activation.feeds_forward:
        yield Workload(name, "64 by 16384", required_arguments, ((64, 16384),))


def _slope_tensors(arguments: Arguments, shapes: Mapping[str, Shape]) -> tuple[StateTensor, ...]:
    return (StateTensor("weight", shapes["weight"], Constant(arguments.get("init", 0.25))),)


def _batch_axis(case: Case) -> int | None:
    x = case.inputs[0]
    return 0 if x is not None and x.ndim else None


def _independent_axes(case: Case) -> tuple[Axes, ...]:
    """Every axis except that of the channels."""
    return tuple(group for group in every_axis(case) if group != ((0, 1),))


def _channel_axes(case: Case) -> tuple[Axes, ...]:
    """The axis of the channels, where the weight has a slope for each."""
    weight = case.inputs[1]
    return (present_axes(case, (0, 1), (1, 0)),) if weight is not None and weight.size > 1 else ()


def _prelu_spec(name: str) -> LayerSpec:
    function = is_function(name)
    valid = partial(cases.prelus, name)
    shapes: tuple[Shape, ...] = ((64, 256, 7, 7), (256,)) if function else ((64, 256, 7, 7),)
    timed_arguments = {} if function else {"num_parameters": 256}
    module = (Argument("num_parameters", 1, alternative=2), Argument("init", 0.25, alternative=0.5))
    weight = (Input("weight", "weight"),) if function else ()
    signature = Signature(
        () if function else module,
        (Input("input", batch_axis=_batch_axis), *weight),
        (Output("output", _batch_axis),),
        supports_complex=False,
    )
    from_shapes = () if function else shape_breaks(signature, _PRELU)
    return LayerSpec(
        name,
        "activation",
        signature=signature,
        # The notation cannot say that the function's weight has one slope or one per channel.
        shapes=None if function else _PRELU,
        oracle=Oracle(
            values=oracle.prelu if function else module_oracle(oracle.prelu, "weight"),
            shapes=oracle.prelu_shape if function else None,
            formula=("PReLU(x) = max(0, x) + a min(0, x)",),
            propagation=computed,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, (*from_shapes, *invalid.prelu_breaks(name))),
            examples_fraction=0.4,
        ),
        variation=Variation(independent_axes=_independent_axes, tied_axes=_channel_axes)
        if function
        else Variation(),
        state=State() if function else State(tensors_from_shapes=_slope_tensors),
        laws=slopes.PRELU,
        benchmark=Benchmark(
            workloads=(Workload(name, "64 by 256 by 7 by 7", timed_arguments, shapes, small=True),),
            filling=Filling(contraction=False, scale=lambda name, arguments: 1.0),
            flops=partial(_flops, 2),
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers: modules, then functions, then functions that work in place."""
    for form in range(2):
        for activation in ACTIVATIONS.values():
            yield _elementwise_spec((activation.module, activation.function)[form], activation)
        yield _prelu_spec(("PReLU", "functional.prelu")[form])
    for activation in ACTIVATIONS.values():
        if activation.in_place:
            yield _elementwise_spec(activation.in_place, activation)
