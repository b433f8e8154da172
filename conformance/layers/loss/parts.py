"""What the rows of losses have in common: their reduction, their batch, how they are timed."""

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

REDUCTION = Argument("reduction", "mean", other="sum")
LOSS = Output("loss")


def shapes_of(loss: str, **tensors: str) -> Shapes:
    """The shapes of a loss in named sizes.

    Args:
        loss: that of the losses where they are not reduced.
        tensors: inputs and state.
    """
    return Shapes({**tensors, "loss": f"{loss} if reduction == 'none' else ()"})


def first_axis(rank: int, case: Case) -> int | None:
    """The axis that counts the samples.

    Args:
        rank: axes of the first input from which on it has samples.
    """
    first = case.inputs[0]
    return 0 if first is not None and first.ndim >= rank else None


rows = partial(first_axis, 2)
"""The axis of the samples, where the first input is not that of one sample."""


def weights(arguments: Arguments, shapes: Mapping[str, Shape]) -> tuple[StateTensor, ...]:
    """Weights of the losses, where the constructor takes them."""
    return tuple(
        StateTensor(name, shape, buffer=True, constraint="positive")
        for name, shape in shapes.items()
    )


WEIGHTED = State(shaped=weights, constructor_tensors=("weight",))
"""With a weight for each class."""


def scale_of_weights(name: str, arguments: Mapping[str, Any]) -> float:
    """Of the weights of timed maps: logits are about 1."""
    return 0.1


def unreduced(batch: Callable[[Case], int | None]) -> Output:
    """The loss, which has a batch axis where it is not reduced.

    Args:
        batch: case → the axis that counts the samples.
    """

    def losses(case: Case) -> int | None:
        return batch(case) if case.call.arguments.get("reduction", "mean") == "none" else None

    return Output("loss", losses)


def signs(shapes: tuple[Shape, ...], generator: np.random.Generator) -> np.ndarray:
    """±1 for each sample: the last of the inputs."""
    return generator.choice([1.0, -1.0], shapes[-1])


def _scale(name: str, arguments: Mapping[str, Any]) -> float:
    return 1.0


def filled(**made: Callable[[tuple[Shape, ...], np.random.Generator], np.ndarray]) -> Filling:
    """How the arrays of timed calls are filled: none is a sum of products.

    Args:
        made: input → what makes it, where it is not a number like any other.
    """
    return Filling(contraction=False, scale=_scale, made=made)


def flops(each: int) -> Callable[[Workload, Sequence[Shape], Sequence[Shape]], int]:
    """So many operations for each element of the first input.

    Args:
        each: how many.
    """
    return lambda workload, weights, outputs: each * math.prod(workload.inputs[0])


def timed(name: str, *shapes: Shape) -> tuple[Workload, ...]:
    """One call.

    Args:
        name: of the layer.
        shapes: of the inputs.
    """
    text = " by ".join(map(str, shapes[0]))
    return (Workload(name, text, {}, shapes, small=True),)
