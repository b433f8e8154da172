"""The example of a framework in NumPy, with bugs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from conformance import Call
from conformance.backends import implements

from . import around
from .bug import plant, plant_around

sys.path.append(str(Path(__file__).resolve().parents[2] / "examples" / "numpy_only"))

import numpy_only
from numpy_only.conformance import NumpyOnly, weights

FAITHFUL = "foreign.of_numpy_only:NumpyOnly"
_SIZES = ("in_channels", "out_channels", "kernel_size", "bias")


@plant(FAITHFUL, "Conv1d")
class CircularOffByOne(NumpyOnly):
    """Circular padding begins one element too late."""

    @implements("Conv1d", ignores=_SIZES)
    def conv_with_late_circular_padding(
        self, state: Any, input: Any, *, stride: Any = 1, padding: Any = 0, dilation: Any = 1,
        groups: int = 1, padding_mode: str = "zeros",
    ) -> Any:  # fmt: skip
        """The input is turned first."""
        x = np.roll(input, 1, -1) if padding_mode == "circular" else input
        return self.conv(
            state, x, stride=stride, padding=padding, dilation=dilation, groups=groups,
            padding_mode=padding_mode,
        )  # fmt: skip


@plant(FAITHFUL, "ConvTranspose1d")
class OutputPaddingBefore(NumpyOnly):
    """What output_padding adds comes before the output instead of after it."""

    @implements("ConvTranspose1d", ignores=(*_SIZES, "padding_mode"))
    def conv_transpose_padding_before(
        self, state: Any, input: Any, *, output_padding: Any = 0, stride: Any = 1,
        padding: Any = 0, groups: int = 1, dilation: Any = 1,
    ) -> Any:  # fmt: skip
        """Everything the other way round."""
        weight, bias = weights(state, "weight", "bias")
        y = numpy_only.conv_transpose(
            input[..., ::-1], weight[..., ::-1], bias, stride, padding, output_padding, groups,
            dilation,
        )  # fmt: skip
        return y[..., ::-1]


@plant(FAITHFUL, "functional.linear")
class BiasBroadcast(NumpyOnly):
    """A bias of another shape is accepted."""

    @implements("functional.linear")
    def linear_with_broadcast_bias(
        self, state: Any, input: Any, weight: Any, bias: Any = None
    ) -> Any:
        """The sum, whatever its shape."""
        y = numpy_only.linear(input, weight)
        if bias is None:
            return y
        return y + (bias if bias.shape == weight.shape[:-1] else bias.reshape(-1)[:1])


@plant(FAITHFUL, "LSTM")
class LengthsForgotten(NumpyOnly):
    """All sequences are taken for the longest."""

    @implements("LSTM", ignores=("input_size", "bias", "dropout"))
    def lstm_without_lengths(
        self, state: Any, input: Any, h_0: Any = None, c_0: Any = None, *, call: Call,
        hidden_size: int, num_layers: int = 1, batch_first: bool = False,
        bidirectional: bool = False, proj_size: int = 0, lengths: Any = None,
    ) -> Any:  # fmt: skip
        """Lengths are not passed on."""
        return self.recurrent(
            state, input, h_0, c_0, call=call, hidden_size=hidden_size, num_layers=num_layers,
            batch_first=batch_first, bidirectional=bidirectional, proj_size=proj_size,
        )  # fmt: skip


plant_around(
    __name__, NumpyOnly, FAITHFUL,
    {
        around.FirstAnswerKept: "GRU",
        around.StateLacksItsLast: "Linear",
        around.LoadForgotten: "RNNCell",
        around.LayoutsMisread: "Conv1d",
        around.Drifts: "LSTMCell",
        around.DtypeWidened: "Bilinear",
        around.BatchOfOneDropped: "Linear",
        around.NanIsZero: "Conv1d",
        around.OddLengthsRaise: "functional.bilinear",
        around.InvalidGetsZeros: "functional.conv_transpose1d",
        around.InputOverwritten: "Conv2d",
        around.BufferShared: "Linear",
    },
)  # fmt: skip
