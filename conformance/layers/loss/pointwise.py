"""Parts that elementwise losses share: batch, axes, pieces of their specifications."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from conformance.layers.loss.parts import REDUCTION, flops_per_element, loss_output, make_filling
from conformance.model.case import Case, is_function
from conformance.oracles.loss.reductions import common_shape
from conformance.spec.axes import Axes
from conformance.spec.layer_spec import Variation
from conformance.spec.parts import Benchmark, Generation, Oracle
from conformance.spec.propagation import Propagation, computed
from conformance.spec.signature import Argument, Input, Output, Signature
from conformance.spec.state import Shape
from conformance.spec.workload import Filling, Workload
from conformance.strategies.invalid.breaks import Break, invalid_cases

Shapes = Callable[[Case], list[Shape | None]]
"""Case → the shapes of its inputs, aligned at the last axis for broadcasting."""


def input_shapes(case: Case) -> list[Shape | None]:
    """The shapes of the inputs, None where one is left out."""
    return [None if x is None else x.shape for x in case.inputs]


def _common_shape(case: Case, shapes: list[Shape | None]) -> Shape:
    """The shape to which all operands broadcast."""
    present = [shape for shape in shapes if shape is not None]
    return np.broadcast_shapes(*present, *(x.shape for x in case.call.state.values()))


def _operand_axis(shape: Shape, common: Shape, axis: int) -> int | None:
    """The operand's axis at an axis of the common shape; None where it lacks it or has size 1."""
    place = axis - (len(common) - len(shape))
    return place if place >= 0 and shape[place] == common[axis] else None


def _is_fixed_by_state(case: Case, common: Shape, axis: int) -> bool:
    """Whether a tensor of the state fixes the size of an axis of the common shape."""
    return any(_operand_axis(x.shape, common, axis) is not None for x in case.call.state.values())


def independent_axes(shapes: Shapes = input_shapes) -> Callable[[Case], tuple[Axes, ...]]:
    """Return a function from a case to the axes whose size may change, the batch first.

    An operand with size 1 along an axis keeps that.

    Args:
        shapes: case → input shapes, with missing last axes added.
    """

    def axes(case: Case) -> tuple[Axes, ...]:
        operand_shapes, groups = shapes(case), list[Axes]()
        common = _common_shape(case, operand_shapes)
        for axis in range(len(common)):
            places = [
                (k, place)
                for k, (shape, x) in enumerate(zip(operand_shapes, case.inputs, strict=True))
                if shape is not None and x is not None
                if (place := _operand_axis(shape, common, axis)) is not None and place < x.ndim
            ]
            if not _is_fixed_by_state(case, common, axis):
                groups.append(tuple(places))
        return tuple(group for group in groups if group)

    return axes


def batch_axis_of(place: int, shapes: Shapes = input_shapes) -> Callable[[Case], int | None]:
    """Return a function from a case to the batch axis of the input `place`.

    Args:
        shapes: case → input shapes, with missing last axes added.
    """

    def batch_axis(case: Case) -> int | None:
        operand_shapes = shapes(case)
        common, shape, x = (
            _common_shape(case, operand_shapes),
            operand_shapes[place],
            case.inputs[place],
        )
        if (
            not common
            or shape is None
            or x is None
            or not x.ndim
            or _is_fixed_by_state(case, common, 0)
        ):
            return None
        return 0 if _operand_axis(shape, common, 0) == 0 else None

    return batch_axis


def loss_outputs(shapes: Shapes = input_shapes) -> tuple[Output, ...]:
    """The output: one loss per element, or their reduction.

    Args:
        shapes: case → input shapes, with missing last axes added.
    """
    return (loss_output(batch_axis_of(0, shapes)),)


VARIATION = Variation(independent_axes=independent_axes())
_OUTPUTS = loss_outputs()
_PROPAGATION = Propagation(computed.expected, special_parameters=False)
_FILLING = make_filling()
_REDUCED = ("mean: sum_n l_n / n", "sum: sum_n l_n")


def signature(
    inputs: tuple[Input, ...],
    arguments: tuple[Argument, ...] = (REDUCTION,),
    outputs: tuple[Output, ...] = _OUTPUTS,
) -> Signature:
    """The signature of an elementwise loss."""
    return Signature(
        arguments, inputs, outputs, supports_complex=False, takes_device_and_dtype=False
    )


def oracle(
    module: str | None,
    values: Callable[..., Any],
    formula: tuple[str, ...],
    propagation: Propagation = _PROPAGATION,
    shapes: Callable[..., tuple[Shape | None, ...]] = common_shape,
) -> Oracle:
    """The `Oracle` of an elementwise loss; `formula` is that of one element."""
    return Oracle(
        values=values,
        shapes=shapes,
        formula=(*formula, *_REDUCED),
        propagation=propagation,
        equivalent_module=module,
    )


def generation(
    name: str,
    make_cases: Callable[..., Any],
    breaks: tuple[Break, ...],
    constructed: tuple[str, ...] = (),
) -> Generation:
    """The `Generation` of an elementwise loss.

    Args:
        name: name of the module or of the function.
        make_cases: (name, dtype) → strategy of valid cases.
        breaks: ways to make these invalid.
        constructed: state tensors that the constructor takes.
    """
    valid = partial(make_cases, name)
    return Generation(
        cases=valid,
        invalid=invalid_cases(valid, breaks, constructed),
        examples_fraction=0.25 if is_function(name) else 0.4,
    )


def benchmark(
    name: str, operations: int, *, operands: int = 2, filling: Filling = _FILLING
) -> Benchmark:
    """The `Benchmark` of an elementwise loss: a million losses.

    Args:
        operations: number of operations for each element.
        operands: number of input arrays.
    """
    shape = (1024, 1024)
    workload = Workload(name, "1024 by 1024", {}, (shape,) * operands, small=True)
    return Benchmark(workloads=(workload,), filling=filling, flops=flops_per_element(operations))


def input_and_target(*, signed: bool) -> tuple[Input, Input]:
    """Input and target; targets are probabilities or counts, never negative."""
    first = Input("input", batch_axis=batch_axis_of(0), any_value=signed)
    return first, Input("target", "target", batch_axis=batch_axis_of(1), any_value=False)
