"""What a layer owns before anyone loads anything: parameters, initial values, readable attributes.

Names, order and shapes are those of the documentation's section *Attributes*; lazy layers take
what they infer from the input's shape.

Sources: the pages torch.nn.Linear, Bilinear, Conv2d, ConvTranspose2d, RNN, LSTM, GRU, RNNCell,
LSTMCell, GRUCell, LazyLinear and LazyConv2d of the PyTorch documentation. The bound on the
distance of an empirical distribution from the true one is that of P. Massart, *The tight constant
in the Dvoretzky–Kiefer–Wolfowitz inequality* (1990).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.oracles.convolution import Shape, per_dimension

Shapes = dict[str, Shape]
Arguments = Mapping[str, Any]

GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
SIZED = ("kernel_size", "stride", "padding", "output_padding", "dilation")
# Probability that a test on the initial values of a layer as documented fails.
FALSE_ALARM = 1e-12


def eager(layer: str) -> str:
    """The class that a layer is after its first call."""
    return layer.removeprefix("Lazy")


def dimensions(layer: str) -> int:
    """Number of spatial dimensions of a convolution, 0 of other layers."""
    return int(layer[-2]) if layer[-1] == "d" and layer[-2].isdigit() else 0


def shapes(layer: str, arguments: Arguments, input: Shape) -> Shapes:
    """Names and shapes of a layer's parameters, in the order of its state_dict.

    Args:
        layer: name of the `torch.nn` class.
        arguments: the call's, only those written out.
        input: shape of the first input, from which lazy layers infer theirs.
    """
    name = eager(layer)
    if layer.startswith("Lazy"):
        arguments = {**arguments, **inferred(layer, input)}
    if name.startswith("ConvTranspose"):
        return conv_transpose(dimensions(name), **arguments)
    if name.startswith("Conv"):
        return conv(dimensions(name), **arguments)
    if name in GATES:
        return recurrent(GATES[name], **arguments)
    if name.endswith("Cell"):
        return cell(GATES[name.removesuffix("Cell")], **arguments)
    if name == "Identity":
        return {}  # whatever its arguments
    return bilinear(**arguments) if name == "Bilinear" else linear(**arguments)


def inferred(layer: str, input: Shape) -> dict[str, int]:
    """What a lazy layer reads from the shape of its first input."""
    if layer == "LazyLinear":
        return {"in_features": input[-1]}
    return {"in_channels": input[-1 - dimensions(layer)]}


def linear(*, in_features: int, out_features: int, bias: bool = True) -> Shapes:
    """A weight (out_features, in_features), a bias (out_features)."""
    return _with_bias((out_features, in_features), out_features, bias)


def bilinear(
    *, in1_features: int, in2_features: int, out_features: int, bias: bool = True
) -> Shapes:
    """A weight (out_features, in1_features, in2_features), a bias (out_features)."""
    return _with_bias((out_features, in1_features, in2_features), out_features, bias)


def conv(
    dims: int,
    *,
    in_channels: int,
    out_channels: int,
    kernel_size: int | Shape,
    groups: int = 1,
    bias: bool = True,
    **others: Any,
) -> Shapes:
    """A weight (out_channels, in_channels/groups, *kernel_size), a bias (out_channels)."""
    kernel = per_dimension(kernel_size, dims)
    return _with_bias((out_channels, in_channels // groups, *kernel), out_channels, bias)


def conv_transpose(
    dims: int,
    *,
    in_channels: int,
    out_channels: int,
    kernel_size: int | Shape,
    groups: int = 1,
    bias: bool = True,
    **others: Any,
) -> Shapes:
    """A weight (in_channels, out_channels/groups, *kernel_size), a bias (out_channels)."""
    kernel = per_dimension(kernel_size, dims)
    return _with_bias((in_channels, out_channels // groups, *kernel), out_channels, bias)


def _with_bias(weight: Shape, outputs: int, bias: bool) -> Shapes:
    return {"weight": weight, "bias": (outputs,)} if bias else {"weight": weight}


def cell(
    gates: int, *, input_size: int, hidden_size: int, bias: bool = True, **others: Any
) -> Shapes:
    """weight_ih, weight_hh, bias_ih, bias_hh, each with gates·hidden_size rows."""
    return _gated(gates * hidden_size, input_size, hidden_size, bias, "")


def recurrent(
    gates: int,
    *,
    input_size: int,
    hidden_size: int,
    num_layers: int = 1,
    bias: bool = True,
    bidirectional: bool = False,
    proj_size: int = 0,
    **others: Any,
) -> Shapes:
    """A cell's parameters for each layer and direction, and weight_hr where there is proj_size."""
    directions = ("", "_reverse") if bidirectional else ("",)
    output = proj_size or hidden_size
    found: Shapes = {}
    for index in range(num_layers):
        inputs = input_size if index == 0 else output * len(directions)
        for direction in directions:
            suffix = f"_l{index}{direction}"
            found |= _gated(gates * hidden_size, inputs, output, bias, suffix)
            if proj_size:
                found[f"weight_hr{suffix}"] = (proj_size, hidden_size)
    return found


