"""`FunctionBackend`: a framework with its own arrays; one Python function implements a layer."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from conformance.backends.function_transforms import FunctionTransforms
from conformance.backends.memory_guard import place_operand
from conformance.model.case import Call, Case, NotOffered, Unsupported, Updated, is_function

if TYPE_CHECKING:
    from conformance.spec.layer_spec import LayerSpec

F = TypeVar("F", bound=Callable[..., Any])


def implements(
    *layers: str, ignores: Iterable[str] = (), passes: Iterable[str] = ()
) -> Callable[[F], F]:
    """Mark a method of a `FunctionBackend` as the implementation of layers.

    The method is called as `f(self, state, *inputs, **arguments_and_keywords)` with native arrays.
    Arguments that the call leaves out are not passed, so the method's own defaults are tested.

    An argument that the method does not name is Unsupported, even if it takes `**anything`. The
    exceptions are `ignores`, `passes`, and arguments that are written with torch's default: they
    are dropped, because they mean the same as left out.

    A parameter `call` receives the `Call`: the layer's name, its dtype, its device. A parameter
    `training` receives the mode of a module; for a function it is an ordinary argument. A method
    without it never receives a call that draws random numbers in train mode.

    Args:
        layers: names as in `Call.layer`; the class definition raises ValueError for unknown ones.
        ignores: arguments that need no handling, such as `in_channels`; `"*"` stands for extra
            positional ones. `("everything",)` ignores all (Identity).
        passes: arguments that the method takes by `**arguments` and passes on unchanged.
    """
    if not layers or not all(isinstance(layer, str) for layer in layers):
        raise TypeError(f"implements{layers!r}: expected names of layers, such as 'Conv2d'")

    def mark(function: F) -> F:
        function.__conformance__ = (layers, tuple(ignores), tuple(passes))  # type: ignore[attr-defined]
        return function

    return mark


class FunctionBackend:
    """A backend made of functions; subclass it, and override `put`, `get` and `dtype` if needed.

    By default values are NumPy arrays of the call's dtype. A framework with its own arrays
    overrides `put`, `get` and `dtype`. A framework with gradients also defines
    `vjp(fn, primals, cotangents) -> gradients`. There `fn` takes the primals and returns a tuple
    with one output for each cotangent; `vjp` returns one gradient for each primal.

    Args:
        name: the backend's name; a subclass may set a class attribute instead.
    """

    name: str = ""
    _functions: ClassVar[dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]]] = {}

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        functions: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {}
        for base in reversed(cls.__mro__[1:]):
            functions |= vars(base).get("_functions", {})  # a backend may combine several bases
        for attribute, value in vars(cls).items():
            layers, ignores, passes = getattr(value, "__conformance__", ((), (), ()))
            _validate_layers(layers)
            functions |= dict.fromkeys(layers, (attribute, ignores, passes))
        cls._functions = functions

    def __init__(self, name: str | None = None) -> None:
        self.name = name or self.name or type(self).__name__

    def info(self) -> Mapping[str, str]:
        """No facts by default; a subclass adds versions, hardware and flags."""
        return {}

    def devices(self) -> Sequence[str]:
        """The CPU only, by default."""
        return ("cpu",)

    def offers(self, layer: str, dtype: str, device: str) -> bool:
        """Whether a function implements the layer; True for all if a subclass overrides `build`."""
        return layer in self._functions or type(self).build is not FunctionBackend.build

    def put(self, array: np.ndarray, layout: str, dtype: str, device: str) -> Any:
        """Convert a host array to a native one: a C-contiguous NumPy array of the dtype."""
        if layout != "contiguous":
            raise NotOffered(f"layout={layout!r}")
        if dtype == "bfloat16":
            raise NotOffered("dtype='bfloat16'")
        return place_operand(np.array(array, dtype=dtype))

    def get(self, native: Any) -> np.ndarray:
        """Copy a native array to the host: float64, complex128, int64 or bool, without rounding."""
        kind = np.asarray(native).dtype.kind
        wide = {"f": np.float64, "c": np.complex128, "b": np.bool_}.get(kind, np.int64)
        return np.array(native, dtype=wide)

    def dtype(self, native: Any) -> str:
        """torch's name of the native's dtype."""
        return str(native.dtype)

    def wait(self, outputs: Any) -> None:
        """Block until the arrays are computed; override it for lazy or asynchronous arrays."""

    def build(self, call: Call) -> FunctionLayer:
        """Bind the function of a call's layer to its arguments, and load the state."""
        if call.layer not in self._functions:
            raise NotOffered(f"layer {call.layer}")
        attribute, ignores, passes = self._functions[call.layer]
        function = getattr(self, attribute)
        if _draws_in_train_mode(call) and "training" not in inspect.signature(function).parameters:
            raise Unsupported("random numbers in train mode")
        return self._layer_class()(self, call, function, ignores, passes)

    def _layer_class(self) -> type[FunctionLayer]:
        if not hasattr(self, "vjp"):
            return FunctionLayer
        if not (hasattr(self, "jvp") and hasattr(self, "vmap")):
            return DifferentiableLayer
        return TransformedLayer


