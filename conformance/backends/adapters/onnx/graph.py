"""Translate a call to an ONNX model, and the base class of the backends that run such models.

A module's state becomes constants of the graph, as exporters write it; the weights of a function
are inputs. The modules of the families (`sums`, `recurrent`, …) translate each layer to operators.
Anything that a graph cannot express is Unsupported. An invalid call has no state, and ONNX has no
initialisation, so its state is zeros; the check looks only at the refusal.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import onnx

from conformance.backends.adapters.onnx import activations as onnx_activations
from conformance.backends.adapters.onnx import losses as onnx_losses
from conformance.backends.adapters.onnx import normalization as onnx_normalization
from conformance.backends.adapters.onnx import places as onnx_places
from conformance.backends.adapters.onnx import pooling as onnx_pooling
from conformance.backends.adapters.onnx import recurrent as onnx_recurrent
from conformance.backends.adapters.onnx import sampling as onnx_sampling
from conformance.backends.adapters.onnx import sums as onnx_sums
from conformance.backends.adapters.onnx.nodes import Graph, Value, numpy_dtype
from conformance.backends.numpy_layouts import apply_layout
from conformance.layers import CATALOGUE
from conformance.model.case import Call, Unsupported, is_function

Run = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]
# The buffer that counts the calls of a batch normalisation; the adapter counts them for ONNX.
BATCH_COUNT = "num_batches_tracked"

# Arguments that the shapes of the state already show; `bias` is the argument of a module.
SHAPE_ARGUMENTS = frozenset(
    {"in_channels", "out_channels", "kernel_size", "bias"}
    | {"in_features", "in1_features", "in2_features", "out_features"}
    | {"num_parameters", "init", "num_features", "affine", "elementwise_affine"}
    | {"num_embeddings", "embedding_dim"}
)
FUNCTIONS: dict[str, Callable[..., Any]] = {"Identity": onnx_sums.identity}
for _prefix in ("", "Lazy", "functional."):
    FUNCTIONS[f"{_prefix}linear" if "." in _prefix else f"{_prefix}Linear"] = onnx_sums.linear
    for _d in (1, 2, 3):
        _names = ("conv", "conv_transpose") if "." in _prefix else ("Conv", "ConvTranspose")
        FUNCTIONS[f"{_prefix}{_names[0]}{_d}d"] = partial(onnx_sums.conv, dims=_d)
        FUNCTIONS[f"{_prefix}{_names[1]}{_d}d"] = partial(onnx_sums.conv_transpose, dims=_d)
FUNCTIONS |= {"Bilinear": onnx_sums.bilinear, "functional.bilinear": onnx_sums.bilinear}
for _kind in onnx_recurrent.GATES:
    FUNCTIONS[_kind] = partial(onnx_recurrent.recurrent, kind=_kind)
    FUNCTIONS[f"{_kind}Cell"] = partial(onnx_recurrent.cell, kind=_kind)
# Layers whose models take any shape of a rank; other layers need a model for each shape.
BY_RANK = frozenset(FUNCTIONS)
for _family in (
    onnx_activations, onnx_normalization, onnx_pooling, onnx_places, onnx_sampling, onnx_losses
):  # fmt: skip
    FUNCTIONS |= _family.FUNCTIONS


@dataclass(frozen=True)
class CallModel:
    """The model of a call, with its weights.

    Args:
        model: the ONNX model.
        weights: values of those inputs that are a module's state.
        updates: names of state tensors; the model's last outputs are their values after the call.
    """

    model: onnx.ModelProto
    weights: Mapping[str, np.ndarray]
    updates: tuple[str, ...]


def build_model(
    call: Call,
    inputs: Sequence[np.ndarray | None],
    keywords: Mapping[str, Any],
    *,
    fixed: bool,
    constant: bool = True,
) -> CallModel:
    """Build the model of a call for inputs of given shapes and dtypes.

    Args:
        inputs: in torch's order, None for one left out; only shapes and dtypes matter.
        keywords: see `Case`.
        fixed: whether the model has the input shapes, or only their ranks.
        constant: whether a module's state becomes constants, or inputs.

    Raises:
        Unsupported: if ONNX cannot express the call.
    """
    function = FUNCTIONS[call.layer]
    graph = Graph(numpy_dtype(call.dtype), training=call.training, constant=constant)
    values = [
        None if array is None else Value(f"input_{place}", array.shape, array.dtype)
        for place, array in enumerate(inputs)
    ]
    arguments: dict[str, Any] = {}
    if call.layer != "Identity":
        is_module = not is_function(call.layer)
        parameters = inspect.signature(function).parameters
        for name, value in {**call.arguments, **keywords}.items():
            # The state shows whether there is a bias, so the argument is not needed.
            is_parameter = name in parameters and name != "bias"
            if (
                "state" not in parameters
                and is_module
                and name in SHAPE_ARGUMENTS
                and not is_parameter
            ):
                continue
            if name not in parameters:
                raise Unsupported(f"{name}={value!r}")
            arguments[name] = value
        # A law may leave a module's state in the call of a function, which has none.
        state = (call.state or zero_state(call, inputs)) if is_module else {}
        if "state" in parameters:
            arguments["state"] = state
        else:
            arguments |= {
                name: graph.weight(array) for name, array in state.items() if name != BATCH_COUNT
            }
    result = function(graph, *values, **arguments)
    outputs = [result] if isinstance(result, str) else result
    given_values = [x for x in values if x is not None]
    model = graph.build_model(given_values, outputs, fixed=fixed)
    return CallModel(model, graph.weights, tuple(graph.updates))


def main_operator(layer: str) -> str:
    """The main ONNX operator of a layer."""
    if layer == "Identity":
        return "Identity"
    if "onv" in layer:
        return "ConvTranspose" if "ranspose" in layer else "Conv"
    if "inear" in layer:
        return "Einsum" if "ilinear" in layer else "MatMul"
    return layer.removesuffix("Cell")


def zero_state(call: Call, inputs: Sequence[np.ndarray | None]) -> dict[str, np.ndarray]:
    """A module's state of zeros.

    Raises:
        Unsupported: if the shapes do not follow from the arguments.
    """
    first = inputs[0]
    if first is None or is_function(call.layer):
        return {}
    arguments = call.arguments
    groups = arguments.get("groups", 1)
    channels = [arguments.get(name, 0) for name in ("in_channels", "out_channels")]
    try:
        if any(count % groups for count in channels):
            raise ValueError("groups do not divide the channels")
        spec = CATALOGUE[call.layer]
        shapes = spec.state_shapes(arguments, first.shape)
        # Tensors that the constructor takes are optional.
        return {
            k: np.zeros(v) for k, v in shapes.items() if k not in spec.state.constructor_tensors
        }
    except (ArithmeticError, IndexError, TypeError, ValueError) as error:
        raise Unsupported(f"a state as these arguments have it: {error}") from error


class GraphBackend:
    """A backend that runs ONNX models on the CPU; a subclass defines `compile`."""

    # Whether a model contains the shapes of its inputs, and a module's state.
    fixed_shapes = False
    constant_state = True
    budget = "900"

    def __init__(self, name: str) -> None:
        self.name = name

    def info(self) -> Mapping[str, str]:
        """The version of the package onnx."""
        return {"onnx": onnx.__version__}

    def devices(self) -> Sequence[str]:
        """The CPU only."""
        return ("cpu",)

    def offers(self, layer: str, dtype: str, device: str) -> bool:
        """Offer the layers that a graph can express; only Identity has complex numbers."""
        return layer in FUNCTIONS and (layer == "Identity" or not dtype.startswith("complex"))

    def compile(self, model: onnx.ModelProto) -> Run:
        """Compile a model to a function: inputs by name → outputs in the model's order."""
        raise NotImplementedError

    def prepare(
        self, call: Call, inputs: Sequence[np.ndarray | None], keywords: Mapping[str, Any]
    ) -> tuple[Run, CallModel]:
        """Compile the model of a call for inputs of these shapes; return both."""
        call_model = build_model(
            call, inputs, keywords, fixed=self.fixed_shapes, constant=self.constant_state
        )
        return self.compile(call_model.model), call_model

    def build(self, call: Call) -> GraphLayer:
        """Create a layer that builds its models when it is called."""
        if call.layer not in FUNCTIONS:
            raise Unsupported(f"layer {call.layer}")
        if any(layout != "contiguous" for layout in call.layouts.values()):
            raise Unsupported("layout of a constant")
        if call.dtype.startswith("complex") and call.layer != "Identity":
            raise Unsupported(f"dtype={call.dtype!r}")
        return GraphLayer(self, call)


