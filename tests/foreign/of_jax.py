"""JAX's adapter with bugs."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from conformance.backends import implements
from conformance.backends.adapters.jax import Jax

from . import around
from .bug import plant, plant_around

FAITHFUL = "conformance.backends.adapters.jax:backend"


@plant(FAITHFUL, "GRU")
class GatesSwapped(Jax):
    """The update gate comes before the reset gate."""

    @implements("GRU", ignores=("input_size", "hidden_size", "bias"), passes=("batch_first",))
    def gru_with_swapped_gates(self, state: Any, x: Any, *states: Any, **arguments: Any) -> Any:
        """Of the weights the first and second third change places."""

        def swap_gates(w: Any) -> Any:
            r, z, n = jnp.split(w, 3)
            return jnp.concatenate([z, r, n])

        return self.recurrent(
            {name: swap_gates(w) for name, w in state.items()}, x, *states, **arguments
        )


@plant(FAITHFUL, "Conv2d")
class DilationForgottenInGroups(Jax):
    """With groups there is no dilation."""

    @implements(
        "Conv2d", ignores=("in_channels", "out_channels", "kernel_size", "bias"),
        passes=("stride", "padding", "padding_mode"),
    )  # fmt: skip
    def conv_without_dilation_in_groups(
        self, state: Any, x: Any, *, dilation: Any = 1, groups: int = 1, **arguments: Any
    ) -> Any:
        """Dilated where there are no groups."""
        return self.conv(
            state, x, groups=groups, dilation=1 if groups > 1 else dilation, **arguments
        )


@plant(FAITHFUL, "AvgPool2d")
class WindowsCounted(Jax):
    """A sum is divided by the numbers of a window along one side, squared."""

    @implements("AvgPool2d", passes=("stride", "padding"))
    def avg_pool_by_squared_side(
        self, state: Any, x: Any, *, call: Any, kernel_size: Any, **arguments: Any
    ) -> Any:
        """The first side counts twice."""
        side = kernel_size if isinstance(kernel_size, int) else kernel_size[0]
        arguments |= {"kernel_size": kernel_size, "divisor_override": side**2}
        return self.avg_pool(state, x, call=call, **arguments)


@plant(FAITHFUL, "GELU")
class AlwaysByTanh(Jax):
    """GELU is approximated where it should not be."""

    @implements("GELU")
    def gelu_by_tanh(self, state: Any, x: Any, *, approximate: str = "none") -> Any:
        """JAX's own default."""
        approximate = "tanh" if approximate == "none" else approximate
        return self.gelu(state, x, approximate=approximate)


plant_around(
    __name__, Jax, FAITHFUL,
    {
        around.FirstAnswerKept: "Conv1d",
        around.StateLacksItsLast: "Linear",
        around.LoadForgotten: "Linear",
        around.GradientDoubled: "Conv2d",
        around.GradientsLackOne: "Linear",
        around.Drifts: "functional.linear",
        around.DtypeWidened: "LSTM",
        around.BatchOfOneDropped: "Bilinear",
        around.NanIsZero: "Linear",
        around.OddLengthsRaise: "functional.conv1d",
        around.InvalidGetsZeros: "functional.linear",
    },
)  # fmt: skip
