"""Brute-force references: torch's documented formulas as plain loops over NumPy float64 arrays.

Written from the documentation alone and kept naive on purpose: one scalar at a time, no
matrix products, no tricks. Slow is fine; being obviously right is the point. A test that holds
an oracle against these functions holds it against a second, independent reading of the docs.
Complex arrays work wherever the formulas make sense for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

Size = int | Sequence[int]


def per_dimension(value: Size, dimensions: int) -> tuple[int, ...]:
    """An int or a tuple as one int for each spatial dimension."""
    if isinstance(value, int | np.integer):
        return (int(value),) * dimensions
    values = tuple(int(v) for v in value)
    return values * dimensions if len(values) == 1 else values


def positions(shape: Sequence[int]) -> Any:
    """Every index of an array of this shape."""
    return product(*(range(size) for size in shape))


def _dtype(*arrays: np.ndarray | None) -> np.dtype[Any]:
    return np.result_type(np.float64, *(a.dtype for a in arrays if a is not None))


def _padded_source(position: int, size: int, mode: str) -> int | None:
    """Where the padded input's element `position` comes from; None = a zero of the padding."""
    if 0 <= position < size:
        return position
    if mode == "zeros":
        return None
    if mode == "reflect":
        return -position if position < 0 else 2 * (size - 1) - position
    if mode == "replicate":
        return 0 if position < 0 else size - 1
    if mode == "circular":
        return position + size if position < 0 else position - size
    raise ValueError(f"unknown padding_mode {mode!r}")