def _find_spec(call: Call) -> LayerSpec | None:
    # Imported here, because importing the backends must not import the strategies.
    from conformance.layers import CATALOGUE

    return CATALOGUE.get(call.layer)


def _validate_layers(layers: Iterable[str]) -> None:
    """Raise ValueError, with the nearest names, for a layer that the catalogue does not have."""
    from conformance.layers import CATALOGUE  # late, as in `_find_spec`

    for layer in layers:
        if layer not in CATALOGUE:
            nearest = difflib.get_close_matches(layer, CATALOGUE, 3)
            hint = f"; nearest: {', '.join(nearest)}" if nearest else ""
            raise ValueError(f"implements({layer!r}): no such layer{hint}")


def _is_default(call: Call, name: str, value: Any) -> bool:
    """Whether an argument has torch's default value, in any form: `(1, 1)` for `stride=1`."""
    spec = _find_spec(call)
    if spec is None or name not in spec.signature.defaults:
        return False
    default = spec.signature.defaults[name]
    if isinstance(value, float) and isinstance(default, (int, float)):
        return value == default and bool(np.signbit(value) == np.signbit(default))
    read = spec.signature.readable_value
    return bool(read(name, value) == read(name, default))


def _draws_in_train_mode(call: Call) -> bool:
    """Whether a call draws random numbers and its mode, not an input, turns that on."""
    spec = _find_spec(call)
    if spec is None or not spec.randomness.is_used(call):
        return False
    return not spec.is_function or spec.signature.argument("training") is not None


