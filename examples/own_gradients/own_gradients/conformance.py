"""The plug-in: how arrays come and go, where the gradients are, and one function a layer."""

import numpy as np

import own_gradients
from conformance import Unsupported
from conformance.backends import FunctionBackend, implements
from own_gradients import Array, layers


class OwnGradients(FunctionBackend):
    """The framework of this package."""

    name = "own-gradients"

    def info(self):
        """Versions."""
        return {"numpy": np.__version__}

    def offers(self, layer, dtype, device):
        """Two dtypes."""
        return dtype in ("float32", "float64")

    def put(self, array, layout, dtype, device):
        """NumPy to Array; the framework has one layout."""
        return Array(super().put(array, layout, dtype, device))

    def get(self, native):
        """Array to NumPy."""
        return super().get(native.data)

    def dtype(self, native):
        """torch's name."""
        return str(native.data.dtype)

    def vjp(self, fn, primals, cotangents):
        """The framework's own gradients."""
        return own_gradients.vjp(fn, primals, cotangents)

    @implements("Identity", ignores=("everything",))
    def identity(self, state, input):
        """Its input."""
        return input

    @implements("Linear", "LazyLinear", ignores=("in_features", "out_features", "bias"))
    def linear(self, state, input):
        """Linear."""
        return layers.linear(input, *weights(state, "weight", "bias"))

    @implements("functional.linear")
    def functional_linear(self, state, input, weight, bias=None):
        """functional.linear, of matrices."""
        if len(weight.shape) != 2:
            raise Unsupported(f"weight of {len(weight.shape)} dimensions")
        return layers.linear(input, weight, bias)

    @implements("Bilinear", ignores=("in1_features", "in2_features", "out_features", "bias"))
    def bilinear(self, state, input1, input2):
        """Bilinear."""
        return layers.bilinear(input1, input2, *weights(state, "weight", "bias"))

    @implements("LSTMCell", ignores=("input_size", "bias"))
    def lstm_cell(self, state, input, h=None, c=None, *, hidden_size):
        """LSTMCell; a state left out is zero."""
        zeros = Array(np.zeros((*input.shape[:-1], hidden_size), input.data.dtype))
        h, c = (zeros if s is None else s for s in (h, c))
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return layers.lstm_cell(input, h, c, *weights(state, *names))


def weights(state, *names):
    """A layer's weights by name; a bias that it has not is None."""
    if not state:
        raise Unsupported("initial values")
    return [state.get(name) for name in names]


backend = OwnGradients()
