"""tinygrad's adapter with bugs."""

from __future__ import annotations

from typing import Any

from tinygrad import Tensor

from conformance import Call
from conformance.backends import implements
from conformance.backends.adapters.tinygrad import Tinygrad

from . import around
from .bug import plant, plant_around

FAITHFUL = "conformance.backends.adapters.tinygrad:backend"


@plant(FAITHFUL, "LSTMCell")
class GatesSwapped(Tinygrad):
    """The cell's gate comes before the forget gate."""

    @implements("LSTMCell", passes=("input_size", "hidden_size", "bias"))
    def swapped(self, state: Any, x: Any, *states: Any, **given: Any) -> Any:
        """Of the weights the second and third quarter change places."""

        def turned(w: Any) -> Any:
            i, f, g, o = w.chunk(4)
            return Tensor.cat(i, g, f, o)

        return self.lstm_cell({n: turned(w) for n, w in state.items()}, x, *states, **given)


@plant(FAITHFUL, "MaxPool1d")
class PaddedWithZeros(Tinygrad):
    """A maximum is at least 0 where a window reaches into the padding."""

    @implements("MaxPool1d", passes=("dilation", "ceil_mode", "return_indices", "stride"))
    def zeros(
        self, state: Any, x: Any, *, call: Call, kernel_size: Any, padding: Any = 0, **given: Any
    ) -> Any:
        """Zeros around the input, and no padding."""
        if given.get("return_indices") or given.get("ceil_mode"):
            return self.max_pool(
                state, x, call=call, kernel_size=kernel_size, padding=padding, **given
            )
        by = padding if isinstance(padding, int) else padding[0]
        return self.max_pool(state, x.pad((by, by)), call=call, kernel_size=kernel_size, **given)


plant_around(
    __name__, Tinygrad, FAITHFUL,
    {around.GradientDoubled: "Linear", around.NanIsZero: "Softsign", around.Drifts: "ReLU"},
)  # fmt: skip
