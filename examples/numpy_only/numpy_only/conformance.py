"""The plug-in: one function a layer; what a function does not name is reported as unsupported."""

from functools import partial

import numpy as np

import numpy_only
from conformance import Numerics, Unsupported
from conformance.backends import FunctionBackend, implements

DTYPES = ("float32", "float64", "float16")
CONVOLUTIONS = ("Conv1d", "Conv2d", "Conv3d", "LazyConv1d", "LazyConv2d", "LazyConv3d")
TRANSPOSED = tuple(name.replace("Conv", "ConvTranspose") for name in CONVOLUTIONS)
STATES = {"RNN": 1, "LSTM": 2, "GRU": 1}


class NumpyOnly(FunctionBackend):
    """The NumPy implementations of this package."""

    name = "numpy-only"

    def info(self):
        """The version of NumPy."""
        return {"numpy": np.__version__}

    def offers(self, layer, dtype, device):
        """What NumPy has no dtype for is no part of a run."""
        return dtype in DTYPES

    def numerics(self, dtype):
        """NumPy adds up float16 in float16."""
        return Numerics(accumulation="float16" if dtype == "float16" else None)

    def put(self, array, layout, dtype, device):
        """NumPy has strides; these layouts are easily made."""
        x = np.array(array, dtype=dtype)
        if layout == "transposed" and x.ndim > 1:
            return np.asfortranarray(x)
        if layout == "sliced" and x.ndim:
            gaps = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan).astype(dtype)
            gaps[..., ::2] = x
            return gaps[..., ::2]
        return x if layout == "contiguous" else super().put(array, layout, dtype, device)

    @implements("Identity", ignores=("everything",))
    def identity(self, state, input):
        """Its input."""
        return input

    @implements("Linear", "LazyLinear", ignores=("in_features", "out_features", "bias"))
    def linear(self, state, input):
        """Linear, lazy or not."""
        return numpy_only.linear(input, *weights(state, "weight", "bias"))

    @implements("functional.linear")
    def functional_linear(self, state, input, weight, bias=None):
        """functional.linear."""
        return numpy_only.linear(input, weight, bias)

    @implements("Bilinear", ignores=("in1_features", "in2_features", "out_features", "bias"))
    def bilinear(self, state, input1, input2):
        """Bilinear."""
        return numpy_only.bilinear(input1, input2, *weights(state, "weight", "bias"))

    @implements("functional.bilinear")
    def functional_bilinear(self, state, input1, input2, weight, bias=None):
        """functional.bilinear."""
        return numpy_only.bilinear(input1, input2, weight, bias)

    @implements(*CONVOLUTIONS, ignores=("in_channels", "out_channels", "kernel_size", "bias"))
    def conv(
        self, state, input, *, stride=1, padding=0, dilation=1, groups=1, padding_mode="zeros"
    ):
        """Convolutions, with every argument of torch's."""
        weight, bias = weights(state, "weight", "bias")
        return numpy_only.conv(input, weight, bias, stride, padding, dilation, groups, padding_mode)

    @implements("functional.conv1d", "functional.conv2d", "functional.conv3d")
    def functional_conv(
        self, state, input, weight, bias=None, *, call, stride=1, padding=0, dilation=1, groups=1
    ):
        """Their functions; `call` says how many dimensions there are."""
        check_dimensions(call, weight)
        return numpy_only.conv(input, weight, bias, stride, padding, dilation, groups)

    @implements(
        *TRANSPOSED, ignores=("in_channels", "out_channels", "kernel_size", "bias", "padding_mode")
    )
    def conv_transpose(
        self, state, input, *, stride=1, padding=0, output_padding=0, groups=1, dilation=1,
    ):  # fmt: skip
        """Transposed convolutions; `output_size`, which no parameter names, is unsupported."""
        weight, bias = weights(state, "weight", "bias")
        return numpy_only.conv_transpose(
            input, weight, bias, stride, padding, output_padding, groups, dilation
        )

    @implements(
        "functional.conv_transpose1d", "functional.conv_transpose2d", "functional.conv_transpose3d"
    )
    def functional_conv_transpose(
        self, state, input, weight, bias=None, *, call, stride=1, padding=0, output_padding=0,
        groups=1, dilation=1,
    ):  # fmt: skip
        """Their functions."""
        check_dimensions(call, weight)
        return numpy_only.conv_transpose(
            input, weight, bias, stride, padding, output_padding, groups, dilation
        )

    @implements("RNNCell", "LSTMCell", "GRUCell", ignores=("input_size", "bias"))
    def cell(self, state, input, h=None, c=None, *, call, hidden_size, nonlinearity="tanh"):
        """One step."""
        name = call.layer.removesuffix("Cell")
        zeros = np.zeros((*input.shape[:-1], hidden_size), input.dtype)
        states = [zeros if s is None else s for s in (h, c)[: STATES[name]]]
        parameters = weights(state, "weight_ih", "weight_hh", "bias_ih", "bias_hh")
        outputs = choose_cell(name, nonlinearity)(input, states, *parameters)
        return outputs if len(outputs) > 1 else outputs[0]

    @implements("RNN", "LSTM", "GRU", ignores=("input_size", "bias", "dropout"))
    def recurrent(
        self, state, input, h_0=None, c_0=None, *, call, hidden_size, num_layers=1,
        batch_first=False, bidirectional=False, nonlinearity="tanh", proj_size=0, lengths=None,
    ):  # fmt: skip
        """The layers, with everything but dropout in training."""
        if input.ndim not in (2, 3):
            raise ValueError(f"expected (L, N, features) or (L, features), got {input.shape}")
        if num_layers < 1:
            raise ValueError(f"num_layers={num_layers}: expected at least 1")
        batched = input.ndim == 3
        x = input if batched else input[:, np.newaxis]
        x = x.swapaxes(0, 1) if batch_first and batched else x
        directions = ("", "_reverse")[: 1 + bidirectional]
        state_count = num_layers * len(directions)
        sizes = (proj_size or hidden_size, hidden_size)[: STATES[call.layer]]
        states = []
        for initial, size in zip((h_0, c_0), sizes, strict=False):
            shape = (state_count, x.shape[1], size)
            if initial is not None and initial.shape != (shape if batched else (state_count, size)):
                raise ValueError(f"expected a state of shape {shape}, got {initial.shape}")
            zeros = np.zeros(shape, x.dtype)
            states.append(zeros if initial is None else initial.reshape(shape).copy())
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        parameters = [
            [weights(state, *(f"{n}_l{layer}{d}" for n in names)) for d in directions]
            for layer in range(num_layers)
        ]
        y = numpy_only.recurrent(
            choose_cell(call.layer, nonlinearity), x, states, parameters, lengths
        )
        if not batched:
            return y[:, 0], *(s[:, 0] for s in states)
        return (y.swapaxes(0, 1) if batch_first else y), *states


def weights(state, *names):
    """A layer's weights by name; a bias that it has not is None."""
    if not state:
        raise Unsupported("initial values")
    return [state.get(name) for name in names]


def choose_cell(name, nonlinearity):
    """A cell, its nonlinearity chosen."""
    cell = numpy_only.CELLS[name]
    return partial(cell, nonlinearity=nonlinearity) if name == "RNN" else cell


def check_dimensions(call, weight):
    """A function for one number of dimensions refuses the weight of another."""
    if weight.ndim != 2 + int(call.layer[-2]):
        raise ValueError(f"{call.layer}: weight of shape {weight.shape}")


backend = NumpyOnly()
