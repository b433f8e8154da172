"""Laws of every layer that is linear in its inputs and in its weight, and adds a bias.

They hold for convolution, transposed convolution, Linear and Bilinear.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.laws.convolution.calls import Operands
from conformance.model.case import is_function
from conformance.model.formats import round_to
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    in_float64,
    large_size,
    law,
    outputs_with_bounds,
    scale_exactly,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


# 17 rows with more numbers fill hundreds of megabytes: a call holds several copies of them.
_MAX_NUMBERS = 1 << 18


def _is_vector(op: Operands) -> bool:
    return op.weight.ndim == 1


@law("rows", "each row of a large batch is that row of a small one")
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 rows, drawn from the case's."""
    op = Operands.of(trial)
    count = len(op.x) if op.leading_axes else 1
    # torch refuses a bias for a weight of one dimension if the input has two dimensions. The law
    # makes no such calls, or a known failure would have to cover inputs of other ranks.
    if not count or (_is_vector(op) and op.x.ndim == 1) or op.numbers_per_row > _MAX_NUMBERS:
        return
    chosen = generator.integers(count, size=large_size(generator, op.cost))

    def select_rows(array: np.ndarray) -> np.ndarray:
        return (array if op.leading_axes else array[np.newaxis])[chosen]

    large = replace(op, inputs=tuple(select_rows(x) for x in op.inputs)).call()
    yield equality_claim(large, trial, wanted_moves=select_rows)


@law("singles", "a batch is the stack of its rows, each taken alone")
def singles(trial: Trial, generator: Generator) -> Claims:
    """At most four rows, each as a batch of one."""
    op = Operands.of(trial)
    if not op.leading_axes:
        return
    for row in generator.permutation(len(op.x))[:4]:
        row_slice = slice(int(row), int(row) + 1)
        alone = replace(op, inputs=tuple(x[row_slice] for x in op.inputs)).call()
        yield equality_claim(alone, trial, wanted_moves=lambda y, one=row_slice: y[one])  # type: ignore[misc]


@law("unbatched", "an input without a batch dimension is a batch of one")
def unbatched(trial: Trial, generator: Generator) -> Claims:
    """An unbatched case as a batch of one, or one row of a batch without the batch dimension."""
    op = Operands.of(trial)
    if not op.leading_axes:
        as_batch = replace(op, inputs=tuple(x[np.newaxis] for x in op.inputs)).call()
        yield equality_claim(as_batch, trial, got_moves=lambda y: y[0])
    elif len(op.x):
        row = int(generator.integers(len(op.x)))
        alone = replace(op, inputs=tuple(x[row] for x in op.inputs)).call()
        yield equality_claim(alone, trial, wanted_moves=lambda y: y[row])


def _operand(op: Operands, generator: Generator) -> tuple[int, np.ndarray]:
    """A random operand: its index among the inputs, −1 for the weight; and its array."""
    index = int(generator.integers(-1, len(op.inputs)))
    return index, op.weight if index < 0 else op.inputs[index]


def _replace_operand(op: Operands, index: int, array: np.ndarray) -> Operands:
    if index < 0:
        return replace(op, weight=array)
    inputs = list(op.inputs)
    inputs[index] = array
    return replace(op, inputs=tuple(inputs))


@law(
    "additive",
    "f(a) + f(b) = f(a + b) without a bias, in an input or in the weight",
    WITHIN_SUM_OF_BOUNDS,
)
def additive(trial: Trial, generator: Generator) -> Claims:
    """Each element goes to one of two summands, so that their sum does not round."""
    op = replace(Operands.of(trial), bias=None)
    index, array = _operand(op, generator)
    mask = generator.integers(2, size=array.shape)
    undivided, *parts = (
        _replace_operand(op, index, x).call() for x in (array, array * mask, array * (1 - mask))
    )
    (first,), (second,) = (outputs_with_bounds(part) for part in parts)
    with np.errstate(over="ignore", invalid="ignore"):
        total = in_float64(first) + in_float64(second)
    sum_side = Side(
        f"{parts[0].text()} + the rest of {'the weight' if index < 0 else 'it'}", (total,)
    )
    yield claim(undivided, outputs_with_bounds(undivided), sum_side)


@law(
    "scaled",
    "f(c·a; c·b) = c·f(a; b), c a power of two, a an input or the weight",
    WITHIN_SUM_OF_BOUNDS,
)
def scaled(trial: Trial, generator: Generator) -> Claims:
    """One operand and the bias times the factor, which may be negative."""
    op = Operands.of(trial)
    index, array = _operand(op, generator)
    factor = float(generator.choice([-1.0, 2.0, -4.0, 8.0]))
    bias = None if op.bias is None else op.bias * factor
    for x in (array * factor, np.zeros(0) if bias is None else bias):
        if not np.array_equal(round_to(x, trial.case.call.dtype), x):
            return
    other = _replace_operand(replace(op, bias=bias), index, array * factor).call()
    with np.errstate(over="ignore", invalid="ignore"):
        multiple = tuple(scale_exactly(in_float64(y), factor) for y in outputs_with_bounds(trial))
    yield claim(other, outputs_with_bounds(other), Side(f"{factor:g} · {trial.text()}", multiple))


