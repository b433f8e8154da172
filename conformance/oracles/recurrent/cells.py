"""One step of RNN, LSTM and GRU, and the cells, which consist of one step.

Each oracle takes `(state, *inputs, **arguments)`; its keyword parameters and their defaults are
those of the documentation page.

Sources: the pages torch.nn.RNNCell, LSTMCell, GRUCell of the PyTorch documentation; H. Sak et al.,
*Long short-term memory recurrent neural network architectures for large scale acoustic modeling*
(2014) for proj_size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import numpy as np

from conformance.arithmetic.activations import blend, relu, sigmoid, sigmoid_and_complement, tanh
from conformance.arithmetic.exactness import all_true
from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded, exact_operand, join, multilinear

Shape = tuple[int, ...]
State = Mapping[str, Rounded]
Hidden = tuple[Rounded, ...]
StepFunction = Callable[[Rounded, Hidden, "Weights"], Hidden]


class Weights:
    """The weights of one cell, gate by gate, as the documentation names them.

    Args:
        state: the layer's state.
        suffixes: appended to each name, `"_l0"`, `"_l0_reverse"`; several stack the weights of
            several directions, (directions, rows, features). Without suffixes the weights are a
            cell's.
    """

    def __init__(self, state: State, *suffixes: str) -> None:
        def load(name: str) -> Rounded | None:
            arrays = [state.get(name + suffix) for suffix in suffixes or ("",)]
            present = [array for array in arrays if array is not None]
            return join(present, axis=0, new_axis=True) if present and suffixes else arrays[0]

        def bias(name: str) -> Rounded | None:
            array = load(name)
            return array[:, np.newaxis] if array and len(suffixes) > 1 else array

        ih, hh = load("weight_ih"), load("weight_hh")
        assert ih is not None
        assert hh is not None
        self.ih, self.hh, self.projection = ih, hh, load("weight_hr")
        self.bias_ih, self.bias_hh = bias("bias_ih"), bias("bias_hh")

    def apply_input(self, x: Rounded) -> Rounded:
        """W_ih x + b_ih for x (…, N, features)."""
        return affine(x, self.ih, self.bias_ih)

    def apply_hidden(self, h: Rounded) -> Rounded:
        """W_hh h + b_hh for h (…, N, features)."""
        return affine(h, self.hh, self.bias_hh)


def affine(x: Rounded, weight: Rounded, bias: Rounded | None) -> Rounded:
    """W x + b for x (…, N, features); half precision stores W x before it adds b."""
    separate_bias = bias is not None and x.precision.is_half
    product = multilinear(
        _product,
        x,
        weight,
        addend=None if separate_bias else bias,
        terms=x.shape[-1],
        wide=True,
        adjoints=_ADJOINTS,
        grain=_grain,
    )
    if bias is None or not separate_bias:
        return product
    return (product + bias).with_addends(product, bias)


def _product(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    return np.asarray(x @ weight.swapaxes(-1, -2))


def _grain(x: Rounded, weight: Rounded) -> np.ndarray:
    with np.errstate(invalid="ignore"):  # ∞ of zeros times 0 of an inexact operand
        return np.asarray(x.row_quanta[..., np.newaxis] * weight.row_quanta[..., np.newaxis, :])


_ADJOINTS = (
    lambda c, weight: np.asarray(c @ weight),
    lambda c, x: np.asarray(c.swapaxes(-1, -2) @ x),
)


def total(*sums: Rounded) -> Rounded:
    """The sum of several sums of products, with a bound for any order and any stored partial
    sum.
    """
    summed = sums[0]
    for other in sums[1:]:
        summed = summed + other
    return _sum_of_stored(sums, summed) if summed.precision.is_half else _sum_as_one(sums, summed)


def _sum_of_stored(results: Sequence[Rounded], summed: Rounded) -> Rounded:
    """The sum of stored products and biases in any order: oneDNN adds the biases first.

    Each of the n − 1 partial sums of n addends is at most Σ|addends|, and is stored.
    """
    addends = [addend for result in results for addend in result.addends or (result,)]
    if len(addends) < 3:
        return summed
    precision, inherited = summed.precision, reduce(np.add, [x.error for x in addends])
    magnitude_sum = reduce(np.add, [x.abs_bound for x in addends])
    error = inherited + (len(addends) - 1) * (precision.unit + ORACLE_UNIT) * magnitude_sum
    exact = magnitude_sum == 0
    if precision.bits:
        finest = reduce(np.minimum, [x.quanta for x in addends])
        exact |= (inherited == 0) & (magnitude_sum <= np.ldexp(finest, precision.bits))
    np.copyto(error, 0.0, where=exact)
    np.copyto(error, np.inf, where=magnitude_sum > precision.largest)
    return summed.with_error(np.maximum(summed.error, error))


def _sum_as_one(results: Sequence[Rounded], summed: Rounded) -> Rounded:
    """The sum with a bound for accumulating all products at once: n·u·Σ|terms| over all sums.

    Each result's error already has n_k·u·M_k; missing are the products of n_k with other sums' M.
    """
    exact = _exact_in_any_order(results)
    if all_true(exact):
        return summed
    magnitudes = [_terms(r) for r in results]
    total = reduce(np.add, magnitudes)
    unit = summed.precision.wide_unit
    crossed = [
        result.terms * unit * (total - magnitude)
        for result, magnitude in zip(results, magnitudes, strict=True)
    ]
    joint = reduce(np.add, [result.error for result in results]) + reduce(np.add, crossed)
    joint += ORACLE_UNIT * summed.abs_value  # the oracle's own addition
    if unit != summed.precision.unit:  # accumulated in another format, then stored
        joint = joint + summed.precision.unit * (summed.abs_value + joint)
    error = np.maximum(summed.error, joint)
    np.copyto(error, 0.0, where=exact)
    return summed.with_error(error)


def _terms(x: Rounded) -> np.ndarray:
    """Σ|terms| of a sum."""
    return x.abs_value if x.magnitude is None else x.magnitude


def _exact_in_any_order(results: Sequence[Rounded]) -> np.ndarray:
    """Where adding all terms of these sums is exact in any order, not only each sum by itself."""
    precision, total = results[0].precision, reduce(np.add, [_terms(x) for x in results])
    exact = total == 0
    if precision.bits and not any(x.all_inexact for x in results):
        finest = reduce(np.minimum, [x.quanta if x.grain is None else x.grain for x in results])
        fits = (total <= np.ldexp(finest, precision.bits)) & (finest >= precision.underflow)
        exact = exact | fits
    return np.asarray(exact & (reduce(np.add, [x.error for x in results]) == 0))


def rnn_step(a: Rounded, hidden: Hidden, w: Weights, nonlinearity: str = "tanh") -> Hidden:
    """h' = tanh(a + W_hh h + b_hh), or relu, where a = W_ih x + b_ih."""
    (h,) = hidden
    activation = {"tanh": tanh, "relu": relu}[nonlinearity]
    return (activation(total(a, w.apply_hidden(h))),)


