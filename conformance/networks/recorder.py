"""A mode of torch that records each layer and operator that runs."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from conformance.bounding.binding import BoundCall, bind_call
from conformance.bounding.operands import read_operand
from conformance.bounding.targets import find_layer
from conformance.layers import CATALOGUE
from conformance.model.case import Numerics
from conformance.model.plain_text import bounded
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
from conformance.networks.trace import ModuleCall, Step, Trace
from conformance.oracles.operators.table import CONSTANTS, MOVEMENTS, OPERATORS, TRIANGLES

_READS = frozenset(("item", "tolist", "bool", "float", "int", "index", "numpy"))
"""Functions by which a number decides what the program does."""
_PACKAGE = f"{Path(__file__).parents[1].as_posix()}/"
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


class Recorder(TorchFunctionMode):
    """Records every function of torch that runs inside the `with` block.

    Args:
        numerics: dtype → what the implementation may do.
        names: id of a submodule → its qualified name.
    """

    def __init__(self, numerics: Callable[[str], Numerics], names: Mapping[int, str]) -> None:
        super().__init__()
        self.trace, self._numerics, self._names = Trace(), numerics, names
        self._inside_layer = False
        self._index: dict[int, int] = {}
        self._alive: list[Any] = []  # an index stands for an object's id

    def index_of(self, tensor: Any) -> int:
        """The index of a tensor's value; a tensor that no recorded step made is exact."""
        if id(tensor) not in self._index:
            try:
                array = read_operand("operand", tensor).array
            except RuntimeError as error:
                text = "a tensor without numbers, as vmap makes them, cannot be recorded"
                raise TypeError(text) from error
            self.trace.sources[self._add_value(tensor)] = array
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
        tensors = list(tensors_in((args, kwargs or {})))
        remaining = iter(tensors)  # copied: the program may change a list of tensors afterwards
        args, keywords = substitute(args, remaining), substitute(dict(kwargs or {}), remaining)
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
        if self._inside_layer:
            return original(module, *a, **k)
        result = self._run_module(original, module, a, k)
        if id(module) in self._names:
            with torch._C.DisableTorchFunction():
                name, tensors = self._names[id(module)], tuple(tensors_in(result))
                number = sum(call.name == name for call in self.trace.calls)
                outputs = tuple(self.index_of(x) for x in tensors)
                self.trace.calls.append(ModuleCall(name, number, outputs, tensors))
        return result

    def _run_module(self, original: Callable[..., Any], module: Any, a: Any, k: Any) -> Any:
        try:
            layer = find_layer(module)
        except TypeError:
            return original(module, *a, **k)
        if CATALOGUE[layer].traits.has_sublayers:
            return original(module, *a, **k)
        with torch._C.DisableTorchFunction():
            bound = _bind(module, a, k)
            if bound is None:
                with self:
                    return original(module, *a, **k)
            for tensor in tensors_in((a, k)):
                self.index_of(tensor)
            self._inside_layer = True
            try:
                result = original(module, *a, **k)
            finally:
                self._inside_layer = False
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
        narrows = any(x.element_size() > y.element_size() for x in numbers for y in results)
        if narrows and name in MOVEMENTS:
            problem = f"{name!r} changes the dtype"
        elif name in MOVEMENTS or name in TRIANGLES:
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
        if any(x.is_complex() for x in (*tensors, *results)):
            problem = "complex numbers have no bound in a network"
        step = Step(name, _user_line(), operands, indices, evaluate, problem)
        self.trace.steps.append(step)


def _operator_name(func: Any) -> str:
    """`"add"` for `torch.add`, `Tensor.add_`, `Tensor.__iadd__`; `"T"` for a property."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        name = getattr(getattr(func, "__self__", None), "__name__", "")
    if name.startswith("__i") and name not in ("__invert__", "__int__", "__index__"):
        name = name.replace("__i", "__", 1)
    name = name.strip("_")
    if func is torch.Tensor.unfold:  # not that of torch.nn.functional
        return "unfold_axis"
    base = name.partition(".")[0].strip("_")  # of `aten.add.Tensor`
    if base in OPERATORS or base in MOVEMENTS or base in _UNKNOWN:
        return base
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
        inside = path.startswith(_PACKAGE) or "/torch/" in path or path.endswith("mock.py")
        if not inside:
            return f"{path.rpartition('/')[2]}:{frame.lineno}: {bounded(frame.line or '', 100)}"
    return ""
