"""One case on one backend: build, put, call and get, where each step can fail by name."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exactly
from conformance.backends.foreign_calls import HOOKS, original
from conformance.backends.guard import guarded
from conformance.checks.answers import Answers, lean
from conformance.layers import CATALOGUE
from conformance.layers.describe import case_text
from conformance.model.cached import lazy
from conformance.model.case import Case, Numerics, Unsupported, Updated
from conformance.model.failure import Failure
from conformance.model.finding import counted, differs, raised
from conformance.model.max_error import Farthest, farther
from conformance.model.proof import shaped
from conformance.model.protocols import Backend, Layer
from conformance.model.untrusted import written
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.signature import Output

T = TypeVar("T")


@dataclass(frozen=True)
class Evidence:
    """What a check compared on one case.

    Args:
        comparisons: number of comparisons with a finite expectation, of numbers or facts.
        margin: largest error ÷ bound; None where no bound applied.
        ulps: histogram of distances from the oracle in units in the last place. Key `"0"` counts
            distances in [1, 2), `"-1"` those in [½, 1), and so on; `"exact"` counts zeros.
        ratios: histogram of error ÷ bound with such keys: `"-1"` counts ratios in (½, 1].
        farthest: for an elementwise function, the answer with the largest error.
    """

    comparisons: int = 0
    margin: float | None = None
    ulps: Mapping[str, int] = field(default_factory=dict)
    ratios: Mapping[str, int] = field(default_factory=dict)
    farthest: Farthest | None = None

    def __add__(self, other: Evidence) -> Evidence:
        """Add counts and histograms, and keep the larger margin and error."""
        return Evidence(
            self.comparisons + other.comparisons,
            worst(self.margin, other.margin),
            _counted(self.ulps, other.ulps),
            _counted(self.ratios, other.ratios),
            farther(self.farthest, other.farthest),
        )


class Trial:
    """A case run on a backend; each step runs once, when a check first needs it.

    Args:
        backend: the implementation under test.
        row: the layer's specification.
        case: the case, its device filled in.
        numerics: what the backend declares for the dtype.
        answers: cache of oracle answers, shared with other trials; None = a new cache.
    """

    def __init__(
        self,
        backend: Backend,
        row: LayerSpec,
        case: Case,
        numerics: Numerics | None = None,
        answers: Answers | None = None,
    ) -> None:
        self.backend: Backend = guarded(backend)
        self.row, self.case, self.numerics = row, case, numerics
        self.answers = answers or Answers()

    def step(self, name: str, function: Callable[..., T], *arguments: Any, **keywords: Any) -> T:
        """Call the backend; an exception other than `Unsupported` is a failure of the named step.

        Raises:
            Unsupported: if the layer reports that the call ran on a fallback (`fallbacks()`).
        """
        begun = HOOKS.get().on_step
        if begun is not None:
            begun(name, self.case)
        try:
            return function(*arguments, **keywords)
        except (Unsupported, Failure):
            raise
        except Exception as error:
            met = original(error)
            finding = raised(name, met, written(met), accepted=name != "build")
            # The frames would keep the call's arrays in memory as long as the failure lives.
            traceback.clear_frames(met.__traceback__)
            raise Failure(finding) from error

    @lazy
    def layer(self) -> Layer:
        """The layer, built with a copy of the state."""
        call = self.case.call
        state = {name: array.copy() for name, array in call.state.items()}
        layer: Layer = self.step("build", self.backend.build, replace(call, state=state))
        return layer

    @lazy
    def natives(self) -> tuple[Any, ...]:
        """The inputs on the device: copies, so that the backend cannot change the case."""
        inputs = self.case.inputs
        layouts = self.case.layouts + ("contiguous",) * len(inputs)
        found: list[Any] = []
        for place, (array, layout) in enumerate(zip(inputs, layouts, strict=False)):
            # An array that is passed twice to torch is passed twice as one native to the backend.
            first = next(k for k in range(place + 1) if inputs[k] is array)
            if array is None or first < place:
                found.append(None if array is None else found[first])
            else:
                found.append(self.step("put", self.layer.put, array.copy(), layout))
        return tuple(found)

    @lazy
    def outputs(self) -> tuple[Any, ...]:
        """The native outputs that are present, after one call."""
        return self.unpacked(self.step("call", self.layer, *self.natives, **self.case.keywords))

    def unpacked(self, result: Any) -> tuple[Any, ...]:
        """Return the outputs in a call's result (a native or a tuple), without absent ones.

        Raises:
            Failure: if the number of outputs is wrong, or the wrong ones are absent.
        """
        outputs = result if type(result) is tuple else (result,)
        documented = self.row.output_shapes(self.case)
        if len(outputs) != len(documented):
            raise Failure(counted("outputs", len(outputs), len(documented)))
        for output, native, shape in zip(
            self.row.signature.outputs, outputs, documented, strict=False
        ):
            if (native is None) is not (shape is None):
                got = "None" if native is None else "a tensor"
                wanted = "None" if shape is None else f"a tensor of shape {shape}"
                raise Failure(differs("presence", output.name, got, wanted))
        return tuple(native for native in outputs if native is not None)

    def get(self, native: Any) -> np.ndarray:
        """Copy a native to the host, as float64, complex128 or int64."""
        array: np.ndarray = self.step("get", self.layer.get, native)
        return array

    @lazy
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The outputs on the host."""
        return tuple(self.get(native) for native in self.outputs)

    def held(self, name: str) -> np.ndarray:
        """A tensor that the call changed, on the host; call the layer once before.

        `name` is that of a state tensor, or of an input that the call wrote into.

        Raises:
            Failure: if the state has no such tensor.
            Unsupported: if the layer does not offer its state.
        """
        updates = getattr(self.layer, "updated", None) or {}
        if name in updates:
            return self.get(updates[name])
        if name in self.row.signature.input_names:
            return self.get(self.natives[self.row.signature.input_names.index(name)])
        if not hasattr(self.layer, "state"):
            raise Unsupported("state not offered")
        state = self.step("state", self.layer.state)
        if name not in state:
            raise Failure(differs("names", "state() after the call", sorted(state), name))
        return self.get(state[name])

    def forget(self) -> None:
        """Drop the outputs, which may be large; the next access makes another call."""
        for name in ("outputs", "arrays"):
            self.__dict__.pop(name, None)

    @lazy
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the outputs that are present, by the documented formulas."""
        return tuple(shape for shape in self.row.output_shapes(self.case) if shape is not None)

    @lazy
    def present(self) -> tuple[Output, ...]:
        """The outputs of the signature that are present in this case."""
        pairs = zip(self.row.signature.outputs, self.row.output_shapes(self.case), strict=False)
        return tuple(output for output, shape in pairs if shape is not None)

    @lazy
    def precision(self) -> Precision:
        """Units and ranges that bound how a correct implementation rounds in the case's dtype."""
        return Precision.of(self.case.call.dtype, self.numerics)

    @lazy
    def after(self) -> Updated:
        """Expected outputs and changed state, with bounds; computed once for all checks."""
        return self.answers.outputs.get(self.case, self.precision, self._evaluated)

    @property
    def expected(self) -> tuple[Any, ...]:
        """Values and bounds of the outputs that are present, by the oracle."""
        return tuple(self.after.outputs)

    @expected.setter
    def expected(self, outputs: tuple[Any, ...]) -> None:
        self.after = Updated(outputs, {})

    def _evaluated(self) -> Updated:
        precision = self.precision
        inputs = [None if x is None else exactly(x, precision) for x in self.case.inputs]
        state = {name: exactly(x, precision) for name, x in self.case.call.state.items()}
        found = self.answered(state, inputs)
        changed = {name: lean(x) for name, x in found.state.items()}
        return Updated(tuple(map(lean, found.outputs)), changed)

    def evaluate(
        self, state: Mapping[str, Rounded], inputs: Sequence[Rounded | None]
    ) -> tuple[Any, ...]:
        """Evaluate the oracle's outputs on other operands; `state` has state_dict names."""
        return tuple(self.answered(state, inputs).outputs)

    def answered(self, state: Mapping[str, Rounded], inputs: Sequence[Rounded | None]) -> Updated:
        """Evaluate outputs and changed state on other operands; `state` has state_dict names."""
        mode = {"training": self.case.call.training} if self.row.traits.modes else {}
        # Values on the edge of the range overflow on purpose.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            result = self.row.oracle.values(state, *inputs, **self.row.written(self.case), **mode)
        changed: Mapping[str, Any] = {}
        if isinstance(result, Updated):
            result, changed = result.outputs, result.state
        outputs = result if isinstance(result, tuple) else (result,)
        return Updated(tuple(x for x in outputs if x is not None), changed)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs that are present, for messages."""
        return tuple(output.name for output in self.present)

    @lazy
    def answer(self) -> tuple[np.ndarray, ...]:
        """The outputs on the host; a shape other than the documented one is a failure."""
        try:
            arrays = self.arrays
        except Failure as failure:
            raise Failure(failure.finding.within(self.text())) from failure
        for name, array, shape in zip(self.names, arrays, self.shapes, strict=True):
            if array.shape != shape:
                finding = differs("shape", name, array.shape, shape).within(self.text())
                raise Failure(finding, shaped(array, shape))
        return arrays

    def other(self, case: Case) -> Trial:
        """A trial of another case, of this layer or of any, on the same backend."""
        name = case.call.layer
        row = self.row if name == self.row.name else CATALOGUE[name]
        return Trial(self.backend, row, case, self.numerics, self.answers)

    def afresh(self) -> Trial:
        """Return a new trial of the case if a call changes state or inputs, else this trial."""
        if not self.row.traits.updates(self.case.call):
            return self
        return self.other(self.case)

    def pulled(self, *cotangents: np.ndarray) -> tuple[np.ndarray | None, ...]:
        """The backend's gradients of the inputs, for one cotangent per output.

        Raises:
            Unsupported: if the backend offers no gradients.
        """
        vjp = getattr(self.layer, "vjp", None)
        if vjp is None:
            raise Unsupported("gradients not offered")
        given = [self.step("put", self.layer.put, c.copy()) for c in cotangents]
        found, _ = self.step("vjp", vjp, self.natives, given, **self.case.keywords)
        return tuple(None if x is None else self.get(x) for x in found)

    def together(
        self, *cotangents: np.ndarray
    ) -> tuple[tuple[np.ndarray, ...] | None, tuple[np.ndarray | None, ...]]:
        """Outputs and input gradients of one call, for one cotangent per output.

        A layer without `value_and_vjp` gives None for the outputs.

        Raises:
            Unsupported: if the backend offers no gradients.
        """
        both = getattr(self.layer, "value_and_vjp", None)
        if both is None:
            return None, self.pulled(*cotangents)
        given = [self.step("put", self.layer.put, c.copy()) for c in cotangents]
        natives, keywords = self.natives, self.case.keywords
        outputs, found, _ = self.step("value_and_vjp", both, natives, given, **keywords)
        read = tuple(self.get(x) for x in self.unpacked(outputs))
        return read, tuple(None if x is None else self.get(x) for x in found)

    def repeated(self) -> Trial:
        """A new trial of the same case on the same built layer."""
        again = self.other(self.case)
        again.layer = self.layer
        return again

    def text(self) -> str:
        """The call in one line."""
        return case_text(self.case)


def _counted(a: Mapping[str, int], b: Mapping[str, int]) -> Mapping[str, int]:
    if not (a and b):
        return a or b
    both = dict(a)
    for power, count in b.items():
        both[power] = both.get(power, 0) + count
    return both


def worst(a: float | None, b: float | None) -> float | None:
    """The larger of two margins, where None and NaN mean none."""
    known = [x for x in (a, b) if x is not None and not math.isnan(x)]
    return max(known, default=None)
