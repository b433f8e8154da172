"""The plug-in: `Backend` and `Layer` themselves, and a table that translates names and axes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import class_based
from conformance import Unsupported


def swap_gates(array):
    """torch's gates r, z, n as z, r, n, or the other way round, along the first axis."""
    return array.reshape(3, -1, *array.shape[1:])[[1, 0, 2]].reshape(array.shape)


def unchanged(array):
    """Biases, and what else has one axis."""
    return array


@dataclass(frozen=True)
class Tensor:
    """A tensor of torch's state as the framework keeps it.

    Args:
        name: the framework's.
        ours, theirs: from torch's axes to the framework's, and back.
    """

    name: str
    ours: Callable[[Any], Any] = unchanged
    theirs: Callable[[Any], Any] = unchanged


@dataclass(frozen=True)
class Entry:
    """How a layer of torch is made.

    Args:
        make: the framework's class.
        arguments: torch's names of arguments, and the framework's.
        tensors: torch's names of state tensors in the order of its state_dict.
        channels: the axis of channels in torch's inputs and outputs.
        only: arguments that the framework lacks, with the one value that is no matter.
    """

    make: Callable[..., Any]
    arguments: Mapping[str, str]
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    channels: int = -1
    only: Mapping[str, Any] = field(default_factory=dict)


KERNEL = Tensor("kernel", np.transpose, np.transpose)
BIAS = Tensor("bias")
DENSE = {"in_features": "inputs", "out_features": "units", "bias": "use_bias"}


def gated_kernel(name):
    """A kernel of `GatedUnit`."""
    return Tensor(name, lambda w: swap_gates(w).T, lambda k: swap_gates(k.T))


LAYERS = {
    "Linear": Entry(class_based.Dense, DENSE, {"weight": KERNEL, "bias": BIAS}),
    # (out, in, taps) and (taps, in, out): the transpose, too.
    "Conv1d": Entry(
        class_based.Convolution,
        {
            "in_channels": "inputs", "out_channels": "units", "kernel_size": "taps",
            "stride": "stride", "padding": "padding", "dilation": "dilation", "bias": "use_bias",
        },
        {"weight": KERNEL, "bias": BIAS},
        channels=-2,
        only={"groups": 1, "padding_mode": "zeros"},
    ),
    "BatchNorm2d": Entry(
        class_based.BatchNormalization,
        {
            "num_features": "channels", "eps": "epsilon", "momentum": "rate", "affine": "scaled",
            "track_running_stats": "moving", "bias": "use_offset",
        },
        {
            "weight": Tensor("scale"),
            "bias": Tensor("offset"),
            "running_mean": Tensor("moving_mean"),
            "running_var": Tensor("moving_variance"),
            "num_batches_tracked": Tensor("batches"),
        },
        channels=-3,
    ),
    "Dropout": Entry(class_based.Dropout, {"p": "rate"}, only={"inplace": False}),
    "GRUCell": Entry(
        class_based.GatedUnit,
        {"input_size": "inputs", "hidden_size": "units", "bias": "use_bias"},
        {
            "weight_ih": gated_kernel("kernel"),
            "weight_hh": gated_kernel("recurrent_kernel"),
            "bias_ih": Tensor("bias", swap_gates, swap_gates),
            "bias_hh": Tensor("recurrent_bias", swap_gates, swap_gates),
        },
    ),
}  # fmt: skip


class ClassBased:
    """The framework as a `conformance.Backend`."""

    name = "class-based"

    def info(self):
        """The version of NumPy."""
        return {"numpy": np.__version__}

    def devices(self):
        """The CPU."""
        return ("cpu",)

    def offers(self, layer, dtype, device):
        """Its five layers, in two dtypes."""
        return layer in LAYERS and dtype in ("float32", "float64")

    def build(self, call):
        """A layer of the framework, its parameters loaded."""
        if call.layer not in LAYERS:
            raise Unsupported(f"layer {call.layer}")
        return ClassLayer(LAYERS[call.layer], call)