class FunctionLayer:
    """A layer of a `FunctionBackend`: its function, bound to the arguments and state of a call.

    Args:
        function: the bound method that implements the layer.
        ignores: arguments that are dropped before the function is called.
        passes: arguments that the function takes in addition to those it names.
    """

    def __init__(
        self,
        backend: FunctionBackend,
        call: Call,
        function: Callable[..., Any],
        ignores: tuple[str, ...],
        passes: tuple[str, ...] = (),
    ) -> None:
        self._backend, self._call, self._function, self._ignores = backend, call, function, ignores
        parameters = inspect.signature(function).parameters.values()
        self._accepted_names = {
            p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
        } | set(passes)
        self._arguments = self._supported_arguments(call.arguments)
        if "call" in self._accepted_names:
            self._arguments["call"] = call
        if "training" in self._accepted_names and not is_function(call.layer):
            # For a function, `training` is an ordinary argument with a default of its own.
            self._arguments["training"] = call.training
        self._state: dict[str, Any] = {}
        self.updated: dict[str, Any] = {}
        self.load(call.state, call.layouts)

    def _supported_arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        if "everything" in self._ignores:
            return {}
        supported = {
            name: value
            for name, value in arguments.items()
            if name not in self._ignores
            and (name in self._accepted_names or not _is_default(self._call, name, value))
        }
        for name, value in supported.items():
            if name not in self._accepted_names:
                text = "extra positional arguments" if name == "*" else f"{name}={value!r}"
                # A list is a keyword such as `lengths`, whose value differs in every case.
                text = name if isinstance(value, list) else text
                raise Unsupported(text)
        return supported

    def put(self, array: np.ndarray, layout: str = "contiguous", dtype: str | None = None) -> Any:
        """Convert a host array to a native one on the call's device."""
        default_dtype = {"i": "int64", "b": "bool"}.get(array.dtype.kind, self._call.dtype)
        return self._backend.put(array, layout, dtype or default_dtype, self._call.device)

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Run the function, store the state it updated, and wait for its outputs."""
        outputs = self.compute(self._state, inputs, keywords)
        if isinstance(outputs, Updated):
            # The names are state of the layer, or inputs that a function wrote into.
            self._check_updates(outputs.state)
            self._state |= {k: x for k, x in outputs.state.items() if k in self._state}
            self.updated = dict(outputs.state)
            outputs = outputs.outputs
        self._backend.wait(outputs)
        return outputs

    def _check_updates(self, state: Mapping[str, Any]) -> None:
        spec = _find_spec(self._call)
        updated_inputs = (
            () if spec is None else tuple(x.name for x in spec.signature.inputs if x.updated)
        )
        unknown = sorted(set(state) - set(self._state) - set(updated_inputs))
        if unknown:
            raise ValueError(
                f"Updated: no state or input {', '.join(map(repr, unknown))}; "
                f"expected names among {', '.join(map(repr, (*self._state, *updated_inputs)))}"
            )

    def compute(
        self, state: Mapping[str, Any], inputs: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        """Run the function on a state of natives, and store nothing."""
        return self._function(
            state, *inputs, **self._arguments, **self._supported_arguments(keywords)
        )

    def get(self, native: Any) -> np.ndarray:
        """Copy a native array to the host."""
        return self._backend.get(native)

    def dtype(self, native: Any) -> str:
        """torch's name of the native's dtype."""
        return self._backend.dtype(native)

    def state(self) -> Mapping[str, Any]:
        """Native arrays of the state that the next call uses, by name."""
        return dict(self._state)

    def load(
        self, state: Mapping[str, np.ndarray], layouts: Mapping[str, str] | None = None
    ) -> None:
        """Replace the state with these host arrays."""
        layouts = layouts or {}
        self._state = {
            name: self.put(array, layouts.get(name, "contiguous")) for name, array in state.items()
        }


class DifferentiableLayer(FunctionLayer):
    """A layer of a `FunctionBackend` that defines `vjp`."""

    _parameter_names: tuple[str, ...] = ()

    def vjp(
        self, inputs: Sequence[Any], cotangents: Sequence[Any], **keywords: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Gradients of Σ⟨output, cotangent⟩ with respect to the inputs and the state."""
        # An object that is passed twice is one primal; its gradient is the sum for both places.
        distinct_inputs = {id(inputs[k]): inputs[k] for k in self.places_with_gradient(inputs)}
        names = self.find_parameters(inputs)

        def fn(*primals: Any) -> tuple[Any, ...]:
            leaves = dict(zip(distinct_inputs, primals, strict=False))
            arguments = [leaves.get(id(x), x) for x in inputs]
            state = self._state | dict(zip(names, primals[len(distinct_inputs) :], strict=True))
            result = self.compute(state, arguments, keywords)
            result = result.outputs if isinstance(result, Updated) else result
            outputs = result if isinstance(result, tuple) else (result,)
            return tuple(y for y, c in zip(outputs, cotangents, strict=True) if c is not None)

        primals = [*distinct_inputs.values(), *(self._state[name] for name in names)]
        given_cotangents = [c for c in cotangents if c is not None]
        primal_gradients = list(self._backend.vjp(fn, primals, given_cotangents)) if primals else []  # type: ignore[attr-defined]
        self._backend.wait(primal_gradients)
        gradients = dict(zip(distinct_inputs, primal_gradients, strict=False))
        return (
            tuple(None if x is None else gradients.get(id(x)) for x in inputs),
            dict(zip(names, primal_gradients[len(distinct_inputs) :], strict=True)),
        )

    def places_with_gradient(self, inputs: Sequence[Any]) -> list[int]:
        """Indices of the inputs that have gradients."""
        return [
            k
            for k, x in enumerate(inputs)
            if x is not None
            and self._has_gradient(k)
            and not self.dtype(x).startswith(("int", "bool"))
        ]

    def find_parameters(self, inputs: Sequence[Any]) -> tuple[str, ...]:
        """Names of the state tensors that have gradients; buffers have none."""
        if not self._parameter_names:  # a lazy layer can be built without a state
            spec, self._parameter_names = _find_spec(self._call), tuple(self._state)
            if spec is not None and self._parameter_names:
                call = replace(self._call, state=self._state)
                self._parameter_names = spec.parameter_names(Case(call, (self.get(inputs[0]),)))
        return self._parameter_names

    def _has_gradient(self, place: int) -> bool:
        """Whether an input has a gradient; running statistics and class weights have none."""
        spec = _find_spec(self._call)
        return (
            spec is None
            or place >= len(spec.signature.inputs)
            or spec.signature.inputs[place].differentiable
        )


class TransformedLayer(DifferentiableLayer, FunctionTransforms):
    """A layer of a `FunctionBackend` that defines `vjp`, `jvp` and `vmap`."""