class GraphLayer:
    """A layer of a `GraphBackend`, with one model for each form of its inputs.

    The form is the dtypes and the shapes or ranks.
    """

    def __init__(self, backend: GraphBackend, call: Call) -> None:
        self._backend, self._call = backend, call
        self._runs: dict[Any, tuple[Run, CallModel]] = {}
        self.updated: dict[str, Any] = {}

    def put(self, array: np.ndarray, layout: str = "contiguous", dtype: str | None = None) -> Any:
        """Convert a host array to a NumPy array of the dtype, in a memory layout."""
        default_dtype = {"i": "int64", "b": "bool"}.get(array.dtype.kind, self._call.dtype)
        with np.errstate(over="ignore"):
            return apply_layout(
                np.asarray(array, dtype=numpy_dtype(dtype or default_dtype)), layout
            )

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Run the model for inputs of this form, after building it if necessary."""
        by_shape = self._backend.fixed_shapes or bool(keywords) or self._call.layer not in BY_RANK
        form = (repr(keywords), *(
            None if x is None else (x.dtype, x.shape if by_shape else x.ndim) for x in inputs
        ))  # fmt: skip
        if form not in self._runs:
            self._runs[form] = self._backend.prepare(self._call, inputs, keywords)
        run, call_model = self._runs[form]
        arrays = {f"input_{place}": x for place, x in enumerate(inputs) if x is not None}
        outputs = list(run({**arrays, **call_model.weights}))
        if call_model.updates:
            outputs, updates = (
                outputs[: -len(call_model.updates)],
                outputs[-len(call_model.updates) :],
            )
            self._update(dict(zip(call_model.updates, updates, strict=True)))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _update(self, values: Mapping[str, np.ndarray]) -> None:
        """Store the updates of a call: a module's state, or the inputs that a function wrote."""
        if is_function(self._call.layer):
            self.updated = dict(values)
            return
        if not self._call.state:
            return  # no state was loaded, and zeros stand in for the initial values
        self.updated = dict(values)
        state = {**self._call.state, **{name: self.get(x) for name, x in values.items()}}
        if BATCH_COUNT in state:
            state[BATCH_COUNT] = state[BATCH_COUNT] + 1
        self.load(state)

    def get(self, native: Any) -> np.ndarray:
        """Copy an array to float64, complex128, int64 or bool."""
        wide = {"c": np.complex128, "i": np.int64, "b": np.bool_}.get(native.dtype.kind, np.float64)
        return np.array(native, dtype=wide)

    def dtype(self, native: Any) -> str:
        """torch's name of the array's dtype."""
        return str(native.dtype)

    def aliases(self, a: Any, b: Any) -> bool:
        """Whether two arrays share memory."""
        return bool(np.may_share_memory(a, b))

    def state(self) -> Mapping[str, Any]:
        """The state as arrays of the call's dtype."""
        return {name: self.put(array) for name, array in self._call.state.items()}

    def load(
        self, state: Mapping[str, np.ndarray], layouts: Mapping[str, str] | None = None
    ) -> None:
        """Replace the state, and discard all models."""
        self._call = replace(self._call, state=dict(state))
        self._runs.clear()