class ClassLayer:
    """One of the framework's layers as a `conformance.Layer`."""

    def __init__(self, entry, call):
        self._entry, self._call = entry, call
        arguments = {}
        for name, value in call.arguments.items():
            if name in entry.arguments:
                arguments[entry.arguments[name]] = single_number(name, value)
            elif name not in entry.only or value != entry.only[name]:
                raise Unsupported(f"{name}={value!r}")
        self._layer = entry.make(**arguments, dtype=call.dtype)
        self.train(call.training)
        if call.state:
            self.load(call.state, call.layouts)

    def put(self, array, layout="contiguous", dtype=None):
        """A NumPy array in the call's dtype; integers stay int64."""
        default_dtype = self._call.dtype if array.dtype.kind == "f" else array.dtype
        x = np.array(array, dtype or default_dtype)
        if layout == "transposed" and x.ndim > 1:
            return np.asfortranarray(x)
        if layout == "sliced" and x.ndim:
            gaps = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan).astype(x.dtype)
            gaps[..., ::2] = x
            return gaps[..., ::2]
        if layout != "contiguous":
            raise Unsupported(f"layout={layout!r}")
        return x

    def __call__(self, *inputs):
        """The framework's forward, channels last; none of these layers takes keywords."""
        return self._channels_restored(self._layer.forward(*map(self._channels_last, inputs)))

    def get(self, native):
        """A fresh array of float64 or int64."""
        return np.array(native, np.float64 if native.dtype.kind == "f" else np.int64)

    def dtype(self, native):
        """NumPy's names are torch's."""
        return str(native.dtype)

    def load(self, state, layouts=None):
        """Use other parameters from now on, each as it lies in memory."""
        if set(state) != set(self._tensors()):
            raise ValueError(f"expected a state of {', '.join(self._tensors())}, got {list(state)}")
        for name, tensor in self._tensors().items():
            parameter = self._layer.parameters[tensor.name]
            layout = (layouts or {}).get(name, "contiguous")
            native = self.put(state[name], layout)
            value = tensor.ours(native)
            if value.shape != parameter.value.shape:
                raise ValueError(f"{name} of shape {native.shape}")
            if layout != "contiguous" and not np.shares_memory(value, native):
                raise Unsupported(f"{name}: layout={layout!r} is lost in loading")
            parameter.value = value

    def state(self):
        """The parameters and statistics under torch's names, in torch's order."""
        values = self._layer.parameters
        return {k: t.theirs(values[t.name].value) for k, t in self._tensors().items()}

    def train(self, mode):
        """Train or eval mode."""
        self._layer.training = mode

    def attributes(self):
        """What a user can read, by torch's names."""
        attributes = {
            name: getattr(self._layer, attribute)
            for name, attribute in self._entry.arguments.items()
        }
        return {**attributes, "training": self._layer.training}

    def vjp(self, inputs, cotangents):
        """A call, and its backward: gradients of the inputs and of the parameters."""
        self(*inputs)
        (cotangent,) = cotangents
        input_gradients = self._layer.backward(self._channels_last(cotangent))
        pairs = zip(inputs, input_gradients, strict=False)
        parameters = self._layer.parameters
        gradients = {
            name: tensor.theirs(parameters[tensor.name].gradient)
            for name, tensor in self._tensors().items()
            if parameters[tensor.name].gradient is not None  # statistics have none
        }
        return tuple(None if x is None else self._channels_restored(g) for x, g in pairs), gradients

    def _tensors(self):
        """The tensors that the layer has, as its arguments are."""
        parameters = self._layer.parameters
        return {name: t for name, t in self._entry.tensors.items() if t.name in parameters}

    def _channels_last(self, x):
        """Channels last."""
        has_channels = x is not None and x.ndim >= -self._entry.channels
        return np.moveaxis(x, self._entry.channels, -1) if has_channels else x

    def _channels_restored(self, y):
        """Channels where torch has them."""
        return np.moveaxis(y, -1, self._entry.channels) if self._entry.channels < -1 else y


def single_number(name, value):
    """A number where torch takes one for each dimension, or a word."""
    if isinstance(value, str):
        raise Unsupported(f"{name}={value!r}")
    return value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value


backend = ClassBased()
