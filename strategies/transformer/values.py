"""Values of the sequences and the weights of a transformer.

In half precision the error bound of a layer is wide, because every norm divides by an uncertain
deviation. In the regime `halves` nothing rounds, in any dtype, and the output shows every
connection.

- Rows that a norm reads are m ± ½, equally many of either sign. With layer_norm_eps ¾ the deviation
  is 1.
- Query weights are 0, so that all keys have equal weight; or a mask leaves each query one key.
- norm_first: an attention adds one number to all features of a row. The next norm removes it, the
  residual keeps it.
- Otherwise a row is ±½ in one half of the features and 0 in the other; the number that is added is
  0 where the row is not. The norm's weights select one half for the next part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from conformance.model.formats import round_to

EXACT = "halves"
EXACT_EPS = 0.75
wide_regimes = st.sampled_from(("ramp", "normal", EXACT, "normal", "integers", EXACT, "mixed"))
# For half precision: mostly exact.
half_regimes = st.sampled_from(
    ("ramp", EXACT, EXACT, "normal", EXACT, "integers", EXACT, EXACT, "mixed")
)
# For stacks: mostly exact, because the uncertainty of a norm grows in the next layer.
deep_regimes = st.sampled_from(("ramp", EXACT, "normal", EXACT, EXACT, "mixed", EXACT, EXACT))


def regimes(dtype: str, deep: bool) -> st.SearchStrategy[str]:
    """Strategy of the regimes of a dtype, the simplest first; `deep` cases have several layers."""
    if deep:
        return deep_regimes
    return half_regimes if dtype in ("bfloat16", "float16") else wide_regimes


class TransformerFiller:
    """Fills the arrays of one case, every element exactly representable in its dtype.

    Args:
        regime: one that `regimes` draws.
        layer_arguments: all arguments of the layers, defaults included.
        equal_rows: in `halves`, whether all rows of a sequence are equal.
    """

    def __init__(
        self,
        regime: str,
        dtype: str,
        seed: int,
        layer_arguments: Mapping[str, Any],
        equal_rows: bool,
    ) -> None:
        self.regime, self.dtype, self.layer_arguments, self.equal_rows = (
            regime,
            dtype,
            layer_arguments,
            equal_rows,
        )
        self.generator = np.random.default_rng(seed)
        self.count = self.half = 0

    def sequence(self, *shape: int, memory: bool = False) -> np.ndarray:
        """Fill a sequence (…, features); a decoder attends to `memory`, which no norm reads."""
        if self.regime == EXACT:
            return self._rows(shape, memory)
        values = self._numbers(shape)
        if self.regime == "mixed":
            values = np.ldexp(values, self.generator.integers(-4, 4, shape, endpoint=True))
        return round_to(values, self.dtype)

    def layer(self, attentions: tuple[str, ...], consumer: str) -> dict[str, np.ndarray]:
        """Fill the state of a layer, in torch's order.

        Args:
            attentions: names of its attentions.
            consumer: consumer of its output: `"layer"`, `"norm"`, or `""` for none.
        """
        feed_forward, state, norms = (
            len(attentions),
            dict[str, np.ndarray](),
            dict[str, np.ndarray](),
        )
        for index in range(feed_forward + 1):
            # A decoder's second attention reads keys and values from the memory.
            part = (
                self._attention(index > 0) if index < feed_forward else self._feed_forward(consumer)
            )
            prefix = f"{attentions[index]}." if index < feed_forward else ""
            state |= {f"{prefix}{name}": x for name, x in part.items()}
            norm = self.norm("layer" if index < feed_forward else consumer)
            norms |= {f"norm{index + 1}.{name}": x for name, x in norm.items()}
        return state | norms

    def stack(
        self, attentions: tuple[str, ...], layers: int, consumer: str
    ) -> dict[str, np.ndarray]:
        """Fill the state of consecutive layers.

        Args:
            layers: number of layers.
            consumer: consumer of the last layer's output.
        """
        self.half = 0
        state: dict[str, np.ndarray] = {}
        for index in range(layers):
            layer_state = self.layer(attentions, consumer if index == layers - 1 else "layer")
            state |= {f"layers.{index}.{name}": x for name, x in layer_state.items()}
        return state

    def norm(self, consumer: str) -> dict[str, np.ndarray]:
        """Fill weight and bias of a norm.

        Args:
            consumer: consumer of its output, as in `layer`; `"memory"` if a decoder attends to it.
        """
        size, draw = self.layer_arguments["d_model"], self.generator
        weight, bias = self._numbers((size,)), self._numbers((size,))
        if self.regime == EXACT:
            # b ≠ ±w/2: a difference of 0 would be output as its rounding error.
            weight = draw.integers(-2, 2, size, endpoint=True) * 1.0
            bias = draw.integers(-1, 1, size, endpoint=True) * 2.0
            if consumer and not self.layer_arguments["norm_first"]:
                weight, bias = np.full(size, draw.choice((-1.0, 1.0))), np.zeros(size)
                if consumer in ("layer", "memory"):
                    self.half = int(draw.integers(2)) if consumer == "layer" else 0
                    weight[self._features_of_half(1 - self.half)] = 0.0
        return self._drop_missing_biases(weight=weight, bias=bias)

    def _drop_missing_biases(self, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        """The tensors of a part, without biases if the layer has none."""
        present = {
            k: x
            for k, x in arrays.items()
            if self.layer_arguments["bias"] or not k.endswith("bias")
        }
        return {name: round_to(x, self.dtype) for name, x in present.items()}

    def _numbers(self, shape: tuple[int, ...]) -> np.ndarray:
        if self.regime == "ramp":
            size = int(np.prod(shape))
            start, self.count = self.count, self.count + size
            return ((np.arange(start, start + size) * 5 % 9 - 3) / 4).reshape(shape)
        if self.regime == "integers":
            return self.generator.integers(-3, 3, shape, endpoint=True) * 1.0
        return self.generator.standard_normal(shape)

    def _matrix(self, rows: int, columns: int) -> np.ndarray:
        """A matrix that keeps products as large as the operand."""
        if self.regime in ("ramp", "integers"):
            return np.asarray(self.generator.integers(-1, 1, (rows, columns), endpoint=True) * 1.0)
        return np.asarray(self.generator.standard_normal((rows, columns)) / max(columns, 1) ** 0.5)

    # --- halves ---

    def _features_of_half(self, half: int) -> np.ndarray:
        """Indices of the features of one half."""
        size = self.layer_arguments["d_model"] // 2
        return np.asarray(np.arange(size) + half * size)

    def _half_signs(self, shape: tuple[int, ...]) -> np.ndarray:
        """±½ along the last axis, equally many of either sign."""
        ordered = np.broadcast_to((np.arange(shape[-1]) % 2) - 0.5, shape)
        return self.generator.permuted(ordered, axis=-1)

    def _rows(self, shape: tuple[int, ...], memory: bool) -> np.ndarray:
        drawn_shape = (*(1 for _ in shape[:-1]), shape[-1]) if self.equal_rows else shape
        integers = self.generator.integers(-2, 2, drawn_shape, endpoint=True) * 1.0
        if self.layer_arguments["norm_first"]:
            values = integers if memory else integers[..., :1] + self._half_signs(drawn_shape)
        else:
            values = np.zeros(drawn_shape)
            # An attention reads a memory's first half.
            values[..., self._features_of_half(0)] = self._half_signs(
                (*drawn_shape[:-1], shape[-1] // 2)
            )
        return np.broadcast_to(values, shape).copy()

    def _attention(self, memory: bool) -> dict[str, np.ndarray]:
        size, parts = self.layer_arguments["d_model"], ("q", "k", "v", "out")
        weights = {name: self._matrix(size, size) for name in parts}
        biases = {name: self._numbers((size,)) for name in parts}
        if self.regime == EXACT:
            weights, biases = self._exact_attention(0 if memory else self.half)
        return self._drop_missing_biases(
            in_proj_weight=np.concatenate([weights[name] for name in "qkv"]),
            in_proj_bias=np.concatenate([biases[name] for name in "qkv"]),
            **{"out_proj.weight": weights["out"], "out_proj.bias": biases["out"]},
        )

    def _exact_attention(self, half: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Weights and biases of an attention that reads values from one half of the features."""
        size, draw = self.layer_arguments["d_model"], self.generator
        permutation = np.eye(size)[draw.permutation(size)] * draw.choice((-1.0, 1.0), (size, 1))
        key = draw.integers(-1, 1, (size, size), endpoint=True) * 1.0
        biases = {name: draw.integers(-1, 1, size, endpoint=True) * 1.0 for name in "kv"}
        if self.layer_arguments["norm_first"]:
            row = np.zeros(size)
            row[draw.permutation(size)[:2]] = draw.choice((-1.0, 1.0), 2)
            out = np.broadcast_to(row, (size, size))
        else:
            biases["v"] = np.zeros(size)
            out = self._move_to_other_half(half) @ permutation.T
        weights = {"q": np.zeros((size, size)), "k": key, "v": permutation, "out": out}
        return weights, biases | {"q": np.zeros(size), "out": self._level_bias()}

    def _feed_forward(self, consumer: str) -> dict[str, np.ndarray]:
        size, inner = self.layer_arguments["d_model"], self.layer_arguments["dim_feedforward"]
        first, second = self._matrix(inner, size), self._matrix(size, inner)
        biases = [self._numbers((inner,)), self._numbers((size,))]
        if self.regime == EXACT:
            first, second, *biases = self._exact_feed_forward(consumer)
        return self._drop_missing_biases(
            **{"linear1.weight": first, "linear1.bias": biases[0]},
            **{"linear2.weight": second, "linear2.bias": biases[1]},
        )

    def _exact_feed_forward(self, consumer: str) -> tuple[np.ndarray, ...]:
        """Weights and biases of both layers."""
        size, inner = self.layer_arguments["d_model"], self.layer_arguments["dim_feedforward"]
        draw = self.generator
        first, second = np.zeros((inner, size)), np.zeros((size, inner))
        bias = draw.integers(-1, 1, inner, endpoint=True) * 1.0
        used_units = draw.permutation(inner)[:size]
        for unit in first:
            # Few inputs per unit: each multiplies the uncertainty of a norm.
            unit[draw.permutation(size)[:2]] = draw.choice((-1.0, 1.0), 2)
        if self.layer_arguments["norm_first"]:
            for row in second[: 1 if consumer else size]:
                row[draw.permutation(used_units)[:3]] = draw.choice((-1.0, 1.0), 3)
            second = np.broadcast_to(second[:1], second.shape).copy() if consumer else second
            offset = draw.integers(-2, 2, size, endpoint=True) * 1.0
            return first, second, bias, self._level_bias() if consumer else offset
        # x = relu(x) − relu(−x), from the one half to the other.
        pairs, move = used_units.reshape(-1, 2), self._move_to_other_half(self.half)
        for feature, units in zip(self._features_of_half(self.half), pairs, strict=True):
            for unit, sign in zip(units, (1.0, -1.0), strict=True):
                first[unit], bias[unit] = sign * np.eye(size)[feature], 0.0
                second[:, unit] = sign * move[:, feature]
        return first, second, bias, self._level_bias()

    def _level_bias(self) -> np.ndarray:
        """A bias that is equal for all features, which a norm removes."""
        return np.full(self.layer_arguments["d_model"], float(self.generator.integers(-2, 3)))

    def _move_to_other_half(self, half: int) -> np.ndarray:
        """A matrix that permutes one half of the features into the half where the residual is 0."""
        size = self.layer_arguments["d_model"]
        matrix = np.zeros((size, size))
        matrix[
            self._features_of_half(1 - self.half),
            self.generator.permutation(self._features_of_half(half)),
        ] = 1.0
        return np.asarray(matrix * self.generator.choice((-1.0, 1.0)))
