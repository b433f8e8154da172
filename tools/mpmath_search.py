"""Search for correct results of recurrent layers that exceed the oracle's bounds.

    python tools/mpmath_search.py --cases 200 --seed 0

This module implements the layers and their gradients once more, over several kinds of numbers.
mpmath numbers of 50 digits give the true values. Numbers of a format, with every operation rounded
in one of the usual forms, give correct implementations. All must lie within the oracle's bound. The
table shows the largest share of the bound that they need.

Some bounds presume that a function has reached its limit (`conformance.arithmetic.saturation`), or
that a derivative is too small for any format. If such a number is outside its bound, it is compared
with the true value in which the limits replace the functions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import mpmath
import numpy as np

from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.arithmetic.saturation import SIGMOID_ONE, SIGMOID_ZERO, TANH_ONE
from conformance.layers import CATALOGUE
from conformance.model.formats import FORMATS, round_to

LAYERS = ("RNN tanh", "RNN relu", "LSTM", "LSTM proj", "GRU")
CELLS = ("RNNCell tanh", "RNNCell relu", "LSTMCell", "GRUCell")
DTYPES = ("float32", "float64")
# Operands near which functions reach their limits, in one format or the other.
EDGE_OPERANDS = (0.0, 0.5, 8.0, 9.0, 19.0, 20.0, 38.0, 45.0, 88.0, 104.0, 745.0)
# Forms of a derivative: from the result, or from the operand.
SLOPES = ("1 - t²", "(1 - t)(1 + t)", "4e/(1 + e)²", "1/cosh²", "(1/cosh)²")
BLENDS = ("(1 - z)n + zh", "n + z(h - n)")
Arrays = dict[str, Any]

mpmath.mp.dps = 50


def _map_elements(function: Callable[[Any], Any], values: Any) -> Any:
    return np.vectorize(function, otypes=[object])(values)


class True50:
    """Numbers of 50 digits and exact functions.

    Args:
        limits: replace a function by its limit where the oracle presumes that limit.
    """

    blend = BLENDS[0]

    def __init__(self, limits: bool = False) -> None:
        self._limits = limits

    def numbers(self, values: np.ndarray) -> Any:
        """Convert from float64."""
        return _map_elements(lambda v: mpmath.mpf(float(v)), values)

    def tanh(self, x: Any) -> Any:
        """Hyperbolic tangent."""

        def value(v: Any) -> Any:
            return mpmath.sign(v) if self._limits and abs(v) >= TANH_ONE else mpmath.tanh(v)

        return _map_elements(value, x)

    def sigmoid(self, x: Any) -> Any:
        """Logistic function."""

        def value(v: Any) -> Any:
            if self._limits and not SIGMOID_ZERO < v < SIGMOID_ONE:
                return mpmath.mpf(int(v > 0))
            return 1 / (1 + mpmath.exp(-v))

        return _map_elements(value, x)

    def complement(self, x: Any, z: Any) -> Any:
        """1 − σ."""
        return 1 - z if self._limits else self.sigmoid(-x)

    def tanh_slope(self, x: Any, t: Any) -> Any:
        """Derivative of tanh."""
        return _map_elements(lambda v: self._slope(mpmath.sech(v) ** 2), x)

    def sigmoid_slope(self, x: Any, s: Any) -> Any:
        """Derivative of the logistic function."""
        return _map_elements(lambda v: self._slope(1 / (2 + mpmath.exp(v) + mpmath.exp(-v))), x)

    def _slope(self, slope: Any) -> Any:
        return mpmath.mpf(0) if self._limits and 2 * slope < FORMATS["float64"].tiny else slope


class Rounding:
    """Numbers of a format, with every operation rounded to it.

    Args:
        dtype: float32 or float64.
        slope: one of `SLOPES`.
        blend: one of `BLENDS`.
        shaken: draws the errors of functions beyond rounding, in units in the last place. tanh and
            cosh err by up to 2, as the bound of tanh allows, exponentials by up to 1. None =
            functions round correctly.
    """

    def __init__(
        self, dtype: str, slope: str, blend: str, shaken: np.random.Generator | None = None
    ) -> None:
        self._dtype = np.dtype(dtype).type
        self._slope, self.blend, self._errors = slope, blend, shaken

    def numbers(self, values: np.ndarray) -> Any:
        """Convert from float64, without rounding."""
        return values.astype(self._dtype)

    def _rounded(self, function: Callable[[Any], Any], x: Any, ulps: int) -> Any:
        """A function rounded to the format, with an error of up to `ulps` units; exact at 0."""
        exact = _map_elements(lambda v: float(function(mpmath.mpf(float(v)))), x)
        if self._dtype is np.float32:  # Rounding twice differs by at most 2⁻²⁹ from rounding once.
            exact = exact.astype(np.float64)
        rounded = np.asarray(exact, np.float64).astype(self._dtype)
        if self._errors is not None:
            steps = self._errors.integers(-ulps, ulps, rounded.shape, endpoint=True)
            moved = rounded
            for k in range(ulps):
                next_number = np.nextafter(moved, (np.sign(steps) * np.inf).astype(self._dtype))
                moved = np.where(np.abs(steps) > k, next_number, moved)
            # Functions are exact at 0, and outside the range of normal numbers.
            size, limits = np.abs(rounded), np.finfo(self._dtype)
            fixed = (x == 0) | (size < limits.tiny) | (size == np.inf)
            rounded = np.where(fixed, rounded, moved)
        return rounded.astype(self._dtype)

    def _exp(self, x: Any) -> Any:
        return self._rounded(mpmath.exp, x, 1)

    def tanh(self, x: Any) -> Any:
        """Hyperbolic tangent; ±1 where every implementation returns ±1."""
        t = np.clip(self._rounded(mpmath.tanh, x, 2), -1, 1)
        return np.where(np.abs(x) >= TANH_ONE, np.sign(x), t).astype(self._dtype)

    def sigmoid(self, x: Any) -> Any:
        """Logistic function, 1/(1 + e⁻ˣ) for either sign."""
        with np.errstate(over="ignore"):
            return 1 / (1 + self._exp(-x))

    def complement(self, x: Any, z: Any) -> Any:
        """1 − σ, by subtraction as in every implementation."""
        return 1 - z

    def tanh_slope(self, x: Any, t: Any) -> Any:
        """Derivative of tanh in the chosen form."""
        if self._slope == SLOPES[0]:
            return 1 - t * t
        if self._slope == SLOPES[1]:
            return (1 - t) * (1 + t)
        if self._slope == SLOPES[2]:
            decay = self._exp(-2 * np.abs(x))
            return 4 * decay / ((1 + decay) * (1 + decay))
        with np.errstate(over="ignore"):
            # cosh errs as tanh does where the exponential dominates it.
            cosh = np.where(
                np.abs(x) > 1.5, self._rounded(mpmath.cosh, x, 2), self._rounded(mpmath.cosh, x, 0)
            )
            return 1 / (cosh * cosh) if self._slope == SLOPES[3] else (1 / cosh) * (1 / cosh)

    def sigmoid_slope(self, x: Any, s: Any) -> Any:
        """Derivative of the logistic function in the chosen form."""
        if self._slope in SLOPES[:2]:
            return (1 - s) * s
        decay = self._exp(-np.abs(x))
        return decay / ((1 + decay) * (1 + decay))


Numbers = True50 | Rounding


@dataclass(frozen=True)
class RecurrentCall:
    """A call of a recurrent layer with cotangents.

    Args:
        layer: one of `LAYERS` and `CELLS`.
        dtype: float32 or float64.
        x: (L, N, features).
        initial: h_0, and c_0 of an LSTM, each (N, size).
        state: the weights, under the names that a cell has.
        cotangents: for a layer (L, N, size) first; then (N, size) for each last state.
    """

    layer: str
    dtype: str
    x: np.ndarray
    initial: tuple[np.ndarray, ...]
    state: Mapping[str, np.ndarray]
    cotangents: tuple[np.ndarray, ...]

    @property
    def is_cell(self) -> bool:
        """Whether the layer is a cell, with a single time step."""
        return "Cell" in self.layer


def compute(call: RecurrentCall, kind: Numbers) -> tuple[list[Any], list[Any]]:
    """Compute a call over a kind of numbers.

    Returns:
        The outputs, and the gradients of x, the initial states and the weights.
    """
    w = {name: kind.numbers(array) for name, array in call.state.items()}
    x, hidden = kind.numbers(call.x), [kind.numbers(array) for array in call.initial]
    forward, backward = _STEPS[call.layer.split()[0].removesuffix("Cell")]
    relu = call.layer.endswith("relu")
    memories, outputs = [], []
    for step in x:
        hidden, memory = forward(kind, w, step, hidden, relu)
        memories.append(memory)
        outputs.append(hidden[0])
    cotangents = [kind.numbers(array) for array in call.cotangents]
    output_cotangents = [] if call.is_cell else cotangents.pop(0)
    cotangent, x_gradients = cotangents, []
    sums: Arrays = {}
    for t in reversed(range(len(x))):
        if not call.is_cell:
            cotangent = [cotangent[0] + output_cotangents[t], *cotangent[1:]]
        x_gradient, cotangent, weight_gradients = backward(kind, w, memories[t], cotangent, relu)
        x_gradients.append(x_gradient)
        for name, part in weight_gradients.items():
            sums[name] = sums[name] + part if name in sums else part
    layer_outputs = [] if call.is_cell else [np.stack(outputs)]
    return layer_outputs + hidden, [
        np.stack(x_gradients[::-1]),
        *cotangent,
        *(sums[name] for name in call.state),
    ]


def _affine(w: Arrays, x: Any, h: Any) -> tuple[Any, Any]:
    return x @ w["weight_ih"].T + w["bias_ih"], h @ w["weight_hh"].T + w["bias_hh"]


def _weight_gradients(x: Any, h: Any, from_x: Any, from_h: Any) -> Arrays:
    return {
        "weight_ih": from_x.T @ x, "weight_hh": from_h.T @ h,
        "bias_ih": from_x.sum(axis=0), "bias_hh": from_h.sum(axis=0),
    }  # fmt: skip


def _rnn(k: Numbers, w: Arrays, x: Any, hidden: list[Any], relu: bool) -> tuple[list[Any], Any]:
    a = sum(_affine(w, x, hidden[0]))
    h = np.where(a > 0, a, 0 * a) if relu else k.tanh(a)
    return [h], (x, hidden[0], a, h)


def _rnn_back(k: Numbers, w: Arrays, memory: Any, pulled: list[Any], relu: bool) -> Any:
    x, before, a, h = memory
    (g,) = pulled
    d = np.where(a > 0, g, 0 * g) if relu else g * k.tanh_slope(a, h)
    return d @ w["weight_ih"], [d @ w["weight_hh"]], _weight_gradients(x, before, d, d)


def _lstm(k: Numbers, w: Arrays, x: Any, hidden: list[Any], relu: bool) -> tuple[list[Any], Any]:
    before, c = hidden
    sums = np.split(sum(_affine(w, x, before)), 4, axis=-1)
    i, f, o = (k.sigmoid(sums[j]) for j in (0, 1, 3))
    g = k.tanh(sums[2])
    new = f * c + i * g
    t = k.tanh(new)
    h = o * t
    projected = h @ w["weight_hr"].T if "weight_hr" in w else h
    return [projected, new], (x, before, c, sums, i, f, g, o, new, t, h)


def _lstm_back(k: Numbers, w: Arrays, memory: Any, pulled: list[Any], relu: bool) -> Any:
    x, before, c, sums, i, f, g, o, new, t, h = memory
    of_h, of_c = pulled
    parts = {}
    if "weight_hr" in w:
        parts["weight_hr"] = of_h.T @ h
        of_h = of_h @ w["weight_hr"]
    of_c = of_c + of_h * o * k.tanh_slope(new, t)
    of_sums = [
        of_c * g * k.sigmoid_slope(sums[0], i),
        of_c * c * k.sigmoid_slope(sums[1], f),
        of_c * i * k.tanh_slope(sums[2], g),
        of_h * t * k.sigmoid_slope(sums[3], o),
    ]
    d = np.concatenate(of_sums, axis=-1)
    parts |= _weight_gradients(x, before, d, d)
    return d @ w["weight_ih"], [d @ w["weight_hh"], of_c * f], parts


def _gru(k: Numbers, w: Arrays, x: Any, hidden: list[Any], relu: bool) -> tuple[list[Any], Any]:
    (before,) = hidden
    a, b = (np.split(part, 3, axis=-1) for part in _affine(w, x, before))
    r, z = k.sigmoid(a[0] + b[0]), k.sigmoid(a[1] + b[1])
    n = k.tanh(a[2] + r * b[2])
    complement = k.complement(a[1] + b[1], z)
    h = complement * n + z * before if k.blend == BLENDS[0] else n + z * (before - n)
    return [h], (x, before, a, b, r, z, n, complement)


def _gru_back(k: Numbers, w: Arrays, memory: Any, pulled: list[Any], relu: bool) -> Any:
    x, before, a, b, r, z, n, complement = memory
    (g,) = pulled
    plain = k.blend == BLENDS[0]
    of_z = g * before - g * n if plain else g * (before - n)
    of_n = (g * complement if plain else g - g * z) * k.tanh_slope(a[2] + r * b[2], n)
    of_r = of_n * b[2] * k.sigmoid_slope(a[0] + b[0], r)
    of_z = of_z * k.sigmoid_slope(a[1] + b[1], z)
    from_x = np.concatenate([of_r, of_z, of_n], axis=-1)
    from_h = np.concatenate([of_r, of_z, of_n * r], axis=-1)
    pulled = [from_h @ w["weight_hh"] + g * z]
    return from_x @ w["weight_ih"], pulled, _weight_gradients(x, before, from_x, from_h)


_STEPS: dict[str, tuple[Any, Any]] = {
    "RNN": (_rnn, _rnn_back), "LSTM": (_lstm, _lstm_back), "GRU": (_gru, _gru_back)
}  # fmt: skip


def oracle_bounds(call: RecurrentCall) -> tuple[list[Rounded], list[Rounded]]:
    """The oracle's outputs and gradients, in the shapes and the order of `compute`."""
    precision = Precision.of(call.dtype)
    suffix = "" if call.is_cell else "_l0"
    x = leaf(call.x[0] if call.is_cell else call.x, precision)
    initial = [leaf(a if call.is_cell else a[np.newaxis], precision) for a in call.initial]
    state = {name: leaf(a, precision) for name, a in call.state.items()}
    name, _, variant = call.layer.partition(" ")
    arguments: Arrays = {"input_size": call.x.shape[-1]}
    arguments["hidden_size"] = call.state["weight_ih"].shape[0] // _gate_count(name)
    if variant == "proj":
        arguments["proj_size"] = call.state["weight_hr"].shape[0]
    elif variant:
        arguments["nonlinearity"] = variant
    with np.errstate(all="ignore"):
        cell_state = {n + suffix: a for n, a in state.items()}
        outputs = CATALOGUE[name].oracle.values(cell_state, x, *initial, **arguments)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        shapes = [c.shape for c in call.cotangents]
        pulled = [
            exact_operand(c.reshape(y.shape), precision)
            for c, y in zip(call.cotangents, outputs, strict=True)
        ]
        gradients = pull_back(outputs, pulled, [x, *initial, *state.values()])
    outs = [
        y.detached.map(lambda a, s=s: a.reshape(s)) for y, s in zip(outputs, shapes, strict=True)
    ]
    gradient_shapes = [call.x.shape, *(a.shape for a in (*call.initial, *call.state.values()))]
    grads = [
        y.detached.map(lambda a, s=s: a.reshape(s))
        for y, s in zip(gradients, gradient_shapes, strict=True)
    ]
    return outs, grads


