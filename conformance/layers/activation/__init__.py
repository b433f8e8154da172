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
from conformance.oracles.forms import of_module
from conformance.spec.axes import Axes, joined
from conformance.spec.elementwise import every_axis, whole
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

_INPLACE = Argument("inplace", False, other=True)
_TRAINING = Argument("training", False, other=True)


_ANY = {"input": "batch? *rest", "output": "batch? *rest"}
_CHANNELS = "batch num_parameters *rest if num_parameters != 1 else batch? channels? *rest"
_PRELU = Shapes({"input": _CHANNELS, "weight": "num_parameters", "output": _CHANNELS})


def _writes(call: Call) -> bool:
    return bool(call.arguments.get("inplace", False))


def _always_writes(call: Call) -> bool:
    return True


def _flops(
    operations: int, workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    return operations * math.prod(outputs[0])


def _draws(call: Call) -> bool:
    """Whether the call draws slopes: in training, from an interval that is not a point."""
    training = call.training or call.arguments.get("training", False)
    return bool(training) and call.arguments.get("lower", 1 / 8) < call.arguments.get(
        "upper", 1 / 3
    )


def _argument(parameter: Parameter) -> Argument:
    default = REQUIRED if parameter.default is None else parameter.default
    return Argument(parameter.name, default, parameter.plain, other=parameter.other)


def _elementwise(name: str, activation: Activation) -> LayerSpec:
    kind = KINDS[activation.module]
    breaks = invalid.activation_breaks(name)
    valid = partial(cases.activations, name)
    modes = activation.random and not is_function(name)
    always = is_in_place(name)
    inplace = always or activation.inplace
    updates = _always_writes if always else _writes
    arguments = (
        *map(_argument, activation.parameters),
        *((_TRAINING,) if activation.random and not modes else ()),
        *((_INPLACE,) if activation.inplace and not always else ()),
    )
    return LayerSpec(
        name,
        "activation",
        signature=Signature(
            arguments,
            (Input("input", updated=inplace),),
            (Output("output"),),
            complex=False,
            placed=False,
        ),
        shapes=Shapes(_ANY, where=(activation.order,) if activation.order else ()),
        oracle=Oracle(
            values=partial(kind.oracle, inplace=True) if always else kind.oracle,
            formula=(activation.formula,),
            propagation=computed,
        ),
        generation=Generation(
            cases=valid,
            # None where every shape and every argument is valid.
            invalid=invalid_cases(valid, breaks) if breaks else None,
            examples=activation.examples,
            whole=partial(whole, name, arguments),
        ),
        traits=Traits(aliases=inplace, updates=updates, modes=modes),
        laws=(laws.elements, laws.reshaped, laws.in_place if always else laws.form, *kind.laws),
        randomness=Randomness(
            used=_draws if activation.random else never,
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
    plain = {p.name: p.plain for p in activation.parameters if p.default is None}
    yield Workload(name, "64 by 3072", plain, ((64, 3072),), small=True)
    if activation.feeds_forward:
        yield Workload(name, "64 by 16384", plain, ((64, 16384),))


def _slope_state(arguments: Arguments, shapes: Mapping[str, Shape]) -> tuple[StateTensor, ...]:
    return (StateTensor("weight", shapes["weight"], Constant(arguments.get("init", 0.25))),)


def _first(case: Case) -> int | None:
    x = case.inputs[0]
    return 0 if x is not None and x.ndim else None


def _unslanted(case: Case) -> tuple[Axes, ...]:
    """Every axis except that of the channels."""
    return tuple(group for group in every_axis(case) if group != ((0, 1),))


def _slopes(case: Case) -> tuple[Axes, ...]:
    """The axis of the channels, where the weight has a slope for each."""
    weight = case.inputs[1]
    return (joined(case, (0, 1), (1, 0)),) if weight is not None and weight.size > 1 else ()


def _with_slopes(name: str) -> LayerSpec:
    function = is_function(name)
    valid = partial(cases.prelus, name)
    shapes: tuple[Shape, ...] = ((64, 256, 7, 7), (256,)) if function else ((64, 256, 7, 7),)
    given = {} if function else {"num_parameters": 256}
    module = (Argument("num_parameters", 1, other=2), Argument("init", 0.25, other=0.5))
    weight = (Input("weight", "weight"),) if function else ()
    signature = Signature(
        () if function else module,
        (Input("input", batch_axis=_first), *weight),
        (Output("output", _first),),
        complex=False,
    )
    named = () if function else shape_breaks(signature, _PRELU)
    return LayerSpec(
        name,
        "activation",
        signature=signature,
        # The notation cannot say that the function's weight has one slope or one per channel.
        shapes=None if function else _PRELU,
        oracle=Oracle(
            values=oracle.prelu if function else of_module(oracle.prelu, "weight"),
            shapes=oracle.prelu_shape if function else None,
            formula=("PReLU(x) = max(0, x) + a min(0, x)",),
            propagation=computed,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, (*named, *invalid.prelu_breaks(name))),
            examples=0.4,
        ),
        variation=Variation(free=_unslanted, shared=_slopes) if function else Variation(),
        state=State() if function else State(shaped=_slope_state),
        laws=slopes.PRELU,
        benchmark=Benchmark(
            workloads=(Workload(name, "64 by 256 by 7 by 7", given, shapes, small=True),),
            filling=Filling(contraction=False, scale=lambda name, arguments: 1.0),
            flops=partial(_flops, 2),
        ),
    )


def rows() -> Iterator[LayerSpec]:
    """The family's layers: modules, then functions, then functions that work in place."""
    for place in range(2):
        for activation in ACTIVATIONS.values():
            yield _elementwise((activation.module, activation.function)[place], activation)
        yield _with_slopes(("PReLU", "functional.prelu")[place])
    for activation in ACTIVATIONS.values():
        if activation.in_place:
            yield _elementwise(activation.in_place, activation)
