"""Record the layers and operators that a module or function runs on tensors of torch.

The call runs once as it is. Every function of torch that it calls is recorded: a layer of the
catalogue as a whole, with what it calls inside; an operator with its oracle. So Python's control
flow, which a symbolic trace cannot follow, is followed for these inputs.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from conformance.arithmetic.grading import promised_numerics
from conformance.bounding.binding import BoundCall, bind_call
from conformance.bounding.operands import read_operand
from conformance.bounding.targets import find_layer
from conformance.layers import CATALOGUE
from conformance.model.case import Numerics
from conformance.model.plain_text import bounded
from conformance.networks.operators import CONSTANTS, MOVEMENTS, OPERATORS, TRIANGLES
from conformance.networks.step_oracles import (
    evaluate_cast,
    evaluate_integers,
    evaluate_layer,
    evaluate_movement,
    evaluate_operator,
    give_nothing,
    substitute,
    tensors_in,
)

_READS = frozenset(("item", "tolist", "bool", "float", "int", "index", "numpy"))
"""Functions by which a number decides what the program does."""
_CASTS = frozenset(
    (
        *("to", "type", "float", "double", "half", "bfloat16", "type_as", "bool", "int", "long"),
        *("cpu", "cuda"),
    )
)
_UNKNOWN = {
    **dict.fromkeys(
        (
            *("bernoulli", "multinomial", "normal", "uniform", "exponential", "random", "rand"),
            *("randn", "randint", "randperm", "poisson", "cauchy", "geometric", "log_normal"),
            *("rand_like", "randn_like", "randint_like"),
        ),
        "it draws numbers",
    ),
    **dict.fromkeys(
        (
            *("empty", "empty_like", "empty_strided", "empty_permuted"),
            *("new_empty", "new_empty_strided"),
        ),
        "its memory has not been written",
    ),
}
"""Functions whose results no oracle can know, and why."""
_ALIASES = {
    "truediv": "div", "rtruediv": "rdiv", "divide": "div", "true_divide": "div",
    "multiply": "mul", "rmul": "mul", "subtract": "sub", "radd": "add", "negative": "neg",
    "clip": "clamp", "linalg_vector_norm": "vector_norm", "linalg_norm": "vector_norm",
    "absolute": "abs", "special_expit": "sigmoid", "greater": "gt", "less": "lt", "rpow": "",
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One layer or operator that ran.

    Args:
        name: `"Conv2d"`, `"add"`.
        where: the line of the user's code that called it.
        operands: indices of the values that it reads.
        results: indices of the values that it gives.
        evaluate: operands → results, with their bounds.
        problem: why nothing behind it can be certified; empty if it can.
    """

    name: str
    where: str
    operands: tuple[int, ...]
    results: tuple[int, ...]
    evaluate: Callable[[Sequence[Any]], Sequence[Any]]
    problem: str = ""


@dataclass
class Trace:
    """What a call ran.

    Args:
        steps: in order.
        sources: value index → its exact numbers, of inputs, parameters and constants.
        dtypes: value index → torch's name of its dtype.
        outputs: value indices of the tensors that the call returned.
        tensors: the tensors that the call returned.
    """

    steps: list[Step] = field(default_factory=list)
    sources: dict[int, np.ndarray] = field(default_factory=dict)
    dtypes: list[str] = field(default_factory=list)
    outputs: tuple[int, ...] = ()
    tensors: tuple[Any, ...] = ()


