"""Arrays for a timed call: weights, inputs and cotangents, exact ones and everyday ones.

Sharp operands let the oracle ask for equality: whole numbers, few enough of them in half precision
that no order of summation rounds (`oracles.rounding`). Everyday ones are normal deviates. The
weights serve both: whole numbers times a power of two, as small as usual initial values.

Recurrent weights W_hh are kept below 1 / width. Σ|row| < 1 then, an error is not multiplied from
step to step, and the bound of the whole sequence says something at any length; torch's own initial
values, U(−1/√width, 1/√width), void it after seven steps.
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
    """Makes arrays of one workload.

    Args:
        timed: what is timed.
        workload: its row of the table.
    """

    timed: Timed
    workload: Workload

    @property
    def row(self) -> LayerSpec:
        """The layer's row of the catalogue."""
        return CATALOGUE[self.timed.layer]

    @property
    def everyday(self) -> bool:
        """Whether only everyday operands make sense: sums are fed back through activations."""
        return self.row.benchmark.filling.scale is not None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the state."""
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
        """A tensor that may not hold just any numbers."""
        w = self.workload
        found = {x.name: x for x in self.row.state_tensors(w.arguments, w.inputs[0])}[name]
        return np.zeros(shape, np.int64) if found.integer else np.ones(shape)

    def case(self, call: Call, inputs: ArrayTuple) -> Case:
        """A call with its inputs, as the checks want it."""
        return Case(call, inputs)

    def inputs(self, generator: np.random.Generator, *, exact_regime: bool = False) -> ArrayTuple:
        """Fresh inputs."""
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
        """Fresh cotangents: of the first output only, which is what is trained on as a rule."""
        first, *rest = self.outputs
        if not exact_regime:
            values = round_to(generator.standard_normal(first), self.timed.dtype)
        else:
            # Σ over batch and positions of the weight's gradient.
            positions = math.prod(first) // max(self._channels(first), 1)
            values = _whole(first, generator, 1, self._density(positions))
        return (values, *(None for _ in rest))

    def _channels(self, output: tuple[int, ...]) -> int:
        return output[-1 - self.row.signature.dims] if output else 1

    @property
    def _terms(self) -> int:
        """Roughly how many products a sum has."""
        places = self.row.signature.places("weight")
        given = [self.workload.inputs[k] for k in places if k < len(self.workload.inputs)]
        weights = given or list(self.shapes.values()) or [(1,)]
        return self.row.benchmark.filling.terms(weights[0])

    def _density(self, terms: int) -> float:
        """Which share of the elements may differ from 0 so that sums stay exact.

        All, if whole numbers up to 4 and more have room (see `_largest`); else some 16 of a sum.
        """
        bits = format_of(self.timed.dtype).bits
        return 1.0 if 2**bits >= 64 * terms else min(1.0, 16 / terms)

    def _largest(self) -> tuple[int, int]:
        """Of the whole numbers among weights and data.

        Σ|products| comes to 2^bits / 4, which leaves room for the bias: `terms` products of equal
        factors, or 16 products, in the mean, of weights up to 2^bits / 64 with −1, 0 and 1. What
        is not exact all the same is given its bound by the oracle.
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
    """Whole numbers up to `largest`, all others 0."""
    values = generator.integers(-largest, largest, shape, endpoint=True).astype(np.float64)
    return values if density >= 1 else values * (generator.random(shape) < density)
