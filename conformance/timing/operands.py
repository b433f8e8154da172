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
from conformance.timing.workloads import Timed

ArrayTuple = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class TimedArrays:
    """Makes the arrays of one timed call.

    Args:
        timed: the timed call.
        workload: its workload.
    """

    timed: Timed
    workload: Workload

    @property
    def row(self) -> LayerSpec:
        """The layer's specification in the catalogue."""
        return CATALOGUE[self.timed.layer]

    @property
    def everyday(self) -> bool:
        """Whether exact operands are impossible: the layer feeds sums back through activations."""
        return self.row.benchmark.filling.scale is not None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the state tensors, by name."""
        w = self.workload
        return self.row.state_shapes(w.arguments, w.inputs[0])

    @property
    def outputs(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the outputs."""
        found = self.row.shapes_of(self.workload.inputs, self.workload.arguments)
        return tuple(shape for shape in found if shape is not None)

    def call(self, generator: np.random.Generator) -> Call:
        """The call with fresh weights."""
        t = self.timed
        row, w = self.row, self.workload
        state = {
            name: self._state(name, shape, generator)
            if row.kept(name, w.arguments, w.inputs[0])
            else self._weight(shape, generator, bias=name.startswith("bias"), name=name)
            for name, shape in self.shapes.items()
        }
        return Call(t.layer, dict(self.workload.arguments), state, t.dtype, t.device)

    def _state(
        self, name: str, shape: tuple[int, ...], generator: np.random.Generator
    ) -> np.ndarray:
        """Zeros for a state tensor of integers, ones for another one: not any number is valid."""
        w = self.workload
        found = {x.name: x for x in self.row.state_tensors(w.arguments, w.inputs[0])}[name]
        return np.zeros(shape, np.int64) if found.integer else np.ones(shape)

    def case(self, call: Call, inputs: ArrayTuple) -> Case:
        """Combine a call and its inputs into a case, as the checks need it."""
        return Case(call, inputs)

    def inputs(self, generator: np.random.Generator, *, exact_regime: bool = False) -> ArrayTuple:
        """Draw new inputs, exact or everyday ones."""
        shapes, below = self.workload.inputs, self.workload.below
        made = self.row.benchmark.filling.made
        return tuple(
            made[x.name](shapes, generator)
            if x.name in made
            else generator.integers(0, below[x.name], shape)
            if x.name in below
            else self._weight(shape, generator, bias=x.role == "bias")
            if x.role in ("weight", "bias")
            else np.ones(shape)
            if not x.signed and x.role == "statistic"
            else self._data(shape, generator, exact_regime)
            for x, shape in zip(self.row.signature.inputs, shapes, strict=False)
        )

    def cotangents(
        self, generator: np.random.Generator, *, exact_regime: bool = False
    ) -> tuple[np.ndarray | None, ...]:
        """Draw new cotangents: only for the first output, which training usually uses."""
        first, *rest = self.outputs
        if not exact_regime:
            values = round_to(generator.standard_normal(first), self.timed.dtype)
        else:
            # The weight's gradient sums over batch and positions.
            positions = math.prod(first) // max(self._channels(first), 1)
            values = _whole(first, generator, 1, self._density(positions))
        return (values, *(None for _ in rest))

    def _channels(self, output: tuple[int, ...]) -> int:
        return output[-1 - self.row.signature.dims] if output else 1

    @property
    def _terms(self) -> int:
        """Approximate number of products in a sum."""
        places = self.row.signature.places("weight")
        given = [self.workload.inputs[k] for k in places if k < len(self.workload.inputs)]
        weights = given or list(self.shapes.values()) or [(1,)]
        return self.row.benchmark.filling.terms(weights[0])

    def _density(self, terms: int) -> float:
        """Share of the elements that may differ from 0 so that sums stay exact.

        1 if the format has enough bits for whole numbers up to 4 or more (see `_largest`).
        Otherwise about 16 terms of a sum differ from 0.
        """
        bits = format_of(self.timed.dtype).bits
        return 1.0 if 2**bits >= 64 * terms else min(1.0, 16 / terms)

    def _largest(self) -> tuple[int, int]:
        """The largest whole number of the weights, and of the data.

        Σ|products| is about 2^bits / 4, so that the bias still fits. Dense operands have `terms`
        products of equal factors. Sparse ones have on average 16 products of weights up to
        2^bits / 64 with −1, 0 and 1. If a sum rounds nevertheless, the oracle's bound allows it.
        """
        bits = format_of(self.timed.dtype).bits
        factors = self.row.benchmark.filling.factors
        if self._density(self._terms) < 1:
            return max(2**bits // 64, 1), 1
        each = int((2**bits / (4 * self._terms)) ** (1 / factors))
        return max(each, 1), max(min(each, 2 ** (bits - 1)), 1)

    def _weight(
        self,
        shape: tuple[int, ...],
        generator: np.random.Generator,
        *,
        bias: bool,
        name: str = "weight",
    ) -> np.ndarray:
        if self.row.benchmark.filling.scale is not None:
            scale = self.row.benchmark.filling.scale(name, self.workload.arguments)
            return round_to(generator.uniform(-scale, scale, shape), self.timed.dtype)
        largest, _ = self._largest()
        shift = math.ceil(math.log2(largest * math.sqrt(self._terms)))
        return _whole(shape, generator, largest, 1.0) * 2.0**-shift

    def _data(
        self, shape: tuple[int, ...], generator: np.random.Generator, exact_regime: bool
    ) -> np.ndarray:
        if not exact_regime or self.everyday:
            drawn = generator.standard_normal(shape, dtype=np.float32)
            return round_to(drawn.astype(np.float64), self.timed.dtype)
        _, largest = self._largest()
        return _whole(shape, generator, largest, self._density(self._terms))


def _whole(
    shape: tuple[int, ...], generator: np.random.Generator, largest: int, density: float
) -> np.ndarray:
    """Draw whole numbers from −largest to largest; a share of 1 − density is set to 0."""
    values = generator.integers(-largest, largest, shape, endpoint=True).astype(np.float64)
    return values if density >= 1 else values * (generator.random(shape) < density)
