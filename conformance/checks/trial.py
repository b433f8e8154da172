"""One case on one backend: build, put, call and get, where each step can fail by name."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from conformance.arithmetic.grading import promised_numerics
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.backends.capabilities import is_offered, numerics_of
from conformance.backends.foreign_calls import HOOKS, original_exception
from conformance.backends.guard import guarded
from conformance.checks.answers import OracleAnswers, lean
from conformance.layers import CATALOGUE
from conformance.layers.describe import case_text
from conformance.model.bits import Bits, add_bits
from conformance.model.cached import lazy
from conformance.model.case import Case, NotOffered, Numerics, Unsupported, Updated
from conformance.model.failure import Failure
from conformance.model.finding import count_mismatch, exception_finding, fact_mismatch, raising_step
from conformance.model.formats import FORMATS
from conformance.model.max_error import Farthest, larger_error
from conformance.model.proof import shape_proof
from conformance.model.protocols import Backend, Layer
from conformance.model.untrusted import exception_text
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
        is_exact: every number is at most half a unit in the last place from the oracle's.
        bits: what an answer's bits may depend on (`model.bits`) → cases in which they are the
            same, and cases compared.
    """

    comparisons: int = 0
    margin: float | None = None
    ulps: Mapping[str, int] = field(default_factory=dict)
    ratios: Mapping[str, int] = field(default_factory=dict)
    farthest: Farthest | None = None
    is_exact: bool = True
    bits: Bits = field(default_factory=dict)

    def __add__(self, other: Evidence) -> Evidence:
        """Add counts and histograms, and keep the larger margin and error."""
        return Evidence(
            self.comparisons + other.comparisons,
            larger_margin(self.margin, other.margin),
            _add_counts(self.ulps, other.ulps),
            _add_counts(self.ratios, other.ratios),
            larger_error(self.farthest, other.farthest),
            self.is_exact and other.is_exact,
            add_bits(self.bits, other.bits),
        )