@law("outputs", "output channels or features are computed each by itself")
def outputs(trial: Trial, generator: Generator) -> Claims:
    """17 or more outputs, drawn from the case's."""
    op = Operands.of(trial)
    if _is_vector(op):
        return
    axis = 1 if op.transposed else 0
    groups = op.groups
    count = op.weight.shape[axis] // (1 if op.transposed else groups)
    size = -(
        -large_size(generator, op.cost * op.batch_size / (count * groups), maximum=65) // groups
    )
    chosen = generator.integers(count, size=size)

    def select_outputs(array: np.ndarray, axis: int, groups: int = groups) -> np.ndarray:
        """Select the chosen outputs of each group."""
        before, after = array.shape[:axis], array.shape[axis + 1 :]
        by_group = array.reshape(*before, groups, count, *after)
        selected = by_group.take(chosen, axis + 1)
        return selected.reshape(*before, groups * size, *after)

    weight = select_outputs(op.weight, axis, 1 if op.transposed else groups)
    bias = None if op.bias is None else select_outputs(op.bias, 0)
    selected_call = replace(op, weight=weight, bias=bias).call()
    yield equality_claim(
        selected_call, trial, wanted_moves=lambda y: select_outputs(y, op.leading_axes)
    )


@law("inputs", "input channels or features may come in any order, among others of weight zero")
def inputs(trial: Trial, generator: Generator) -> Claims:
    """A permutation, or a spread over up to 130 inputs; those of weight 0 add exact zeros."""
    op = Operands.of(trial)
    # A bilinear layer has two inputs.
    input_index = int(generator.integers(len(op.inputs)))
    x, axis = op.inputs[input_index], op.inputs[input_index].ndim - 1 - op.dims
    groups = op.groups
    count = x.shape[axis] // groups
    if not count:
        return
    width = count
    if generator.integers(4):
        max_width = 17 + 113 // groups
        width = max(
            count,
            large_size(
                generator,
                op.cost * op.batch_size / count,
                minimum=17 // groups + 1,
                maximum=max_width,
            ),
        )
    new_places = generator.permutation(width)[:count]
    sources = generator.integers(count, size=width)
    sources[new_places] = np.arange(count)
    by_group = x.reshape(*x.shape[:axis], groups, count, *x.shape[axis + 1 :])
    widened_input = by_group.take(sources, axis + 1)
    widened_input = widened_input.reshape(*x.shape[:axis], groups * width, *x.shape[axis + 1 :])
    weight = _spread_weight(op, input_index, new_places, width)
    widened_call = replace(_replace_operand(op, input_index, widened_input), weight=weight).call()
    yield equality_claim(widened_call, trial)


def _spread_weight(op: Operands, input_index: int, places: np.ndarray, width: int) -> np.ndarray:
    """The weight with its input channels or features at new indices among zeros."""
    weight, groups = op.weight, op.groups
    if op.transposed:
        weight = weight.reshape(groups, -1, *weight.shape[1:])
    axis = weight.ndim - 1 if op.kind == "linear" else 1 + input_index
    shape = list(weight.shape)
    shape[axis] = width
    widened_weight = np.zeros(shape, weight.dtype)
    widened_weight[(slice(None),) * axis + (places,)] = weight
    return widened_weight.reshape(-1, *op.weight.shape[1:]) if op.transposed else widened_weight


@law("function", "the module is the function of the same backend, with its own weight and bias")
def function(trial: Trial, generator: Generator) -> Claims:
    """A module as a function, or a function as a module."""
    op = Operands.of(trial)
    eager = _eager(op)
    if op.layer != _function_of(eager):
        other = replace(op, layer=_function_of(eager))
        if op.padding_mode != "zeros":
            return
        arguments = {k: v for k, v in op.arguments.items() if k != "padding_mode"}
        yield equality_claim(replace(other, arguments=arguments).call(), trial)
    elif not _is_vector(op):
        yield equality_claim(replace(op, layer=eager).call(), trial)


@law("lazy", "the lazy layer equals the one that is given its input's size")
def lazy_equals_eager(trial: Trial, generator: Generator) -> Claims:
    """A lazy layer as an eager one, or the reverse."""
    op = Operands.of(trial)
    other = _eager(op) if op.layer.startswith("Lazy") else "Lazy" + op.layer
    # An inferred size of 0 cannot be distinguished from a size that is not yet inferred.
    if op.weight.size:
        yield equality_claim(replace(op, layer=other).call(), trial)


def _eager(op: Operands) -> str:
    """The module's name: `ConvTranspose2d` for `functional.conv_transpose2d`."""
    words = op.layer.removeprefix("functional.").removeprefix("Lazy").split("_")
    return "".join(word[0].upper() + word[1:] for word in words)


def _function_of(module: str) -> str:
    return "functional." + "".join(_lower(module))


def _lower(name: str) -> Iterator[str]:
    for index, letter in enumerate(name):
        yield ("_" if index and letter.isupper() else "") + letter.lower()


def counterpart(op: Operands) -> str:
    """The transposed convolution for a convolution, or the reverse, in the same form."""
    name = _eager(op)
    before, after = ("Transpose", "") if op.transposed else ("Conv", "ConvTranspose")
    other = name.replace(before, after)
    return _function_of(other) if is_function(op.layer) else other