def _gate_count(name: str) -> int:
    return {"RNN": 1, "LSTM": 4, "GRU": 3}[name.removesuffix("Cell")]


def draw_call(layer: str, dtype: str, generator: np.random.Generator) -> RecurrentCall:
    """Draw a small call with sizes from 1 to 3.

    Its numbers are spread over many magnitudes, ordinary, near the limits of functions, or mixed.
    """
    name = layer.split()[0]
    features, hidden, batch = (int(generator.integers(1, 3, endpoint=True)) for _ in range(3))
    length = 1 if "Cell" in name else int(generator.integers(1, 3, endpoint=True))
    size = hidden
    if layer.endswith("proj"):
        hidden = max(hidden, 2)
        size = int(generator.integers(1, hidden))
    regime = str(generator.choice(["spread", "ordinary", "edges", "mixed"]))

    def numbers(*shape: int, weights: bool = False) -> np.ndarray:
        sign = generator.choice([-1.0, 1.0], shape)
        spread = sign * 10.0 ** generator.uniform(-30, 3, shape)
        ordinary = generator.standard_normal(shape)
        edges = sign * generator.choice(EDGE_OPERANDS, shape)
        if weights:
            edges = sign * generator.choice([0.0, 0.25, 1.0], shape)
        values_by_regime = {"spread": spread, "ordinary": ordinary, "edges": edges}
        if regime == "mixed":
            choice = generator.integers(3, size=shape)
            return round_to(np.choose(choice, list(values_by_regime.values())), dtype)
        return round_to(values_by_regime[regime], dtype)

    rows = _gate_count(name) * hidden
    state = {
        "weight_ih": numbers(rows, features, weights=True),
        "weight_hh": numbers(rows, size, weights=True),
        "bias_ih": numbers(rows), "bias_hh": numbers(rows, weights=True),
    }  # fmt: skip
    if layer.endswith("proj"):
        state["weight_hr"] = numbers(size, hidden, weights=True)
    sizes = (size, hidden) if name.startswith("LSTM") else (size,)
    initial = tuple(numbers(batch, n, weights=True) for n in sizes)
    shapes = [] if "Cell" in name else [(length, batch, size)]
    shapes += [(batch, n) for n in sizes]
    scale = 10.0 ** generator.uniform(-3, 3)
    cotangents = tuple(round_to(scale * generator.standard_normal(s), dtype) for s in shapes)
    x = numbers(length, batch, features, weights=bool(generator.integers(2)))
    return RecurrentCall(layer, dtype, x, initial, state, cotangents)


