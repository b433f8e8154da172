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

from conformance.arithmetic.choices import Choices, take
from conformance.arithmetic.grading import promised_numerics
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exact_operand, join
from conformance.bounding.binding import BoundCall, bind_call
from conformance.bounding.operands import read_operand
from conformance.bounding.targets import find_layer
from conformance.layers import CATALOGUE
from conformance.model.case import Numerics, Updated
from conformance.model.formats import FORMATS
from conformance.networks.operators import CONSTANTS, MOVEMENTS, OPERATORS, TRIANGLES, cast

_READS = frozenset(("item", "tolist", "bool", "float", "int", "index", "numpy"))
"""Functions by which a number decides what the program does."""
_CASTS = frozenset(
    ("to", "type", "float", "double", "half", "bfloat16", "type_as", "bool", "int", "long")
)
_DRAWS = frozenset(("bernoulli", "multinomial", "normal", "uniform", "exponential", "random"))
_PLACED = frozenset(("cpu", "cuda", "to"))
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
        tensors = list(_tensors((args, keywords)))
        indices = [self.index_of(x) for x in tensors] if tensors else []
        name = _operator_name(func)
        layer = _layer_of(func, name)
        bound = None if layer is None else _bind(layer, args, keywords)
        versions = [x._version for x in tensors]
        result = func(*args, **keywords)
        results = list(_tensors(result))
        written = [x for x, version in zip(tensors, versions, strict=True) if x._version != version]
        shared = self._sharing(written) if written else []
        if written and (not results or len(shared) > len(written)):
            self._add_step(name, tensors, shared, _nothing, "it writes into shared memory")
            return result
        if name in CONSTANTS:
            return result  # its results are exact when they are used
        if name in _READS and tensors and not results:
            step = Step(name, _user_line(), tuple(indices), (), _nothing, "the program reads it")
            self.trace.steps.append(step)
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
            for tensor in _tensors((a, k)):
                self.index_of(tensor)
            result = original(module, *a, **k)
        self._record_layer(layer, bound, list(_tensors(result)))
        return result

    def _record_layer(self, layer: str, bound: BoundCall, results: Sequence[Any]) -> None:
        objects = [bound.objects.get(name) for name in bound.spec.signature.input_names]
        present = [x for x in objects if isinstance(x, torch.Tensor)]
        evaluate = partial(_evaluate_layer, bound, objects, self._numerics)
        random = bound.spec.randomness.is_used(bound.case.call)
        self._add_step(layer, present, results, evaluate, "it draws numbers" if random else "")

    def _record_operator(
        self, name: str, func: Any, args: Any, keywords: Any, tensors: Any, results: Any
    ) -> None:
        evaluate: Callable[[Sequence[Any]], Sequence[Any]] | None = None
        floating = {str(x.dtype) for x in tensors if x.is_floating_point()}
        drawn = name.endswith("_like") or name in _DRAWS
        problem = f"no oracle knows the operator {name!r}"
        if name in MOVEMENTS or name in TRIANGLES:
            evaluate = partial(_evaluate_movement, func, args, keywords, name in TRIANGLES)
        elif name in _CASTS or (name in _PLACED and len(results) == 1):
            target = str(results[0].dtype).removeprefix("torch.")
            evaluate = partial(_evaluate_cast, target)
        elif drawn:
            problem = f"{name!r} draws numbers"
        elif not floating:
            evaluate = partial(_evaluate_integers, func, args, keywords)
        elif len(floating) > 1:
            problem = f"{name!r} mixes {' and '.join(sorted(floating))}"
        elif name in OPERATORS:
            evaluate = partial(_evaluate_operator, OPERATORS[name], args, keywords)
        self._add_step(name, tensors, results, evaluate or _nothing, "" if evaluate else problem)

    def _add_step(self, name: str, tensors: Any, results: Any, evaluate: Any, problem: str) -> None:
        operands = tuple(self.index_of(x) for x in tensors)
        # In place, the same object gets a new value.
        indices = tuple(self._add_value(x) for x in results)
        step = Step(name, _user_line(), operands, indices, evaluate, problem)
        self.trace.steps.append(step)


