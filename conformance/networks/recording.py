"""Record the layers and operators that a module or function runs on tensors of torch.

The call runs once as it is. Every function of torch that it calls is recorded: a layer of the
catalogue as a whole, with what it calls inside; an operator with its oracle. So Python's control
flow, which a symbolic trace cannot follow, is followed for these inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from conformance.arithmetic.grading import promised_numerics
from conformance.bounding.operands import is_array, read_operand
from conformance.model.case import Numerics
from conformance.networks.recorder import Recorder
from conformance.networks.step_oracles import (
    substitute,
    tensors_in,
)
from conformance.networks.trace import Trace


class _OperatorsBelow(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Calls operators that run below Python, as those of a script do, where the recorder sees."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator; a mode of functions that is active is asked first."""
        return func(*args, **(kwargs or {}))


def record(
    target: Any, args: Sequence[Any], keywords: Mapping[str, Any], numerics: Numerics | None
) -> Trace:
    """Run a module or function once, and record what it runs.

    Inputs, buffers and torch's generator of the CPU stay as they are. Arrays of other libraries
    become tensors.

    Raises:
        TypeError, ValueError: for an operand that cannot be read.
    """
    args, keywords = _as_tensors(tuple(args)), _as_tensors(dict(keywords))
    names = {id(part): name for name, part in _named_modules(target) if name}
    recorder = Recorder(lambda dtype: promised_numerics(numerics, dtype), names)
    originals = {id(x): x for x in tensors_in((args, keywords))}
    for x in originals.values():
        read_operand("operand", x)
    copies = {key: x.detach().clone() for key, x in originals.items()}
    inputs = iter([copies[id(x)] for x in tensors_in((args, keywords))])
    args, keywords = substitute(tuple(args), inputs), substitute(dict(keywords), inputs)
    with _kept_buffers(target), torch.random.fork_rng(devices=[]), torch.no_grad():
        with _eager(), _recorded_modules(recorder), _OperatorsBelow(), recorder:  # type: ignore[no-untyped-call]
            result = target(*args, **keywords)
        tensors = tuple(tensors_in(result))
        recorder.trace.outputs = tuple(recorder.index_of(x) for x in tensors)
        recorder.trace.tensors = tensors
        recorder.trace.names = tuple(result) if isinstance(result, dict) else ()
    return recorder.trace


def _as_tensors(value: Any) -> Any:
    """Nested arguments with arrays of NumPy and DLPack as tensors."""
    if isinstance(value, dict):
        return {name: _as_tensors(x) for name, x in value.items()}
    if isinstance(value, (tuple, list)):
        parts = [_as_tensors(x) for x in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, (torch.Tensor, np.generic)) or not is_array(value):
        return value
    return (
        torch.as_tensor(value)
        if isinstance(value, np.ndarray)
        else torch.utils.dlpack.from_dlpack(value)
    )


def _named_modules(target: Any) -> list[tuple[str, Any]]:
    """The modules of a module, or of the module of a method; none of a function."""
    module = getattr(target, "__self__", target)
    return list(module.named_modules()) if isinstance(module, torch.nn.Module) else []


@contextmanager
def _kept_buffers(target: Any) -> Iterator[None]:
    """Put the buffers of a module, or of the module of a method, back after a call."""
    buffers = [x for _, part in _named_modules(target) for x in part.buffers(recurse=False)]
    values = [x.clone() for x in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, values, strict=True):
                buffer.copy_(value)


def _eager() -> Any:
    """Let compiled functions run as they are written, if torch can (from 2.6 on)."""
    set_stance = getattr(torch.compiler, "set_stance", None)
    return set_stance("force_eager") if set_stance else nullcontext()


@contextmanager
def _recorded_modules(recorder: Recorder) -> Iterator[None]:
    original = torch.nn.Module.__call__

    def call(module: Any, *args: Any, **keywords: Any) -> Any:
        return recorder.call_module(original, module, *args, **keywords)

    with mock.patch.object(torch.nn.Module, "__call__", call):
        yield
