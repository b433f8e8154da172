"""Arrays for a timed call: weights, inputs and cotangents, exact ones and everyday ones.

Exact operands let the oracle require equality. They are whole numbers, and in half precision so
few differ from 0 that no order of summation rounds. Everyday operands are normal deviates. The
weights serve both regimes: they are whole numbers times a power of two, as small as usual initial
values.

Recurrent weights W_hh stay below 1 / width. Then Σ|row| < 1, an error does not grow from step to
step, and the bound of a whole sequence is useful at any length. With torch's own initial values,
U(−1/√width, 1/√width), the bound is useless after seven steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from conformance.layers import CATALOGUE
from conformance.model.case import Call, Case
from conformance.model.formats import format_of, round_to
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.workload import Workload
from conformance.timing.workloads import TimedCall

ArrayTuple = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class TimedArrays:
    """Makes the arrays of one timed call.

    Args:
        timed: the timed call.
        workload: the arguments and shapes of the call.
    """

    timed: TimedCall
    workload: Workload

    @property
    def spec(self) -> LayerSpec:
        """The layer's specification in the catalogue."""
        return CATALOGUE[self.timed.layer]

    @property
    def only_everyday(self) -> bool:
        """Whether exact operands are impossible: the layer feeds sums back through activations."""
        return self.spec.benchmark.filling.scale is not None

    @property
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the state tensors, by name."""
        w = self.workload
        return self.spec.state_shapes(w.arguments, w.inputs[0])

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the outputs that are present, in torch's order."""
        shapes = self.spec.output_shapes_for(self.workload.inputs, self.workload.arguments)
        return tuple(shape for shape in shapes if shape is not None)

    def call(self, generator: np.random.Generator) -> Call:
        """The call with fresh weights."""
        t = self.timed
        spec, w = self.spec, self.workload
        constrained = spec.constrained_names(w.arguments, w.inputs[0])
        state = {
            name: self._state_array(name, shape, generator)
            if name in constrained
            else self._weight_array(shape, generator, bias=name.startswith("bias"), name=name)
            for name, shape in self.state_shapes.items()
        }
        return Call(t.layer, dict(self.workload.arguments), state, t.dtype, t.device)

    def _state_array(
        self, name: str, shape: tuple[int, ...], generator: np.random.Generator
    ) -> np.ndarray:
        """Zeros for a state tensor of integers, ones for another one: not any number is valid."""
        w = self.workload
        tensor = {x.name: x for x in self.spec.state_tensors(w.arguments, w.inputs[0])}[name]
        return np.zeros(shape, np.int64) if tensor.integer else np.ones(shape)

    def case(self, call: Call, inputs: ArrayTuple) -> Case:
        """Combine a call and its inputs into a case, as the checks need it."""
        return Case(call, inputs)

    def inputs(self, generator: np.random.Generator, *, exact_regime: bool = False) -> ArrayTuple:
        """Draw new inputs, exact or everyday ones."""
        shapes, below = self.workload.inputs, self.workload.index_limits
        makers = self.spec.benchmark.filling.array_makers
        return tuple(
            makers[x.name](shapes, generator)
            if x.name in makers
            else generator.integers(0, below[x.name], shape)
            if x.name in below
            else self._weight_array(shape, generator, bias=x.role == "bias")
            if x.role in ("weight", "bias")
            else np.ones(shape)
            if not x.any_value and x.role == "statistic"
            else self._data_array(shape, generator, exact_regime)
            for x, shape in zip(self.spec.signature.inputs, shapes, strict=False)
        )

    def cotangents(
        self, generator: np.random.Generator, *, exact_regime: bool = False
    ) -> tuple[np.ndarray | None, ...]:
        """Draw new cotangents: only for the first output, which training usually uses."""
        first, *others = self.output_shapes
        if not exact_regime:
            values = round_to(generator.standard_normal(first), self.timed.dtype)
        else:
            # The weight's gradient sums over batch and positions.
            positions = math.prod(first) // max(self._channels(first), 1)
            values = _whole_numbers(first, generator, 1, self._density(positions))
        return (values, *(None for _ in others))

    def _channels(self, output: tuple[int, ...]) -> int:
        return output[-1 - self.spec.signature.dims] if output else 1

    @property
    def _sum_length(self) -> int:
        """Approximate number of products in a sum."""
        positions = self.spec.signature.input_indices("weight")
        weight_shapes = [
            self.workload.inputs[k] for k in positions if k < len(self.workload.inputs)
        ]
        weights = weight_shapes or list(self.state_shapes.values()) or [(1,)]
        return self.spec.benchmark.filling.terms(weights[0])

    def _density(self, terms: int) -> float:
        """Share of the elements that may differ from 0 so that sums stay exact.

        1 if the format has enough bits for whole numbers up to 4 or more (see `_largest_numbers`).
        Otherwise about 16 terms of a sum differ from 0.
        """
        bits = format_of(self.timed.dtype).bits
        return 1.0 if 2**bits >= 64 * terms else min(1.0, 16 / terms)

    def _largest_numbers(self) -> tuple[int, int]:
        """The largest whole number of the weights, and of the data.

        Σ|products| is about 2^bits / 4, so that the bias still fits. Dense operands have `terms`
        products of equal factors. Sparse ones have on average 16 products of weights up to
        2^bits / 64 with −1, 0 and 1. If a sum rounds nevertheless, the oracle's bound allows it.
        """
        bits = format_of(self.timed.dtype).bits
        factors = self.spec.benchmark.filling.factors
        if self._density(self._sum_length) < 1:
            return max(2**bits // 64, 1), 1
        each = int((2**bits / (4 * self._sum_length)) ** (1 / factors))
        return max(each, 1), max(min(each, 2 ** (bits - 1)), 1)

    def _weight_array(
        self,
        shape: tuple[int, ...],
        generator: np.random.Generator,
        *,
        bias: bool,
        name: str = "weight",
    ) -> np.ndarray:
        if self.spec.benchmark.filling.scale is not None:
            scale = self.spec.benchmark.filling.scale(name, self.workload.arguments)
            return round_to(generator.uniform(-scale, scale, shape), self.timed.dtype)
        largest, _ = self._largest_numbers()
        shift = math.ceil(math.log2(largest * math.sqrt(self._sum_length)))
        return _whole_numbers(shape, generator, largest, 1.0) * 2.0**-shift

    def _data_array(
        self, shape: tuple[int, ...], generator: np.random.Generator, exact_regime: bool
    ) -> np.ndarray:
        if not exact_regime or self.only_everyday:
            deviates = generator.standard_normal(shape, dtype=np.float32)
            return round_to(deviates.astype(np.float64), self.timed.dtype)
        _, largest = self._largest_numbers()
        return _whole_numbers(shape, generator, largest, self._density(self._sum_length))


def _whole_numbers(
    shape: tuple[int, ...], generator: np.random.Generator, largest: int, density: float
) -> np.ndarray:
    """Draw whole numbers from −largest to largest; a share of 1 − density is set to 0."""
    values = generator.integers(-largest, largest, shape, endpoint=True).astype(np.float64)
    return values if density >= 1 else values * (generator.random(shape) < density)