def lstm_step(a: Rounded, hidden: Hidden, w: Weights) -> Hidden:
    """i, f, g, o gates; c' = f⊙c + i⊙g; h' = o⊙tanh(c'), projected by W_hr where there is one."""
    h, c = hidden
    i, f, g, o = lstm_gates(a, h, w)
    new_c = f * c + i * g
    return lstm_output(o, new_c, w), new_c


def lstm_gates(a: Rounded, h: Rounded, w: Weights) -> tuple[Rounded, Rounded, Rounded, Rounded]:
    """i, f, g, o = σ, σ, tanh, σ of a + W_hh h + b_hh, where a = W_ih x + b_ih."""
    sums = total(a, w.apply_hidden(h))
    if sums.node is None:
        # σ of g is unused, but one call on all gates costs less than two.
        i, f, _, o = _gates(sigmoid(sums), 4)
        return i, f, tanh(_gates(sums, 4)[2]), o
    size = sums.shape[-1] // 4
    i, f = _gates(sigmoid(sums[..., : 2 * size]), 2)
    g, o = _gates(sums[..., 2 * size :], 2)
    return i, f, tanh(g), sigmoid(o)


def lstm_output(o: Rounded, c: Rounded, w: Weights) -> Rounded:
    """h' = o⊙tanh(c'), projected by W_hr where there is one."""
    h = o * tanh(c)
    return h if w.projection is None else affine(h, w.projection, None)