class Trial:
    """A case run on a backend; each step runs once, when a check first needs it.

    Args:
        backend: the implementation under test.
        spec: the layer's specification.
        case: the case, its device filled in.
        numerics: what the backend declares for the dtype.
        answers: cache of oracle answers, shared with other trials; None = a new cache.
    """

    def __init__(
        self,
        backend: Backend,
        spec: LayerSpec,
        case: Case,
        numerics: Numerics | None = None,
        answers: OracleAnswers | None = None,
    ) -> None:
        self.backend: Backend = guarded(backend)
        self.spec, self.case, self.numerics = spec, case, numerics
        self.answers = answers or OracleAnswers()

    def note_step(self, name: str) -> None:
        """Say which step of which case comes next, because it may end the process."""
        on_step = HOOKS.get().on_step
        if on_step is not None:
            on_step(name, self.case)

    def run_step(
        self, name: str, function: Callable[..., T], *arguments: Any, **keywords: Any
    ) -> T:
        """Call the backend; an exception other than `Unsupported` is a failure of the named step.

        Raises:
            Unsupported: if the layer reports that the call ran on a fallback (`fallbacks()`).
        """
        self.note_step(name)
        try:
            return function(*arguments, **keywords)
        except (Unsupported, Failure):
            raise
        except Exception as error:
            original_error = original_exception(error)
            step = raising_step(original_error) or name
            finding = exception_finding(
                step, original_error, exception_text(original_error), accepted=step != "build"
            )
            # The frames would keep the call's arrays in memory as long as the failure lives.
            traceback.clear_frames(original_error.__traceback__)
            raise Failure(finding) from error

    @lazy
    def layer(self) -> Layer:
        """The layer, built with a copy of the state."""
        call = self.case.call
        state = {name: array.copy() for name, array in call.state.items()}
        layer: Layer = self.run_step("build", self.backend.build, replace(call, state=state))
        return layer

    @lazy
    def natives(self) -> tuple[Any, ...]:
        """The inputs on the device: copies, so that the backend cannot change the case.

        An input that is a tensor of the case's state is the layer's own native, if it shows its
        state.
        """
        inputs = self.case.inputs
        own_names = {id(x): name for name, x in self.case.call.state.items()}
        own = (
            self.run_step("state", self.layer.state)
            if any(id(x) in own_names for x in inputs) and hasattr(self.layer, "state")
            else {}
        )
        layouts = self.case.layouts + ("contiguous",) * len(inputs)
        put_inputs: list[Any] = []
        for index, (array, layout) in enumerate(zip(inputs, layouts, strict=False)):
            # An array that is passed twice to torch is passed twice as one native to the backend.
            first = next(k for k in range(index + 1) if inputs[k] is array)
            if array is None or first < index:
                put_inputs.append(None if array is None else put_inputs[first])
            elif own_names.get(id(array)) in own:
                put_inputs.append(own[own_names[id(array)]])
            else:
                put_inputs.append(self.run_step("put", self.layer.put, array.copy(), layout))
        return tuple(put_inputs)

    @lazy
    def outputs(self) -> tuple[Any, ...]:
        """The native outputs that are present, after one call."""
        return self.unpack_outputs(
            self.run_step("call", self.layer, *self.natives, **self.case.keywords)
        )

    def unpack_outputs(self, result: Any) -> tuple[Any, ...]:
        """Return the outputs in a call's result (a native or a tuple), without absent ones.

        Raises:
            Failure: if the number of outputs is wrong, or the wrong ones are absent.
        """
        outputs = result if type(result) is tuple else (result,)
        documented = self.spec.output_shapes(self.case)
        if len(outputs) != len(documented):
            raise Failure(count_mismatch("outputs", len(outputs), len(documented)))
        for output, native, shape in zip(
            self.spec.signature.outputs, outputs, documented, strict=False
        ):
            if (native is None) is not (shape is None):
                got = "None" if native is None else "a tensor"
                wanted = "None" if shape is None else f"a tensor of shape {shape}"
                raise Failure(fact_mismatch("presence", output.name, got, wanted))
        return tuple(native for native in outputs if native is not None)

    def get(self, native: Any) -> np.ndarray:
        """Copy a native to the host, as float64, complex128 or int64."""
        array: np.ndarray = self.run_step("get", self.layer.get, native)
        return array

    @lazy
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The outputs on the host."""
        return tuple(self.get(native) for native in self.outputs)

    def updated_tensor(self, name: str) -> np.ndarray:
        """A tensor that the call changed, on the host; call the layer once before.

        `name` is that of a state tensor, or of an input that the call wrote into.

        Raises:
            Failure: if the state has no such tensor.
            Unsupported: if the layer does not offer its state.
        """
        updates = getattr(self.layer, "updated", None) or {}
        if name in updates:
            return self.get(updates[name])
        if name in self.spec.signature.input_names:
            return self.get(self.natives[self.spec.signature.input_names.index(name)])
        if not hasattr(self.layer, "state"):
            raise NotOffered("state not offered")
        state = self.run_step("state", self.layer.state)
        if name not in state:
            raise Failure(fact_mismatch("names", "state() after the call", sorted(state), name))
        return self.get(state[name])

    def drop_outputs(self) -> None:
        """Drop the outputs, which may be large; the next access makes another call."""
        for name in ("outputs", "arrays"):
            self.__dict__.pop(name, None)

    @lazy
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the outputs that are present, by the documented formulas."""
        return tuple(shape for shape in self.spec.output_shapes(self.case) if shape is not None)

    @lazy
    def present_outputs(self) -> tuple[Output, ...]:
        """The outputs of the signature that are present in this case."""
        pairs = zip(self.spec.signature.outputs, self.spec.output_shapes(self.case), strict=False)
        return tuple(output for output, shape in pairs if shape is not None)

    @lazy
    def precision(self) -> Precision:
        """Units and ranges that bound how a correct implementation rounds in the case's dtype."""
        call, arguments = self.case.call, self.spec.oracle_arguments(self.case)
        named = dict.fromkeys(
            x for x in arguments.values() if isinstance(x, str) and x in FORMATS and x != call.dtype
        )
        # A backend declares nothing for a dtype that it does not offer, and may fail if asked.
        offered = [x for x in named if is_offered(self.backend, call.layer, x, call.device)]
        precision = Precision.of(call.dtype, self.numerics)
        others = tuple(Precision.of(x, self._promised_numerics(x)) for x in offered)
        return replace(precision, others=others) if others else precision

    def _promised_numerics(self, dtype: str) -> Numerics:
        call = self.case.call
        return promised_numerics(numerics_of(self.backend, dtype, call.device, call.layer), dtype)

    def in_dtype(self, case: Case) -> Trial:
        """A trial of a case of another dtype, with what the backend declares for that."""
        trial = self.trial_of(case)
        trial.numerics = trial._promised_numerics(case.call.dtype)
        return trial

    @lazy
    def expected_update(self) -> Updated:
        """Expected outputs and changed state, with bounds; computed once for all checks."""
        return self.answers.outputs.get(self.case, self.precision, self._evaluate_case)

    @property
    def expected(self) -> tuple[Any, ...]:
        """Values and bounds of the outputs that are present, by the oracle."""
        return tuple(self.expected_update.outputs)

    @expected.setter
    def expected(self, outputs: tuple[Any, ...]) -> None:
        self.expected_update = Updated(outputs, {})

    def _evaluate_case(self) -> Updated:
        precision = self.precision
        inputs = [None if x is None else exact_operand(x, precision) for x in self.case.inputs]
        state = {name: exact_operand(x, precision) for name, x in self.case.call.state.items()}
        update = self.evaluate_update(state, inputs)
        changed = {name: lean(x) for name, x in update.state.items()}
        return Updated(tuple(map(lean, update.outputs)), changed)

    def evaluate(
        self, state: Mapping[str, Rounded], inputs: Sequence[Rounded | None]
    ) -> tuple[Any, ...]:
        """Evaluate the oracle's outputs on other operands; `state` has state_dict names."""
        return tuple(self.evaluate_update(state, inputs).outputs)

    def evaluate_update(
        self, state: Mapping[str, Rounded], inputs: Sequence[Rounded | None]
    ) -> Updated:
        """Evaluate outputs and changed state on other operands; `state` has state_dict names."""
        training = (
            {"training": self.case.call.training} if self.spec.traits.train_and_eval_differ else {}
        )
        # Values on the edge of the range overflow on purpose.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            result = self.spec.oracle.values(
                state, *inputs, **self.spec.oracle_arguments(self.case), **training
            )
        changed: Mapping[str, Any] = {}
        if isinstance(result, Updated):
            result, changed = result.outputs, result.state
        outputs = result if isinstance(result, tuple) else (result,)
        return Updated(tuple(x for x in outputs if x is not None), changed)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs that are present, for messages."""
        return tuple(output.name for output in self.present_outputs)

    @lazy
    def answer(self) -> tuple[np.ndarray, ...]:
        """The outputs on the host; a shape other than the documented one is a failure."""
        try:
            arrays = self.arrays
        except Failure as failure:
            raise Failure(failure.finding.in_context(self.text())) from failure
        for name, array, shape in zip(self.names, arrays, self.shapes, strict=True):
            if array.shape != shape:
                finding = fact_mismatch("shape", name, array.shape, shape).in_context(self.text())
                raise Failure(finding, shape_proof(array, shape))
        return arrays

    def trial_of(self, case: Case) -> Trial:
        """A trial of another case, of this layer or of any, on the same backend."""
        name = case.call.layer
        spec = self.spec if name == self.spec.name else CATALOGUE[name]
        return Trial(self.backend, spec, case, self.numerics, self.answers)

    def with_original_operands(self) -> Trial:
        """Return a new trial of the case if a call changes state or inputs, else this trial."""
        if not self.spec.traits.updates_state(self.case.call):
            return self
        return self.trial_of(self.case)

    def input_gradients(self, *cotangents: np.ndarray) -> tuple[np.ndarray | None, ...]:
        """The backend's gradients of the inputs, for one cotangent per output.

        Raises:
            Unsupported: if the backend offers no gradients.
        """
        vjp = getattr(self.layer, "vjp", None)
        if vjp is None:
            raise NotOffered("gradients not offered")
        natives = [self.run_step("put", self.layer.put, c.copy()) for c in cotangents]
        gradients, _ = self.run_step("vjp", vjp, self.natives, natives, **self.case.keywords)
        return tuple(None if x is None else self.get(x) for x in gradients)

    def outputs_and_gradients(
        self, *cotangents: np.ndarray
    ) -> tuple[tuple[np.ndarray, ...] | None, tuple[np.ndarray | None, ...]]:
        """Outputs and input gradients of one call, for one cotangent per output.

        A layer without `value_and_vjp` gives None for the outputs.

        Raises:
            Unsupported: if the backend offers no gradients.
        """
        value_and_vjp = getattr(self.layer, "value_and_vjp", None)
        if value_and_vjp is None:
            return None, self.input_gradients(*cotangents)
        put_cotangents = [self.run_step("put", self.layer.put, c.copy()) for c in cotangents]
        natives, keywords = self.natives, self.case.keywords
        outputs, gradients, _ = self.run_step(
            "value_and_vjp", value_and_vjp, natives, put_cotangents, **keywords
        )
        arrays = tuple(self.get(x) for x in self.unpack_outputs(outputs))
        return arrays, tuple(None if x is None else self.get(x) for x in gradients)

    def answer_of_batch(self, batch: np.ndarray, randomness: str) -> np.ndarray | None:
        """The output of vmap over a batch of the case's only input; None if it is not offered.

        The batch axis comes first. The slices draw `"same"` or `"different"` random numbers.
        """
        vmap_random = getattr(self.layer, "vmap_random", None)
        if vmap_random is None:
            return None
        native = self.run_step("put", self.layer.put, batch.copy())
        try:
            (output,) = self.run_step("vmap_random", vmap_random, [native], [0], randomness)
        except Unsupported:
            return None
        return self.get(output)

    def on_same_layer(self) -> Trial:
        """A new trial of the same case on the same built layer."""
        trial = self.trial_of(self.case)
        trial.layer = self.layer
        return trial

    def text(self) -> str:
        """The call in one line."""
        return case_text(self.case)


def _add_counts(a: Mapping[str, int], b: Mapping[str, int]) -> Mapping[str, int]:
    if not (a and b):
        return a or b
    total = dict(a)
    for power, count in b.items():
        total[power] = total.get(power, 0) + count
    return total


def larger_margin(a: float | None, b: float | None) -> float | None:
    """The larger of two margins, where None and NaN mean none."""
    margins = [x for x in (a, b) if x is not None and not math.isnan(x)]
    return max(margins, default=None)