@dataclass
class SearchResult:
    """The result of the search for a layer in a dtype.

    Args:
        cases, numbers: how many were compared; each number counts once.
        limits: numbers that are within their bound only with the limits of functions.
        ratios: largest error ÷ bound of the true values and of the implementations, for outputs
            and gradients.
        beyond: descriptions of numbers beyond their bound.
    """

    cases: int = 0
    numbers: int = 0
    limits: int = 0
    ratios: dict[tuple[str, str], float] = field(default_factory=dict)
    beyond: list[str] = field(default_factory=list)

    def compare_call(self, call: RecurrentCall, generator: np.random.Generator) -> None:
        """Compare a call's true values and correct implementations with the oracle's bounds."""
        expected = oracle_bounds(call)
        true, limited_values = compute(call, True50()), None
        self.cases += 1
        for part, direction in enumerate(("forward", "gradient")):
            for position, (expected_array, got) in enumerate(
                zip(expected[part], true[part], strict=True)
            ):
                self.numbers += int(np.count_nonzero(expected_array.decided))
                distance = _distance(got, expected_array)
                is_wrong = expected_array.decided & ~(distance <= expected_array.error)
                if is_wrong.any():
                    limited_values = limited_values or compute(call, True50(limits=True))
                    limited_distance = _distance(limited_values[part][position], expected_array)
                    self.limits += int(
                        (is_wrong & (limited_distance <= expected_array.error)).sum()
                    )
                    distance = np.where(is_wrong, limited_distance, distance)
                self._record("true", direction, call, position, distance, expected_array)
        blends = BLENDS if call.layer.startswith("GRU") else BLENDS[:1]
        for slope, blend, shaken in product(SLOPES, blends, (None, generator)):
            with np.errstate(all="ignore"):
                results = compute(call, Rounding(call.dtype, slope, blend, shaken))
            name = f"{slope}, {blend}, {'exact' if shaken is None else 'shaken'} functions"
            for part, direction in enumerate(("forward", "gradient")):
                for position, (expected_array, got) in enumerate(
                    zip(expected[part], results[part], strict=True)
                ):
                    distance = np.abs(got.astype(np.float64) - expected_array.value)
                    distance = np.where(got == expected_array.value, 0.0, distance)
                    self._record(name, direction, call, position, distance, expected_array)

    def _record(
        self,
        who: str,
        direction: str,
        call: RecurrentCall,
        position: int,
        distance: np.ndarray,
        expected: Rounded,
    ) -> None:
        decided = expected.decided
        is_wrong = decided & ~(distance <= expected.error)
        bounded = decided & (expected.error > 0)
        if bounded.any():
            key = ("true" if who == "true" else "implementation", direction)
            ratio = float(np.max(distance[bounded] / expected.error[bounded]))
            self.ratios[key] = max(self.ratios.get(key, 0.0), ratio)
        for index in np.argwhere(is_wrong):
            where = tuple(index)
            self.beyond.append(
                f"{call.layer} {call.dtype}, {who}: {direction} {position}{index.tolist()} wanted "
                f"{expected.value[where]!r} bound {expected.error[where]!r} "
                f"error {distance[where]!r}"
            )


