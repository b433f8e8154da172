"""tinygrad's adapter with bugs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    def lstm_cell_with_swapped_gates(
        self, state: Any, x: Any, *states: Any, **arguments: Any
    ) -> Any:
        """Of the weights the second and third quarter change places."""

        def swap_gates(w: Any) -> Any:
            i, f, g, o = w.chunk(4)
            return Tensor.cat(i, g, f, o)

        return self.lstm_cell({n: swap_gates(w) for n, w in state.items()}, x, *states, **arguments)


@plant(FAITHFUL, "MaxPool1d")
class PaddedWithZeros(Tinygrad):
    """A maximum is at least 0 where a window reaches into the padding."""

    @implements("MaxPool1d", passes=("dilation", "ceil_mode", "return_indices", "stride"))
    def max_pool_of_zero_padded(
        self,
        state: Any,
        x: Any,
        *,
        call: Call,
        kernel_size: Any,
        padding: Any = 0,
        **arguments: Any,
    ) -> Any:
        """Zeros around the input, and no padding."""
        if arguments.get("return_indices") or arguments.get("ceil_mode"):
            return self.max_pool(
                state, x, call=call, kernel_size=kernel_size, padding=padding, **arguments
            )
        width = padding if isinstance(padding, int) else padding[0]
        return self.max_pool(
            state, x.pad((width, width)), call=call, kernel_size=kernel_size, **arguments
        )


@plant(FAITHFUL, "LSTMCell")
class UsesNotToldApart(Tinygrad):
    """A weight that is also the input is given the gradient of both uses, twice."""

    def vjp(
        self, fn: Callable[..., Any], primals: Sequence[Any], cotangents: Sequence[Any]
    ) -> Sequence[Any]:
        """Gradients with respect to the tensors as they came, which may be one."""
        pairs = zip(fn(*primals), cotangents, strict=True)
        parts = [y.gradient(*primals, gradient=c) for y, c in pairs]
        return [sum(rest, first) for first, *rest in zip(*parts, strict=True)]


plant_around(
    __name__, Tinygrad, FAITHFUL,
    {around.GradientDoubled: "Linear", around.NanIsZero: "Softsign", around.Drifts: "ReLU"},
)  # fmt: skip
