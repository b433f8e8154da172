"""Translate a call to an ONNX model.

A module's state becomes constants of the graph, as exporters write it; the weights of a function
are inputs. The modules of the families (`sums`, `recurrent`, …) translate each layer to operators.
Anything that a graph cannot express is Unsupported. An invalid call has no state, and ONNX has no
initialisation, so its state is zeros; the check looks only at the refusal.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import onnx

from conformance.backends.adapters.onnx import activations as onnx_activations
from conformance.backends.adapters.onnx import losses as onnx_losses
from conformance.backends.adapters.onnx import networks as onnx_networks
from conformance.backends.adapters.onnx import normalization as onnx_normalization
from conformance.backends.adapters.onnx import places as onnx_places
from conformance.backends.adapters.onnx import pooling as onnx_pooling
from conformance.backends.adapters.onnx import recurrent as onnx_recurrent
from conformance.backends.adapters.onnx import sampling as onnx_sampling
from conformance.backends.adapters.onnx import sums as onnx_sums
from conformance.backends.adapters.onnx.nodes import Graph, Value, numpy_dtype
from conformance.layers import CATALOGUE
from conformance.model.case import Call, Unsupported, is_function

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
    graph = Graph(numpy_dtype(call.dtype), training=call.training, constant=constant)
    values = [
        None if array is None else Value(f"input_{place}", array.shape, array.dtype)
        for place, array in enumerate(inputs)
    ]
    result = add_call(graph, call, values, keywords)
    outputs = [result] if isinstance(result, str) else result
    given_values = [x for x in values if x is not None]
    model = graph.build_model(given_values, outputs, fixed=fixed)
    return CallModel(model, graph.weights, tuple(graph.updates))


def add_call(
    graph: Graph, call: Call, inputs: Sequence[Value | None], keywords: Mapping[str, Any]
) -> Any:
    """Add the nodes of a call to a graph, and return the names of its results.

    Raises:
        Unsupported: if ONNX cannot express the call.
    """
    if call.layer not in FUNCTIONS:
        raise Unsupported(f"layer {call.layer}")
    function = FUNCTIONS[call.layer]
    if call.layer == "Identity":
        return function(graph, *inputs)
    arguments: dict[str, Any] = {}
    is_module = not is_function(call.layer)
    parameters = inspect.signature(function).parameters
    for name, value in {**call.arguments, **keywords}.items():
        # The state shows whether there is a bias, so the argument is not needed.
        is_parameter = name in parameters and name != "bias"
        if "state" not in parameters and is_module and name in SHAPE_ARGUMENTS and not is_parameter:
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
    return function(graph, *inputs, **arguments)


def main_operator(layer: str) -> str:
    """The main ONNX operator of a layer."""
    if layer == "Identity":
        return "Identity"
    if "onv" in layer:
        return "ConvTranspose" if "ranspose" in layer else "Conv"
    if "inear" in layer:
        return "Einsum" if "ilinear" in layer else "MatMul"
    return layer.removesuffix("Cell")


def zero_state(call: Call, inputs: Sequence[np.ndarray | Value | None]) -> dict[str, np.ndarray]:
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


FUNCTIONS |= dict.fromkeys(onnx_networks.LAYERS, partial(onnx_networks.network, add_call=add_call))