def _distance(got: Any, expected: Rounded) -> np.ndarray:
    """|got − wanted| in 50 digits, rounded to float64; ∞ if the wanted number is not finite."""
    distance = np.full(expected.shape, np.inf)
    for index in np.ndindex(expected.shape):
        if np.isfinite(expected.value[index]):
            distance[index] = float(abs(got[index] - mpmath.mpf(float(expected.value[index]))))
    return distance


def search(layers: Sequence[str], cases: int, seed: int) -> Iterator[tuple[str, str, SearchResult]]:
    """Search each layer in each dtype; yield layer, dtype and result.

    Args:
        layers: some of `LAYERS` and `CELLS`.
        cases: number of calls of each layer in each dtype.
        seed: seed of the calls.
    """
    for layer, dtype in product(layers, DTYPES):
        generator = np.random.default_rng((seed, *layer.encode(), *dtype.encode()))
        result = SearchResult()
        for _ in range(cases):
            result.compare_call(draw_call(layer, dtype, generator), generator)
        yield layer, dtype, result


COLUMNS = tuple(product(("true", "implementation"), ("forward", "gradient")))


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, print a table, and return 1 if anything lies beyond its bound.

    Args:
        arguments: of the command line; None = those of the process.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--cases", type=int, default=200, help="calls of each layer and dtype")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--layer", default="", help="only layers whose name begins with this")
    options = parser.parse_args(arguments)
    layers = [name for name in (*LAYERS, *CELLS) if name.startswith(options.layer)]
    heads = ("layer", "dtype", "cases", "numbers", "at limits")
    print(
        "| "
        + " | ".join((*heads, *(f"{who}, {direction} ÷ bound" for who, direction in COLUMNS)))
        + " |"
    )
    print("|---" * (len(heads) + len(COLUMNS)) + "|")
    beyond: list[str] = []
    for layer, dtype, result in search(layers, options.cases, options.seed):
        facts = (layer, dtype, result.cases, result.numbers, result.limits)
        ratios = (f"{result.ratios.get(column, 0.0):.3g}" for column in COLUMNS)
        print("| " + " | ".join((*map(str, facts), *ratios)) + " |", flush=True)
        beyond += result.beyond
    for line in beyond[:50]:
        print(line)
    if len(beyond) > 50:
        print(f"and {len(beyond) - 50} more")
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
