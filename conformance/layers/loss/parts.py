"""Parts that losses share: their reduction, their batch axis, their timed calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from conformance.model.case import Case
from conformance.spec.parts import State
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Arguments, Output
from conformance.spec.state import Shape, StateTensor
from conformance.spec.workload import Filling, Workload

REDUCTION = Argument("reduction", "mean", alternative="sum")
LOSS = Output("loss")


def loss_shapes(loss: str, **tensors: str) -> Shapes:
    """The shapes of a loss in named sizes.

    Args:
        loss: shape of the losses without a reduction.
        tensors: shapes of inputs and state tensors.
    """
    return Shapes({**tensors, "loss": f"{loss} if reduction == 'none' else ()"})


def first_axis(rank: int, case: Case) -> int | None:
    """Axis 0 if it counts the samples: if the first input has at least `rank` axes."""
    first = case.inputs[0]
    return 0 if first is not None and first.ndim >= rank else None


batch_axis = partial(first_axis, 2)
"""Axis 0, if the first input has two axes or more; with one axis it is a single sample."""


def weight_tensors(arguments: Arguments, shapes: Mapping[str, Shape]) -> tuple[StateTensor, ...]:
    """Weights of the losses, as buffers that the constructor takes."""
    return tuple(
        StateTensor(name, shape, buffer=True, constraint="positive")
        for name, shape in shapes.items()
    )


CLASS_WEIGHTS = State(tensors_from_shapes=weight_tensors, constructor_tensors=("weight",))
"""State of a module with a weight for each class."""


def weight_scale(name: str, arguments: Mapping[str, Any]) -> float:
    """Scale of the weights of timed linear maps: logits are then about 1."""
    return 0.1


def loss_output(batch: Callable[[Case], int | None]) -> Output:
    """The output, which has the batch axis `batch(case)` if the call does not reduce."""

    def losses(case: Case) -> int | None:
        return batch(case) if case.call.arguments.get("reduction", "mean") == "none" else None

    return Output("loss", losses)


def random_signs(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    """±1 for each sample; the last input has their shape."""
    return generator.choice([1.0, -1.0], shapes[-1])


def _scale(name: str, arguments: Mapping[str, Any]) -> float:
    return 1.0


def make_filling(
    **fillers: Callable[[tuple[Shape, ...], np.random.Generator], np.ndarray],
) -> Filling:
    """How to fill the arrays of timed calls, which no matrix product reads.

    Args:
        fillers: input → function that makes it, for inputs that are not ordinary numbers.
    """
    return Filling(contraction=False, scale=_scale, array_makers=fillers)


def flops_per_element(count: int) -> Callable[[Workload, Sequence[Shape], Sequence[Shape]], int]:
    """Return a function that counts `count` operations per element of the first input."""
    return lambda workload, weights, outputs: count * math.prod(workload.inputs[0])


def timed_call(name: str, *shapes: Shape) -> tuple[Workload, ...]:
    """One timed call of the layer `name`, with inputs of these shapes."""
    text = " by ".join(map(str, shapes[0]))
    return (Workload(name, text, {}, shapes, small=True),)