def conv(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
    padding_mode: str = "zeros",
) -> np.ndarray:
    """Conv1d, Conv2d, Conv3d: the valid cross-correlation of the padded input, plus the bias.

    `weight` is (out_channels, in_channels / groups, *kernel); the input is batched when it has
    as many dimensions as the weight, unbatched when it has one fewer.
    """
    dimensions = weight.ndim - 2
    if input.ndim == weight.ndim - 1:
        batch = input[np.newaxis]
        return conv(batch, weight, bias, stride, padding, dilation, groups, padding_mode)[0]
    strides = per_dimension(stride, dimensions)
    dilations = per_dimension(dilation, dimensions)
    kernel = weight.shape[2:]
    if padding == "same":
        totals = [dilations[d] * (kernel[d] - 1) for d in range(dimensions)]
        before = [total // 2 for total in totals]
        after = [total - total // 2 for total in totals]
    elif padding == "valid":
        before = after = [0] * dimensions
    else:
        assert not isinstance(padding, str)
        before = after = list(per_dimension(padding, dimensions))

    batch_size, in_channels = input.shape[:2]
    sizes = input.shape[2:]
    out_channels = weight.shape[0]
    in_per_group = in_channels // groups
    out_per_group = out_channels // groups
    out_sizes = []
    for d in range(dimensions):
        extent = dilations[d] * (kernel[d] - 1) + 1
        out_sizes.append((sizes[d] + before[d] + after[d] - extent) // strides[d] + 1)

    output = np.zeros((batch_size, out_channels, *out_sizes), _dtype(input, weight, bias))
    for n in range(batch_size):
        for oc in range(out_channels):
            group = oc // out_per_group
            for position in positions(out_sizes):
                total = 0.0
                for ic in range(in_per_group):
                    for tap in positions(kernel):
                        source = tuple(
                            _padded_source(
                                position[d] * strides[d] + tap[d] * dilations[d] - before[d],
                                sizes[d],
                                padding_mode,
                            )
                            for d in range(dimensions)
                        )
                        if None not in source:
                            pixel = input[(n, group * in_per_group + ic, *source)]
                            total = total + pixel * weight[(oc, ic, *tap)]
                if bias is not None:
                    total = total + bias[oc]
                output[(n, oc, *position)] = total
    return output


def conv_transpose(
    input: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    stride: Size = 1,
    padding: Size = 0,
    output_padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    output_size: Sequence[int] | None = None,
) -> np.ndarray:
    """ConvTranspose1d, ConvTranspose2d, ConvTranspose3d: each input element adds its kernel.

    `weight` is (in_channels, out_channels / groups, *kernel). `output_size` (spatial sizes, with
    or without the leading ones) takes the place of `output_padding`.
    """
    dimensions = weight.ndim - 2
    strides = per_dimension(stride, dimensions)
    paddings = per_dimension(padding, dimensions)
    extra = per_dimension(output_padding, dimensions)
    dilations = per_dimension(dilation, dimensions)
    kernel = weight.shape[2:]
    sizes = input.shape[-dimensions:]
    minimum_shape = [
        (sizes[d] - 1) * strides[d] - 2 * paddings[d] + dilations[d] * (kernel[d] - 1) + 1
        for d in range(dimensions)
    ]
    if output_size is None:
        out_sizes = [minimum_shape[d] + extra[d] for d in range(dimensions)]
    else:
        if len(output_size) not in (dimensions, input.ndim):
            raise ValueError("output_size must name the spatial sizes, or all sizes")
        out_sizes = [int(size) for size in output_size][-dimensions:]
        for d in range(dimensions):
            if not minimum_shape[d] <= out_sizes[d] <= minimum_shape[d] + strides[d] - 1:
                raise ValueError(f"output_size {out_sizes} is out of reach from {minimum_shape}")

    batch = input[np.newaxis] if input.ndim == weight.ndim - 1 else input
    batch_size, in_channels = batch.shape[:2]
    in_per_group = in_channels // groups
    out_per_group = weight.shape[1]
    shape = (batch_size, out_per_group * groups, *out_sizes)
    output = np.zeros(shape, _dtype(input, weight, bias))
    for n in range(batch_size):
        for ic in range(in_channels):
            group = ic // in_per_group
            for position in positions(sizes):
                for oc in range(out_per_group):
                    for tap in positions(kernel):
                        target = tuple(
                            position[d] * strides[d] + tap[d] * dilations[d] - paddings[d]
                            for d in range(dimensions)
                        )
                        if all(0 <= target[d] < out_sizes[d] for d in range(dimensions)):
                            term = batch[(n, ic, *position)] * weight[(ic, oc, *tap)]
                            output[(n, group * out_per_group + oc, *target)] += term
    if bias is not None:
        for n, oc in positions(shape[:2]):
            for position in positions(out_sizes):
                output[(n, oc, *position)] += bias[oc]
    return output if input.ndim == weight.ndim else output[0]


def linear(input: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """y = x Aᵀ + b over the last dimension; a 1-D weight takes the feature dimension away."""
    if weight.ndim == 1:
        rows = bias if bias is None else np.reshape(bias, (1,))
        return linear(input, weight[np.newaxis], rows)[..., 0]
    leading = input.shape[:-1]
    output = np.zeros((*leading, weight.shape[0]), _dtype(input, weight, bias))
    for position in positions(leading):
        for o in range(weight.shape[0]):
            total = 0.0
            for i in range(weight.shape[1]):
                total = total + input[(*position, i)] * weight[o, i]
            if bias is not None:
                total = total + bias[o]
            output[(*position, o)] = total
    return output


def bilinear(
    input1: np.ndarray,
    input2: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
) -> np.ndarray:
    """y = x₁ᵀ A x₂ + b over the last dimensions; the leading ones must agree."""
    leading = input1.shape[:-1]
    out_features, in1_features, in2_features = weight.shape
    output = np.zeros((*leading, out_features), _dtype(input1, input2, weight, bias))
    for position in positions(leading):
        for o in range(out_features):
            total = 0.0
            for i in range(in1_features):
                for j in range(in2_features):
                    total = (
                        total + input1[(*position, i)] * weight[o, i, j] * input2[(*position, j)]
                    )
            if bias is not None:
                total = total + bias[o]
            output[(*position, o)] = total
    return output


def _sigmoid(x: float) -> float:
    if x >= 0:
        return 1.0 / (1.0 + math.exp(-x))
    return math.exp(x) / (1.0 + math.exp(x)) if x < 0 else x


def _relu(x: float) -> float:
    return 0.0 if x <= 0 else x


ACTIVATIONS: Mapping[str, Callable[[float], float]] = {"tanh": math.tanh, "relu": _relu}


def _affine_element(
    vector: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, row: int
) -> float:
    """One element of W v + b."""
    total = 0.0
    for i in range(weight.shape[1]):
        total += float(vector[i]) * float(weight[row, i])
    return total if bias is None else total + float(bias[row])


def _hidden(h: np.ndarray | None, input: np.ndarray, size: int) -> np.ndarray:
    return np.zeros((*input.shape[:-1], size)) if h is None else h


def rnn_cell(
    input: np.ndarray,
    h: np.ndarray | None,
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    bias_ih: np.ndarray | None = None,
    bias_hh: np.ndarray | None = None,
    nonlinearity: str = "tanh",
) -> np.ndarray:
    """RNNCell: h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu."""
    activation = ACTIVATIONS[nonlinearity]
    size = weight_hh.shape[0]
    h = _hidden(h, input, size)
    output = np.zeros((*input.shape[:-1], size))
    for n in positions(input.shape[:-1]):
        for j in range(size):
            from_input = _affine_element(input[n], weight_ih, bias_ih, j)
            from_hidden = _affine_element(h[n], weight_hh, bias_hh, j)
            output[(*n, j)] = activation(from_input + from_hidden)
    return output


def lstm_cell(
    input: np.ndarray,
    h: np.ndarray | None,
    c: np.ndarray | None,
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    bias_ih: np.ndarray | None = None,
    bias_hh: np.ndarray | None = None,
    weight_hr: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """LSTMCell: rows W_i, W_f, W_g, W_o; `weight_hr` projects h' (LSTM with proj_size)."""
    size = weight_hh.shape[0] // 4
    h = _hidden(h, input, weight_hh.shape[1])
    c = _hidden(c, input, size)
    new_h = np.zeros((*input.shape[:-1], size))
    new_c = np.zeros((*input.shape[:-1], size))
    for n in positions(input.shape[:-1]):
        for j in range(size):
            gates = [
                _affine_element(input[n], weight_ih, bias_ih, gate * size + j)
                + _affine_element(h[n], weight_hh, bias_hh, gate * size + j)
                for gate in range(4)
            ]
            i, f, o = _sigmoid(gates[0]), _sigmoid(gates[1]), _sigmoid(gates[3])
            g = math.tanh(gates[2])
            new_c[(*n, j)] = f * float(c[(*n, j)]) + i * g
            new_h[(*n, j)] = o * math.tanh(new_c[(*n, j)])
    if weight_hr is not None:
        new_h = linear(new_h, weight_hr)
    return new_h, new_c


def gru_cell(
    input: np.ndarray,
    h: np.ndarray | None,
    weight_ih: np.ndarray,
    weight_hh: np.ndarray,
    bias_ih: np.ndarray | None = None,
    bias_hh: np.ndarray | None = None,
) -> np.ndarray:
    """GRUCell: rows W_r, W_z, W_n; the reset gate acts on W_hn h + b_hn, bias included."""
    size = weight_hh.shape[0] // 3
    h = _hidden(h, input, size)
    output = np.zeros((*input.shape[:-1], size))
    for n in positions(input.shape[:-1]):
        for j in range(size):
            from_input = [
                _affine_element(input[n], weight_ih, bias_ih, g * size + j) for g in range(3)
            ]
            from_hidden = [
                _affine_element(h[n], weight_hh, bias_hh, g * size + j) for g in range(3)
            ]
            r = _sigmoid(from_input[0] + from_hidden[0])
            z = _sigmoid(from_input[1] + from_hidden[1])
            new_gate = math.tanh(from_input[2] + r * from_hidden[2])
            output[(*n, j)] = (1.0 - z) * new_gate + z * float(h[(*n, j)])
    return output


def recurrent(
    kind: str,
    state: Mapping[str, np.ndarray],
    input: np.ndarray,
    h0: np.ndarray | None = None,
    c0: np.ndarray | None = None,
    *,
    num_layers: int = 1,
    bias: bool = True,
    batch_first: bool = False,
    bidirectional: bool = False,
    proj_size: int = 0,
    nonlinearity: str = "tanh",
    lengths: Sequence[int] | None = None,
) -> tuple[np.ndarray, ...]:
    """RNN, LSTM, GRU: one sequence, layer, direction and step after another.

    Returns output and h_n, and c_n for an LSTM. With `lengths`, the output is padded with zeros
    to the input's length and h_n and c_n come in the caller's order.
    """
    lstm = kind == "LSTM"
    if input.ndim == 2:  # unbatched: (time, features), whatever batch_first says
        parts = recurrent(
            kind,
            state,
            input[:, np.newaxis],
            None if h0 is None else h0[:, np.newaxis],
            None if c0 is None else c0[:, np.newaxis],
            num_layers=num_layers,
            bias=bias,
            bidirectional=bidirectional,
            proj_size=proj_size,
            nonlinearity=nonlinearity,
            lengths=lengths,
        )
        return tuple(part[:, 0] for part in parts)
    sequences = input if batch_first else np.swapaxes(input, 0, 1)
    batch_size, length = sequences.shape[:2]
    directions = 2 if bidirectional else 1
    hidden_size = state["weight_hh_l0"].shape[0] // {"RNN": 1, "GRU": 3, "LSTM": 4}[kind]
    out_size = proj_size if proj_size > 0 else hidden_size

    output = np.zeros((batch_size, length, directions * out_size))
    h_n = np.zeros((directions * num_layers, batch_size, out_size))
    c_n = np.zeros((directions * num_layers, batch_size, hidden_size))
    for n in range(batch_size):
        steps = length if lengths is None else int(lengths[n])
        layer_inputs = [sequences[n, t] for t in range(steps)]
        for layer in range(num_layers):
            layer_outputs = [np.zeros(directions * out_size) for _ in range(steps)]
            for direction in range(directions):
                suffix = f"l{layer}" + ("_reverse" if direction == 1 else "")
                weights = [state[f"weight_ih_{suffix}"], state[f"weight_hh_{suffix}"]]
                biases: list[Any] = [None, None]
                if bias:
                    biases = [state[f"bias_ih_{suffix}"], state[f"bias_hh_{suffix}"]]
                state_index = layer * directions + direction
                h = np.zeros(out_size) if h0 is None else h0[state_index, n]
                c = np.zeros(hidden_size) if c0 is None else c0[state_index, n]
                order = range(steps) if direction == 0 else range(steps - 1, -1, -1)
                for t in order:
                    if lstm:
                        projection = state[f"weight_hr_{suffix}"] if proj_size > 0 else None
                        h, c = lstm_cell(layer_inputs[t], h, c, *weights, *biases, projection)
                    elif kind == "GRU":
                        h = gru_cell(layer_inputs[t], h, *weights, *biases)
                    else:
                        h = rnn_cell(layer_inputs[t], h, *weights, *biases, nonlinearity)
                    layer_outputs[t][direction * out_size : (direction + 1) * out_size] = h
                h_n[state_index, n] = h
                c_n[state_index, n] = c
            layer_inputs = layer_outputs
        for t in range(steps):
            output[n, t] = layer_inputs[t]
    if not batch_first:
        output = np.swapaxes(output, 0, 1)
    return (output, h_n, c_n) if lstm else (output, h_n)
