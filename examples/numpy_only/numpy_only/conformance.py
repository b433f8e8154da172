"""The plug-in: one function a layer; what a function does not name is reported as unsupported."""

import numpy as np

import numpy_only
from conformance import Numerics, Unsupported
from conformance.backends import FunctionBackend, implements


class NumpyOnly(FunctionBackend):
    """The NumPy implementations of this package."""

    name = "numpy-only"

    def info(self):
        """The version of NumPy."""
        return {"numpy": np.__version__}

    def numerics(self, dtype):
        """NumPy adds up float16 in float16."""
        return Numerics(accumulation="float16" if dtype == "float16" else None)

    @implements("Linear", "LazyLinear", ignores=("in_features", "out_features", "bias"))
    def linear(self, state, input):
        """Linear."""
        return numpy_only.linear(input, state["weight"], state.get("bias"))

    @implements("functional.linear")
    def functional_linear(self, state, input, weight, bias=None):
        """functional.linear."""
        return numpy_only.linear(input, weight, bias)

    @implements("Conv1d", "LazyConv1d", ignores=("in_channels", "out_channels", "bias"))
    def conv1d(
        self, state, input, *, kernel_size, stride=1, padding=0, dilation=1, groups=1,
        padding_mode="zeros",
    ):  # fmt: skip
        """Conv1d with every argument of torch's."""
        kernel, stride, dilation = (_one(n) for n in (kernel_size, stride, dilation))
        if padding == "valid":
            padding = 0
        reach = dilation * (kernel - 1)
        before = reach // 2 if padding == "same" else _one(padding)
        after = reach - before if padding == "same" else before
        x = input if input.ndim == 3 else input[np.newaxis]
        y = numpy_only.conv1d(
            x, state["weight"], state.get("bias"), stride, before, after, dilation, groups,
            padding_mode,
        )  # fmt: skip
        return y if input.ndim == 3 else y[0]

    @implements("LSTM", ignores=("input_size", "bias", "dropout"))
    def lstm(
        self, state, input, h_0=None, c_0=None, *, hidden_size, num_layers=1, batch_first=False,
        bidirectional=False,
    ):  # fmt: skip
        """LSTM without projections and packed sequences; one direction."""
        if bidirectional:
            raise Unsupported("bidirectional=True")
        x = input[:, np.newaxis] if input.ndim == 2 else input
        x = x.swapaxes(0, 1) if batch_first and input.ndim == 3 else x
        zeros = np.zeros((num_layers, x.shape[1], hidden_size), x.dtype)
        given = [zeros if s is None else s.reshape(zeros.shape) for s in (h_0, c_0)]
        hs, cs = [], []
        for layer in range(num_layers):
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            weights = [state.get(f"{name}_l{layer}") for name in names]
            h, c = given[0][layer], given[1][layer]
            steps = []
            for step in x:
                h, c = numpy_only.lstm_cell(step, h, c, *weights)
                steps.append(h)
            x = np.stack(steps)
            hs.append(h)
            cs.append(c)
        h_n, c_n = np.stack(hs), np.stack(cs)
        if input.ndim == 2:
            return x[:, 0], h_n[:, 0], c_n[:, 0]
        return (x.swapaxes(0, 1) if batch_first else x), h_n, c_n


def _one(size):
    return size if isinstance(size, int) else size[0]


backend = NumpyOnly()