class Recorder(TorchFunctionMode):
    """Records every function of torch that runs inside the `with` block.

    Args:
        numerics: dtype → what the implementation may do.
    """

    def __init__(self, numerics: Callable[[str], Numerics]) -> None:
        super().__init__()
        self.trace, self._numerics = Trace(), numerics
        self._index: dict[int, int] = {}
        self._alive: list[Any] = []  # an index stands for an object's id

    def index_of(self, tensor: Any) -> int:
        """The index of a tensor's value; a tensor that no recorded step made is exact."""
        if id(tensor) not in self._index:
            self.trace.sources[self._add_value(tensor)] = read_operand("operand", tensor).array
        return self._index[id(tensor)]

    def _add_value(self, tensor: Any) -> int:
        self._alive.append(tensor)
        self.trace.dtypes.append(str(tensor.dtype).removeprefix("torch."))
        self._index[id(tensor)] = len(self.trace.dtypes) - 1
        return len(self.trace.dtypes) - 1

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run a function, and record it if it has to do with tensors."""
        keywords = dict(kwargs or {})
        tensors = list(tensors_in((args, keywords)))
        for tensor in tensors:
            self.index_of(tensor)
        name = _operator_name(func)
        layer = _layer_of(func, name)
        bound = None if layer is None else _bind(layer, args, keywords)
        versions = [x._version for x in tensors]
        result = func(*args, **keywords)
        results = list(tensors_in(result))
        written = [x for x, version in zip(tensors, versions, strict=True) if x._version != version]
        shared = self._sharing(written) if written else []
        if written and (not results or len(shared) > len(written)):
            self._add_step(name, tensors, shared, give_nothing, "it writes into shared memory")
            return result
        if name in CONSTANTS:
            return result  # its results are exact when they are used
        if name in _READS and tensors and not results:
            self._add_step(name, tensors, (), give_nothing, "the program reads it")
        if name in _UNKNOWN:
            self._add_step(name, tensors, results, give_nothing, _UNKNOWN[name])
            return result
        if not results or not tensors:
            return result
        if bound is not None:
            self._record_layer(layer or "", bound, results)
        else:
            self._record_operator(name, func, args, keywords, tensors, results)
        return result

    def _sharing(self, written: Sequence[Any]) -> list[Any]:
        """All recorded tensors in the memory of these."""
        memory = {x.untyped_storage().data_ptr() for x in written}
        unique = {id(x): x for x in self._alive}
        return [x for x in unique.values() if x.untyped_storage().data_ptr() in memory]

    def call_module(self, original: Callable[..., Any], module: Any, *a: Any, **k: Any) -> Any:
        """Call a module; one of the catalogue is recorded as a whole."""
        try:
            layer = find_layer(module)
        except TypeError:
            return original(module, *a, **k)
        with torch._C.DisableTorchFunction():
            bound = _bind(module, a, k)
            if bound is None:
                with self:
                    return original(module, *a, **k)
            for tensor in tensors_in((a, k)):
                self.index_of(tensor)
            result = original(module, *a, **k)
        self._record_layer(layer, bound, list(tensors_in(result)))
        return result

    def _record_layer(self, layer: str, bound: BoundCall, results: Sequence[Any]) -> None:
        objects = [bound.objects.get(name) for name in bound.spec.signature.input_names]
        present = [x for x in objects if isinstance(x, torch.Tensor)]
        evaluate = partial(evaluate_layer, bound, objects, self._numerics)
        random = bound.spec.randomness.is_used(bound.case.call)
        self._add_step(layer, present, results, evaluate, "it draws numbers" if random else "")

    def _record_operator(
        self, name: str, func: Any, args: Any, keywords: Any, tensors: Any, results: Any
    ) -> None:
        evaluate: Callable[[Sequence[Any]], Sequence[Any]] | None = None
        numbers = [x for x in tensors if x.is_floating_point()]
        # A tensor without axes takes the dtype of the others.
        floating = {str(x.dtype) for x in numbers if x.ndim or not any(y.ndim for y in numbers)}
        problem = f"no oracle knows the operator {name!r}"
        if name in MOVEMENTS or name in TRIANGLES:
            evaluate = partial(evaluate_movement, func, args, keywords, name in TRIANGLES)
        elif name in _CASTS:
            target = str(results[0].dtype).removeprefix("torch.")
            evaluate = partial(evaluate_cast, target)
        elif not floating:
            evaluate = partial(evaluate_integers, func, args, keywords)
        elif len(floating) > 1:
            problem = f"{name!r} mixes {' and '.join(sorted(floating))}"
        elif name in OPERATORS:
            dtype = "".join(floating).removeprefix("torch.")
            evaluate = partial(evaluate_operator, OPERATORS[name], args, keywords, dtype)
        self._add_step(
            name, tensors, results, evaluate or give_nothing, "" if evaluate else problem
        )

    def _add_step(self, name: str, tensors: Any, results: Any, evaluate: Any, problem: str) -> None:
        operands = tuple(self.index_of(x) for x in tensors)
        # In place, the same object gets a new value.
        indices = tuple(self._add_value(x) for x in results)
        step = Step(name, _user_line(), operands, indices, evaluate, problem)
        self.trace.steps.append(step)


def record(
    target: Any, args: Sequence[Any], keywords: Mapping[str, Any], numerics: Numerics | None
) -> Trace:
    """Run a module or function once, and record what it runs.

    Inputs, buffers and torch's generator of the CPU stay as they are.
    """
    recorder = Recorder(lambda dtype: promised_numerics(numerics, dtype))
    originals = {id(x): x for x in tensors_in((args, keywords))}
    copies = {key: x.detach().clone() for key, x in originals.items()}
    inputs = iter([copies[id(x)] for x in tensors_in((args, keywords))])
    args, keywords = substitute(tuple(args), inputs), substitute(dict(keywords), inputs)
    with _kept_buffers(target), torch.random.fork_rng(devices=[]), torch.no_grad():
        with _recorded_modules(recorder), recorder:
            result = target(*args, **keywords)
        tensors = tuple(tensors_in(result))
        recorder.trace.outputs = tuple(recorder.index_of(x) for x in tensors)
        recorder.trace.tensors = tensors
    return recorder.trace


@contextmanager
def _kept_buffers(target: Any) -> Iterator[None]:
    """Put the buffers of a module, or of the module of a method, back after a call."""
    module = getattr(target, "__self__", target)
    buffers = list(module.buffers()) if isinstance(module, torch.nn.Module) else []
    values = [x.clone() for x in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, values, strict=True):
                buffer.copy_(value)


@contextmanager
def _recorded_modules(recorder: Recorder) -> Iterator[None]:
    original = torch.nn.Module.__call__

    def call(module: Any, *args: Any, **keywords: Any) -> Any:
        return recorder.call_module(original, module, *args, **keywords)

    with mock.patch.object(torch.nn.Module, "__call__", call):
        yield


def _operator_name(func: Any) -> str:
    """`"add"` for `torch.add`, `Tensor.add_`, `Tensor.__iadd__`; `"T"` for a property."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        name = getattr(getattr(func, "__self__", None), "__name__", "")
    if name.startswith("__i") and name not in ("__invert__", "__int__", "__index__"):
        name = name.replace("__i", "__", 1)
    name = name.strip("_")
    return _ALIASES.get(name, name)


def _layer_of(func: Any, name: str) -> str | None:
    """The layer that a function is; functions of `torch` and methods have names of functional's."""
    with suppress(TypeError):
        return find_layer(func)
    layer = f"functional.{name}"
    return layer if layer in CATALOGUE and name not in OPERATORS else None


def _bind(target: Any, args: Any, keywords: Any) -> BoundCall | None:
    """The call bound to the catalogue; None if the catalogue has no such call."""
    try:
        with torch._C.DisableTorchFunction():
            return bind_call(target, args, keywords)
    except (TypeError, ValueError):
        return None


def _user_line() -> str:
    """The innermost line of code outside torch and this package."""
    for frame in reversed(traceback.extract_stack()):
        path = frame.filename.replace("\\", "/")
        inside = "/conformance/networks/" in path or "/torch/" in path or path.endswith("mock.py")
        if not inside:
            return f"{path.rpartition('/')[2]}:{frame.lineno}: {bounded(frame.line or '', 100)}"
    return ""