def gru_step(a: Rounded, hidden: Hidden, w: Weights) -> Hidden:
    """r, z = σ(a + W_hh h + b_hh); n = tanh(a_n + r⊙(W_hn h + b_hn)); h' = (1 − z)⊙n + z⊙h.

    a = W_ih x + b_ih, with the rows of the gates first and those of n last.
    """
    (h,) = hidden
    size = h.shape[-1]
    gates, candidate = np.s_[..., : 2 * size], np.s_[..., 2 * size :]
    b = w.apply_hidden(h)
    gates_r_z, complement = sigmoid_and_complement(total(a.select(gates), b.select(gates)))
    r, z = _gates(gates_r_z, 2)
    bias = None if w.bias_ih is None else w.bias_ih[candidate]
    n = tanh(_in_any_order(a.select(candidate), r * b.select(candidate), bias))
    return (blend(z, n, h, complement[..., size:]),)


def _in_any_order(from_input: Rounded, from_hidden: Rounded, bias: Rounded | None) -> Rounded:
    """(W x + b) + s, or (W x + s) + b as in ONNX's formula, which rounds once more."""
    summed = from_input + from_hidden
    if bias is None:
        return summed
    exact = _exact_in_any_order([*(from_input.addends or (from_input,)), from_hidden])
    if all_true(exact):
        return summed
    extra_rounding = summed.precision.sum_unit * (
        from_input.abs_value + from_hidden.abs_value + bias.abs_value
    )
    return summed.with_error(np.where(exact, 0.0, summed.error + extra_rounding))


def _gates(stacked: Rounded, count: int) -> list[Rounded]:
    """(…, count·hidden_size) → count arrays (…, hidden_size), in the order of the weights' rows."""
    size = stacked.shape[-1] // count
    return [stacked[..., k * size : (k + 1) * size] for k in range(count)]


def zeros(shape: Shape, like: Rounded) -> Rounded:
    """An initial state of zeros, for a state that was left out."""
    return exact_operand(np.zeros(shape), like.precision)


def _cell(
    step: StepFunction, state: State, input: Rounded, hidden: Sequence[Rounded | None], count: int
) -> Any:
    """A cell on input (N?, input_size); missing states are zeros."""
    w = Weights(state)
    size = w.hh.shape[-1]
    states = tuple(zeros((*input.shape[:-1], size), input) if h is None else h for h in hidden)
    if len(input.shape) == 2:
        result = step(w.apply_input(input), states, w)
    else:
        single = step(w.apply_input(input[np.newaxis]), tuple(h[np.newaxis] for h in states), w)
        result = tuple(h[0] for h in single)
    return result if count > 1 else result[0]


def rnn_cell(
    state: State,
    input: Rounded,
    hx: Rounded | None = None,
    *,
    input_size: int,
    hidden_size: int,
    bias: bool = True,
    nonlinearity: str = "tanh",
) -> Rounded:
    """RNNCell: input (N?, input_size), hx (N?, hidden_size) → (N?, hidden_size)."""

    def step(x: Rounded, hidden: Hidden, w: Weights) -> Hidden:
        return rnn_step(x, hidden, w, nonlinearity)

    return _cell(step, state, input, (hx,), 1)  # type: ignore[no-any-return]


def lstm_cell(
    state: State,
    input: Rounded,
    hx: Rounded | None = None,
    cx: Rounded | None = None,
    *,
    input_size: int,
    hidden_size: int,
    bias: bool = True,
) -> tuple[Rounded, Rounded]:
    """LSTMCell: input (N?, input_size), h and c (N?, hidden_size) → h', c'."""
    return _cell(lstm_step, state, input, (hx, cx), 2)  # type: ignore[no-any-return]


def gru_cell(
    state: State,
    input: Rounded,
    hx: Rounded | None = None,
    *,
    input_size: int,
    hidden_size: int,
    bias: bool = True,
) -> Rounded:
    """GRUCell: input (N?, input_size), hx (N?, hidden_size) → (N?, hidden_size)."""
    return _cell(gru_step, state, input, (hx,), 1)  # type: ignore[no-any-return]
