"""One case on one backend: build, put, call, get, with a failure for each step."""

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
        comparisons: numbers (or facts) held against a finite expectation.
        margin: largest error ÷ bound, None where no bound applied.
        ulps: how many numbers were how far from the oracle's: `"0"` stands for less than 2 units
            in the last place and at least 1, `"-1"` for half of that, …, `"exact"` for none.
        ratios: likewise of error ÷ bound: `"-1"` stands for a half to the whole of the bound.
        farthest: of a function of single numbers, the answer with the largest error.
    """

    comparisons: int = 0
    margin: float | None = None
    ulps: Mapping[str, int] = field(default_factory=dict)
    ratios: Mapping[str, int] = field(default_factory=dict)
    farthest: Farthest | None = None

    def __add__(self, other: Evidence) -> Evidence:
        """Both together."""
        return Evidence(
            self.comparisons + other.comparisons,
            worst(self.margin, other.margin),
            _counted(self.ulps, other.ulps),
            _counted(self.ratios, other.ratios),
            farther(self.farthest, other.farthest),
        )


class Trial:
    """A case run on a backend, each step once and only when a check asks for it.

    Args:
        backend: the implementation under test.
        row: the layer's row of the catalogue.
        case: the case, its device filled in.
        numerics: what the backend declares for the dtype.
        answers: the oracle's to other trials of the case; None = there are none.
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
        """Call the backend; whatever it raises, but Unsupported, is a failure of the named step.

        Raises:
            Unsupported: if a layer says that what was asked of it ran elsewhere (`fallbacks()`).
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
            # What the call had filled the memory with would stay as long as the failure does.
            traceback.clear_frames(met.__traceback__)
            raise Failure(finding) from error

    @lazy
    def layer(self) -> Layer:
        """The built layer."""
        call = self.case.call
        state = {name: array.copy() for name, array in call.state.items()}
        layer: Layer = self.step("build", self.backend.build, replace(call, state=state))
        return layer

    @lazy
    def natives(self) -> tuple[Any, ...]:
        """The inputs on the device; the backend gets copies and cannot harm the case."""
        inputs = self.case.inputs
        layouts = self.case.layouts + ("contiguous",) * len(inputs)
        found: list[Any] = []
        for place, (array, layout) in enumerate(zip(inputs, layouts, strict=False)):
            # What torch is given twice as one object, the backend gets twice as one native.
            first = next(k for k in range(place + 1) if inputs[k] is array)
            if array is None or first < place:
                found.append(None if array is None else found[first])
            else:
                found.append(self.step("put", self.layer.put, array.copy(), layout))
        return tuple(found)

    @lazy
    def outputs(self) -> tuple[Any, ...]:
        """The native outputs."""
        return self.unpacked(self.step("call", self.layer, *self.natives, **self.case.keywords))

    def unpacked(self, result: Any) -> tuple[Any, ...]:
        """The outputs that a call returned, without those that the documentation says are absent.

        Args:
            result: one native or several.

        Raises:
            Failure: if there are too many or too few, or one is absent that must be there.
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
        """A native on the host, as float64, complex128 or int64."""
        array: np.ndarray = self.step("get", self.layer.get, native)
        return array

    @lazy
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The outputs on the host."""
        return tuple(self.get(native) for native in self.outputs)

    def held(self, name: str) -> np.ndarray:
        """A tensor that the call changed, on the host, after one call.

        Args:
            name: of the layer's state, or of an input that it wrote into.

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
        """Let go of the outputs, which may be large."""
        for name in ("outputs", "arrays"):
            self.__dict__.pop(name, None)

    @lazy
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes by the documentation's formulas of the outputs that are there."""
        return tuple(shape for shape in self.row.output_shapes(self.case) if shape is not None)

    @lazy
    def present(self) -> tuple[Output, ...]:
        """The outputs that are there."""
        pairs = zip(self.row.signature.outputs, self.row.output_shapes(self.case), strict=False)
        return tuple(output for output, shape in pairs if shape is not None)

    @lazy
    def precision(self) -> Precision:
        """How a correct implementation may round in the case's dtype."""
        return Precision.of(self.case.call.dtype, self.numerics)

    @lazy
    def after(self) -> Updated:
        """The outputs' and the changed state's values and bounds, computed once for all checks."""
        return self.answers.outputs.get(self.case, self.precision, self._evaluated)

    @property
    def expected(self) -> tuple[Any, ...]:
        """Values and bounds by the oracle of the outputs that are there."""
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
        """The outputs by the oracle on given operands.

        Args:
            state: under state_dict names.
            inputs: in torch's order.
        """
        return tuple(self.answered(state, inputs).outputs)

    def answered(self, state: Mapping[str, Rounded], inputs: Sequence[Rounded | None]) -> Updated:
        """The outputs, and what the call makes of the state, by the oracle on given operands.

        Args:
            state: under state_dict names.
            inputs: in torch's order.
        """
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
        """Names of the outputs for messages."""
        return tuple(output.name for output in self.present)

    @lazy
    def answer(self) -> tuple[np.ndarray, ...]:
        """The outputs on the host, of the documented shapes."""
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
        """The same case as if for the first time, where a call changes what it is given."""
        if not self.row.traits.updates(self.case.call):
            return self
        return self.other(self.case)

    def pulled(self, *cotangents: np.ndarray) -> tuple[np.ndarray | None, ...]:
        """The backend's gradients of the inputs.

        Args:
            cotangents: one for each output.

        Raises:
            Unsupported: if it offers none.
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
        """The outputs and the inputs' gradients of one call; None for outputs that it has not.

        Args:
            cotangents: one for each output.

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
        """The same case on the same layer again."""
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
    """The larger of two margins."""
    known = [x for x in (a, b) if x is not None and not math.isnan(x)]
    return max(known, default=None)