def record(
    target: Any, args: Sequence[Any], keywords: Mapping[str, Any], numerics: Numerics | None
) -> Trace:
    """Run a module or function once, and record what it runs."""
    recorder = Recorder(lambda dtype: promised_numerics(numerics, dtype))
    with _recorded_modules(recorder), torch.no_grad(), recorder:
        result = target(*args, **keywords)
    tensors = tuple(_tensors(result))
    recorder.trace.outputs = tuple(recorder.index_of(x) for x in tensors)
    recorder.trace.tensors = tensors
    return recorder.trace


@contextmanager
def _recorded_modules(recorder: Recorder) -> Iterator[None]:
    original = torch.nn.Module.__call__

    def call(module: Any, *args: Any, **keywords: Any) -> Any:
        return recorder.call_module(original, module, *args, **keywords)

    with mock.patch.object(torch.nn.Module, "__call__", call):
        yield


def _tensors(value: Any) -> Iterator[Any]:
    """All tensors in nested tuples, lists and mappings."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for x in value:
            yield from _tensors(x)
    elif isinstance(value, dict):
        for x in value.values():
            yield from _tensors(x)


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
            return f"{path.rpartition('/')[2]}:{frame.lineno}: {frame.line}"
    return ""


def _nothing(operands: Sequence[Any]) -> Sequence[Any]:
    return ()


def _substitute(value: Any, operands: Iterator[Any]) -> Any:
    """Replace the tensors in nested arguments by operands, in their order."""
    if isinstance(value, torch.Tensor):
        return next(operands)
    if isinstance(value, (tuple, list)):
        return type(value)(_substitute(x, operands) for x in value)
    if isinstance(value, dict):
        return {name: _substitute(x, operands) for name, x in value.items()}
    return value


def _evaluate_layer(
    bound: BoundCall, objects: Sequence[Any], numerics: Any, operands: Sequence[Any]
) -> Sequence[Any]:
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


def _evaluate_operator(
    function: Callable[..., Any], args: Any, keywords: Any, operands: Sequence[Any]
) -> Sequence[Any]:
    remaining = iter(operands)
    arguments, named = _substitute(args, remaining), _substitute(keywords, remaining)
    if not any(isinstance(x, Rounded) for x in operands):
        raise NotImplementedError("an operation of integers")
    # Functions of Python write their defaults out.
    given = {k: x for k, x in named.items() if x is not None or k not in ("out", "dtype")}
    result = function(*arguments, **given)
    return result if isinstance(result, tuple) else (result,)


def _evaluate_integers(
    func: Any, args: Any, keywords: Any, operands: Sequence[Any]
) -> Sequence[Any]:
    """Let torch compute with integers and flags, which is exact."""
    tensors = iter([torch.from_numpy(np.ascontiguousarray(x)) for x in operands])
    with torch._C.DisableTorchFunction():
        result = func(*_substitute(args, tensors), **_substitute(keywords, tensors))
    if any(x.is_floating_point() for x in _tensors(result)):
        raise NotImplementedError("integers give numbers that are rounded")
    return [np.asarray(x.numpy()) for x in _tensors(result)]


def _evaluate_cast(target: str, operands: Sequence[Any]) -> Sequence[Any]:
    x = operands[0]
    if target not in FORMATS:
        array = x.value if isinstance(x, Rounded) else x
        return (array != 0 if target == "bool" else np.trunc(array).astype(np.int64),)
    if isinstance(x, Rounded):
        return (cast(x, target),)
    return (exact_operand(x.astype(np.float64), Precision.of(target)),)


def _evaluate_movement(
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
        result = func(*_substitute(args, remaining), **_substitute(keywords, remaining))
    indices = [np.asarray(x.numpy()) for x in _tensors(result)]
    if not any(isinstance(x, Rounded) for x in moved):
        flat = np.concatenate([np.zeros(int(fills), np.int64), *(x.reshape(-1) for x in moved)])
        return [flat[index] for index in indices]
    parts = [x.map(lambda array: array.reshape(-1)) for x in moved]
    if fills:
        parts.insert(0, exact_operand(np.zeros(1), parts[0].precision))
    source = parts[0] if len(parts) == 1 else join(parts, 0)
    return [take(source, index) for index in indices]