def _gated(rows: int, inputs: int, hidden: int, bias: bool, suffix: str) -> Shapes:
    found: Shapes = {f"weight_ih{suffix}": (rows, inputs), f"weight_hh{suffix}": (rows, hidden)}
    if bias:
        found |= {f"bias_ih{suffix}": (rows,), f"bias_hh{suffix}": (rows,)}
    return found


def initial_limit(layer: str, arguments: Arguments, found: Shapes) -> float:
    """√k, the documentation's bound on every initial value; ∞ where no input reaches an output.

    Args:
        layer, arguments: the call's.
        found: the shapes of its parameters.
    """
    if "hidden_size" in arguments:
        inverse = int(arguments["hidden_size"])
    elif layer == "Bilinear":
        inverse = int(arguments["in1_features"])
    else:
        # in_features; C_in/groups·∏ kernel_size, of a transposed convolution C_out/groups·…
        inverse = math.prod(found["weight"][1:])
    return math.inf if inverse == 0 else 1 / math.sqrt(inverse)


def uniform_distance(values: np.ndarray) -> tuple[float, float]:
    """How far values are from being drawn from U(−1, 1), and how far they may be.

    Args:
        values: drawn independently, perhaps rounded to eight bits.

    Returns:
        sup|F_n − F|, and what it exceeds with probability `FALSE_ALARM`: √(ln(2/α)/2n) by
        Massart's inequality, and 2⁻⁷ for the rounding.
    """
    ordered = (np.sort(values, axis=None) + 1) / 2
    ranks = np.arange(ordered.size + 1) / ordered.size
    distance = max(np.max(ranks[1:] - ordered), np.max(ordered - ranks[:-1]))
    allowed = math.sqrt(math.log(2 / FALSE_ALARM) / (2 * ordered.size)) + 2.0**-7
    return float(distance), allowed


def dropout_probe(
    layer: str, arguments: Arguments, scale: float
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A stacked layer in which output j hangs on element j of each layer's input, by itself.

    No time step sees another (weight_hh is 0, the forget and update gates are shut); the first
    layer's output is one positive constant.

    Args:
        layer: `"RNN"`, `"LSTM"` or `"GRU"`.
        arguments: the call's, bias included.
        scale: of what passes from layer to layer.

    Returns:
        An input of ones, at least 1024 outputs; the state; the state whose weights between layers
        are scaled.
    """
    hidden = int(arguments["hidden_size"])
    output = int(arguments.get("proj_size", 0) or hidden)
    state = {name: np.zeros(s) for name, s in recurrent(GATES[layer], **arguments).items()}
    signal = hidden * (GATES[layer] - 1) if layer != "LSTM" else 2 * hidden
    for name, array in state.items():
        if name.startswith("weight_ih_l0"):
            array[signal : signal + hidden, 0] = 1
        elif name.startswith("weight_ih"):
            shift = output if name.endswith("_reverse") else 0
            rows = np.arange(output)
            array[signal + rows, shift + rows] = 1
        elif name.startswith("weight_hr"):
            array[:, :output] = np.eye(output)
        elif name.startswith("bias_ih") and layer != "RNN":
            array[hidden : 2 * hidden] = -1000
    lengthened = {
        name: array * scale if name.startswith("weight_ih") and "_l0" not in name else array
        for name, array in state.items()
    }
    width = output * (2 if arguments.get("bidirectional", False) else 1)
    length, batch = 4, -(-256 // width)
    leading = (batch, length) if arguments.get("batch_first", False) else (length, batch)
    return np.ones((*leading, int(arguments["input_size"]))), state, lengthened


def attributes(layer: str, arguments: Arguments, defaults: Arguments, input: Shape) -> Arguments:
    """What a user can read from a layer after its first call, by name.

    Args:
        layer, arguments: the call's.
        defaults: of the arguments that have one.
        input: shape of the first input.
    """
    lazy = inferred(layer, input) if layer.startswith("Lazy") else {}
    facts = {**defaults, **arguments, **lazy}
    return {k: readable(layer, k, v) for k, v in facts.items() if k != "*"}


def readable(layer: str, name: str, value: Any) -> Any:
    """An attribute in the form in which it is compared: sizes for each spatial dimension."""
    dims = dimensions(layer)
    sized = dims and name in SIZED and isinstance(value, (int, tuple, list))
    return per_dimension(value, dims) if sized else value
