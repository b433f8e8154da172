"""Oracles of recorded steps: from the operands of a step to its results, with their bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from conformance.arithmetic.choices import Choices, take
from conformance.arithmetic.half_precision import converted
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exact_operand, join
from conformance.bounding.binding import BoundCall
from conformance.bounding.operands import leaves_in
from conformance.model.case import Updated
from conformance.model.formats import FORMATS


def tensors_in(value: Any) -> Iterator[Any]:
    """All tensors in nested tuples, lists and mappings."""
    return (x for x in leaves_in(value) if isinstance(x, torch.Tensor))


def give_nothing(operands: Sequence[Any]) -> Sequence[Any]:
    """The oracle of a step that has a problem."""
    return ()


def substitute(value: Any, operands: Iterator[Any]) -> Any:
    """Replace the tensors in nested arguments by operands, in their order."""
    if isinstance(value, torch.Tensor):
        return next(operands)
    if isinstance(value, (tuple, list)):
        parts = [substitute(x, operands) for x in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, dict):
        return {name: substitute(x, operands) for name, x in value.items()}
    return value


def evaluate_layer(
    bound: BoundCall, objects: Sequence[Any], numerics: Any, operands: Sequence[Any]
) -> Sequence[Any]:
    """A layer of the catalogue: its oracle, on a call that is bound to it."""
    spec, case = bound.spec, bound.case
    precision = Precision.of(case.call.dtype, numerics(case.call.dtype))
    remaining = iter(operands)
    inputs = []
    for x, array in zip(objects, case.inputs, strict=False):
        operand = next(remaining) if isinstance(x, torch.Tensor) else array
        if isinstance(operand, np.ndarray):
            operand = exact_operand(operand, precision)
        inputs.append(operand)
    state = {name: exact_operand(x, precision) for name, x in case.call.state.items()}
    modes = {"training": case.call.training} if spec.traits.train_and_eval_differ else {}
    result = spec.oracle.values(state, *inputs, **spec.oracle_arguments(case), **modes)
    if isinstance(result, Updated):
        result = result.outputs
    outputs = result if isinstance(result, tuple) else (result,)
    if any(isinstance(x, Choices) for x in outputs):
        raise NotImplementedError("it has several right values")
    return [x for x in outputs if x is not None]


def evaluate_operator(
    function: Callable[..., Any], args: Any, keywords: Any, dtype: str, operands: Sequence[Any]
) -> Sequence[Any]:
    """An operator of `OPERATORS`; its operands are read in one dtype."""
    operands = [converted(x, dtype) if isinstance(x, Rounded) else x for x in operands]
    remaining = iter(operands)
    arguments, named = substitute(args, remaining), substitute(keywords, remaining)
    if not any(isinstance(x, Rounded) for x in operands):
        raise NotImplementedError("an operation of integers")
    # Functions of Python write their defaults out.
    options = {k: x for k, x in named.items() if x is not None or k not in ("out", "dtype")}
    result = function(*arguments, **options)
    return result if isinstance(result, tuple) else (result,)


def evaluate_integers(
    func: Any, args: Any, keywords: Any, operands: Sequence[Any]
) -> Sequence[Any]:
    """Let torch compute with integers and flags, which is exact."""
    tensors = iter([torch.from_numpy(np.ascontiguousarray(x)) for x in operands])
    with torch._C.DisableTorchFunction():
        result = func(*substitute(args, tensors), **substitute(keywords, tensors))
    if any(x.is_floating_point() for x in tensors_in(result)):
        raise NotImplementedError("integers give numbers that are rounded")
    return [np.asarray(x.numpy()) for x in tensors_in(result)]


def evaluate_cast(target: str, operands: Sequence[Any]) -> Sequence[Any]:
    """A tensor in another dtype."""
    x = operands[0]
    if target not in FORMATS:
        array = x.value if isinstance(x, Rounded) else x
        return (array != 0 if target == "bool" else np.trunc(array).astype(np.int64),)
    if not isinstance(x, Rounded):  # integers, which may have more digits than the target
        x = exact_operand(x.astype(np.float64), Precision.of("float64"))
    return (converted(x, target),)


def evaluate_movement(
    func: Any, args: Any, keywords: Any, fills: bool, operands: Sequence[Any]
) -> Sequence[Any]:
    """Let torch move the places of the elements, and copy the elements from there."""
    offset, places, moved = int(fills), [], []
    for x in operands:
        array = x.value if isinstance(x, Rounded) else x
        is_index = not isinstance(x, Rounded) and any(isinstance(y, Rounded) for y in operands)
        if is_index:
            places.append(torch.from_numpy(np.ascontiguousarray(array)))
            continue
        count = array.size
        places.append(torch.arange(offset, offset + count).reshape(array.shape))
        offset += count
        moved.append(x)
    remaining = iter(places)
    with torch._C.DisableTorchFunction():
        result = func(*substitute(args, remaining), **substitute(keywords, remaining))
    indices = [np.asarray(x.numpy()) for x in tensors_in(result)]
    if not any(isinstance(x, Rounded) for x in moved):
        flat = np.concatenate([x.reshape(-1) for x in moved])
        flat = np.concatenate([np.zeros(int(fills), flat.dtype), flat])  # flags stay flags
        return [flat[index] for index in indices]
    parts = [x.map(lambda array: array.reshape(-1)) for x in moved]
    if fills:
        parts.insert(0, exact_operand(np.zeros(1), parts[0].precision))
    source = parts[0] if len(parts) == 1 else join(parts, 0)
    return [take(source, index) for index in indices]
