"""Bounds of a whole network: true values go on, and cotangents carry local errors to the output.

Each step is evaluated on the true values of its operands, so that its bound e holds the step's own
roundings only. An implementation errs by δ. For a probe u of the output, |u·δ| ≤ Σ |v|·e to first
order, where v is the cotangent of a step's result. The source is Higham, *Accuracy and Stability of
Numerical Algorithms* (2002), §3.4. A probe is a vector of random signs, which sees what is wrong
everywhere, or a single element; the elements furthest away are chosen after the answer is known.

A value with several users may be stored for one of them and stay wide, or in a fused product, for
another. So the rounding of storing it is not the same for all: it counts with Σ|v| over the users.

Kinks and terms of second order: the network is evaluated again with each result off by its whole
bound, in random directions and in the opposite ones. Each |v|·e is the largest of these points and
the true one, so that a kink that lies within a result's bound is seen from both sides. Each of them
is also an answer that a correct implementation may give: no bound is below its distance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from conformance.arithmetic.grading import promised_numerics
from conformance.arithmetic.precision import Precision
from conformance.bounding.operands import Operand, as_library, leaves_in, read_operand
from conformance.model.case import Numerics
from conformance.model.formats import FORMATS
from conformance.networks.evaluation import Evaluation, evaluate_trace, pull_cotangents
from conformance.networks.probes import Margin, Probe, element_probe, element_probes, sign_probes
from conformance.networks.recording import record
from conformance.networks.trace import Step, Trace

SAMPLE_PAIRS = 2
CONFIDENCE = 8.0
"""λ of the probabilistic bound λ·√Σ(v·e)²; independent errors exceed it with a probability < 10⁻¹³.

Source: Higham and Mary, *A new approach to probabilistic rounding error analysis* (2019).
"""


@dataclass(frozen=True)
class _ProbeBound:
    """How far a correct answer may be along a probe.

    Args:
        worst: by the worst case.
        likely: by the probabilistic bound.
        reason: why the bound is infinite; empty if it is finite.
    """

    worst: float
    likely: float
    reason: str


class NetworkBounds:
    """What a module or function made of several layers must return.

    Args:
        trace: the layers and operators that it runs.
        numerics: what the implementation may do; None = nothing is declared.
        evaluations: of the same steps, if they are known: the true one, then the samples.
        seed: of the signs and elements that are drawn; who judges strangers keeps it secret.
    """

    def __init__(
        self,
        trace: Trace,
        numerics: Numerics | None = None,
        evaluations: Sequence[Evaluation] = (),
        seed: int = 0,
    ) -> None:
        self._trace, self._numerics, self._known_samples = trace, numerics, list(evaluations[1:])
        self._seed = seed
        self._element_bounds: dict[Any, _ProbeBound] = {}
        self._true = evaluations[0] if evaluations else evaluate_trace(trace, self._precision)

    @cached_property
    def uncertified(self) -> tuple[str, ...]:
        """Why outputs are not certified, each with the line of the caller's code; else empty."""
        reasons = tuple(dict.fromkeys(self._find_problems()))
        if reasons:
            return reasons
        return tuple(dict.fromkeys(b.reason for _, b in self._sign_bounds if b.reason))

    @property
    def value(self) -> Any:
        """The true value of the output; a tuple if there are several outputs."""
        parts = [as_library(np.asarray(x), "torch") for x in self._outputs]
        return parts[0] if len(parts) == 1 else tuple(parts)

    def bound_at(self, place: Sequence[int], output: int = 0) -> float:
        """The worst-case bound of one element of an output."""
        return self._element_bound(element_probe(self._outputs, output, tuple(place))).worst

    def margin(self, got: Any) -> float:
        """The largest error ÷ bound of an answer: above 1 it is wrong; see `examine`."""
        return self.examine(got).ratio

    def examine(self, got: Any) -> Margin:
        """How far an answer is from the true value.

        Args:
            got: what an implementation returned: a tensor, or a tuple of them.

        Raises:
            ValueError: if the number of outputs, or a shape, is wrong, or nothing is certified.
        """
        if self.uncertified:
            raise ValueError("\n".join(["the output is not certified:", *self.uncertified]))
        answers = [operand.array for operand in self._read_answer(got)]
        errors = [_errors(x, y) for x, y in zip(answers, self._outputs, strict=True)]
        ratio = suspicion = 0.0
        worst: tuple[float, Probe, float] | None = None
        elements = [
            (probe, self._element_bound(probe))
            for probe in element_probes(self._outputs, errors, self._scales, self._seed)
        ]
        bounds = [*self._sign_bounds, *elements]
        for probe, bound in bounds:
            error = _error_along(probe, errors)
            share = _quotient(error, bound.worst)
            ratio, suspicion = max(ratio, share), max(suspicion, _quotient(error, bound.likely))
            if probe.place is not None and (worst is None or share > worst[0]):
                worst = (share, probe, bound.worst)
        if worst is None:
            return Margin(ratio, suspicion, 0, (), math.nan, math.nan, math.nan, len(bounds))
        _, at, limit = worst
        got_there, wanted = (
            float(np.real(x[at.output][at.place])) for x in (answers, self._outputs)
        )
        return Margin(
            ratio, suspicion, at.output, at.place or (), got_there, wanted, limit, len(bounds)
        )

    def find_fault(self, got: Any) -> str:
        """What is wrong with an answer, in words; empty if nothing is.

        Args:
            got: what an implementation returned: a tensor, or a tuple of them.
        """
        try:
            for k, operand in enumerate(self._read_answer(got)):
                dtype = self._trace.dtypes[self._trace.outputs[k]]
                if operand.dtype != dtype:
                    return f"output {k}: dtype {operand.dtype}, wanted {dtype}"
            margin = self.examine(got)
        except ValueError as error:
            return str(error)
        if margin.ratio <= 1:
            return ""
        return (
            f"output {margin.output}{list(margin.place)}\n  got    {margin.got!r}\n"
            f"  wanted {margin.wanted!r}\n  bound  {margin.bound:.6g}\n"
            f"  largest error ÷ bound {margin.ratio:.4g} over {margin.probes} probes "
            f"of {len(self._trace.steps)} steps"
        )

    def find_first_fault(self, outputs: Mapping[str, Sequence[Any]]) -> str:
        """The first submodule whose own output is wrong, in words; empty if there is none.

        Args:
            outputs: name of a submodule → what each of its calls returned in an implementation.
        """
        for call in self._trace.calls:
            answers = outputs.get(call.name, ())
            if call.number >= len(answers) or not call.outputs:
                continue
            part = replace(self._trace, outputs=call.outputs, tensors=call.tensors)
            bounds = NetworkBounds(part, self._numerics, [self._true, *self._samples], self._seed)
            fault = "" if bounds.uncertified else bounds.find_fault(answers[call.number])
            if fault:
                again = f", call {call.number + 1}" if call.number else ""
                return f"{call.name}{again}: {fault}"
        return ""

    def _precision(self, dtype: str) -> Precision:
        return Precision.of(dtype, promised_numerics(self._numerics, dtype))

    @property
    def _outputs(self) -> list[np.ndarray]:
        return [self._true.values[k] for k in self._trace.outputs]

    @cached_property
    def _samples(self) -> list[Evaluation]:
        """Networks whose results are off by their whole bounds, in pairs of opposite directions."""
        return self._known_samples or [
            evaluate_trace(
                self._trace, self._precision, _random_signs(seed, direction), true=self._true
            )
            for seed in range(SAMPLE_PAIRS)
            for direction in (1.0, -1.0)
        ]

    @cached_property
    def _scales(self) -> list[np.ndarray]:
        """How far correct answers stray at each element of an output, roughly.

        That is the rounding of the last step, and the largest distance of a sample.
        """
        own = {
            index: result.error
            for evaluated in self._true.steps
            for index, result in evaluated.results
        }
        scales = []
        for index, value in zip(self._trace.outputs, self._outputs, strict=True):
            scale = np.broadcast_to(own.get(index, 0.0), value.shape).astype(np.float64)
            for sample in self._samples:
                with np.errstate(invalid="ignore"):
                    distance = np.abs(np.asarray(sample.values[index], np.float64) - value)
                scale = np.maximum(scale, np.where(np.isfinite(distance), distance, 0.0))
            scales.append(np.nan_to_num(scale))
        return scales

    def _find_problems(self) -> Iterator[str]:
        """The problems of the steps on which an output depends, or that the program reads."""
        if not self._trace.outputs:
            yield "it returns no tensor"
        if any(x.is_complex() for x in self._trace.tensors):
            yield "complex numbers have no bound in a network"
        needed, problems = set(self._trace.outputs), self._true.problems
        problem_of_step: dict[int, str] = {}
        for number in reversed(range(len(self._trace.steps))):
            step = self._trace.steps[number]
            is_needed = bool(needed.intersection(step.results))
            if number in problems and (is_needed or not step.results):
                problem_of_step[number] = problems[number]
            elif is_needed and self._is_open(step, needed):
                problem_of_step[number] = (
                    f"{step.name}: its result depends on roundings ({step.where})"
                )
            if is_needed:
                needed.update(step.operands)
        yield from (text for _, text in sorted(problem_of_step.items()))

    def _is_open(self, step: Step, needed: set[int]) -> bool:
        """Whether integers or flags change within the bounds of the operands, or a result fails."""
        wanted = [k for k in step.results if k in needed and k in self._true.values]
        return any(
            k not in sample.values
            or (
                self._trace.dtypes[k] not in FORMATS
                and not np.array_equal(self._true.values[k], sample.values[k])
            )
            for k in wanted
            for sample in self._samples
        )

    def _read_answer(self, got: Any) -> list[Operand]:
        """Read the tensors of an answer.

        Raises:
            ValueError: if the number of outputs, or a shape, is wrong.
        """
        names = self._trace.names
        if names and isinstance(got, Mapping):
            if set(got) != set(names):
                raise ValueError(f"outputs {sorted(map(str, got))}, wanted {list(names)}")
            got = [got[name] for name in names]
        tensors = list(leaves_in(got))
        if len(tensors) != len(self._trace.outputs):
            raise ValueError(f"{len(tensors)} outputs, expected {len(self._trace.outputs)}")
        operands = [read_operand(f"output {k}", x) for k, x in enumerate(tensors)]
        for k, operand in enumerate(operands):
            shape = tuple(self._trace.tensors[k].shape)
            if operand.array.shape != shape:
                raise ValueError(f"output {k}: shape {operand.array.shape}, wanted {shape}")
        return operands

    def _terms(self, probe: Probe) -> Iterator[tuple[Step, np.ndarray]]:
        """|v|·e of each floating-point result of each step: the largest of all evaluations."""
        seeds: dict[int, np.ndarray] = {}
        for index, weights in zip(self._trace.outputs, probe.weights, strict=True):
            if self._trace.dtypes[index] in FORMATS:
                seeds[index] = seeds.get(index, 0.0) + weights
        largest: dict[int, np.ndarray] = {}
        for evaluation in (self._true, *self._samples):
            cotangents = pull_cotangents(evaluation, seeds)
            for evaluated in evaluation.steps:
                for index, result in evaluated.results:
                    if index not in cotangents.total:
                        continue
                    slope = np.abs(cotangents.total[index])
                    storing = evaluation.storing[index]
                    with np.errstate(invalid="ignore", over="ignore"):
                        term = np.where((slope == 0) | (result.error == 0), 0, slope * result.error)
                        apart = np.where(np.isinf(slope), 0, cotangents.spread[index] - slope)
                        term += np.where(storing == 0, 0, apart * storing)
                    largest[index] = np.maximum(largest.get(index, 0.0), term)
        for evaluated in self._true.steps:
            for index, _ in evaluated.results:
                if index in largest:
                    yield evaluated.step, largest[index]

    @cached_property
    def _sign_bounds(self) -> list[tuple[Probe, _ProbeBound]]:
        return [(probe, self._bound_of(probe)) for probe in sign_probes(self._outputs, self._seed)]

    def _element_bound(self, probe: Probe) -> _ProbeBound:
        """The bound of one element; it is kept, as answers are often wrong at the same places."""
        key = (probe.output, probe.place)
        if key not in self._element_bounds:
            self._element_bounds[key] = self._bound_of(probe)
        return self._element_bounds[key]

    def _bound_of(self, probe: Probe) -> _ProbeBound:
        terms = list(self._terms(probe))
        worst = math.fsum(float(np.sum(term)) for _, term in terms)
        with np.errstate(over="ignore"):
            squares = math.fsum(float(np.sum(np.square(term))) for _, term in terms)
        distance = max(self._distance(probe, sample) for sample in self._samples)
        likely = min(CONFIDENCE * math.sqrt(squares), worst)
        infinite = next((step for step, term in terms if np.isinf(term).any()), None)
        reason = infinite and f"{infinite.name}: its bound is infinite ({infinite.where})"
        return _ProbeBound(max(worst, distance), max(likely, distance), reason or "")

    def _distance(self, probe: Probe, sample: Evaluation) -> float:
        """How far a sample is from the true value, without elements that are not finite in it."""
        errors = []
        for index, value in zip(self._trace.outputs, self._outputs, strict=True):
            with np.errstate(invalid="ignore"):
                error = sample.values[index] - value
            errors.append(np.where(np.isfinite(error), error, 0.0))
        return _error_along(probe, errors)


def _random_signs(seed: int, direction: float) -> Callable[[Sequence[int]], np.ndarray]:
    """Shape → random signs; another direction turns all of them."""
    generator = np.random.default_rng(seed)
    return lambda shape: generator.choice([direction, -direction], size=tuple(shape))


def _errors(answer: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Answer − wanted: 0 for equal infinities and for NaN, ∞ where only one is finite.

    Whole numbers that differ are at least 1 apart, though float64 may not tell them apart.
    """
    if answer.dtype.kind in "biu" and wanted.dtype.kind in "biu":
        apart = np.abs(np.asarray(answer, np.float64) - np.asarray(wanted, np.float64))
        return np.where(answer == wanted, 0.0, np.maximum(apart, 1.0))
    with np.errstate(invalid="ignore"):
        same = (answer == wanted) | (np.isnan(answer) & np.isnan(wanted))
        error = np.where(same, 0.0, np.asarray(answer, np.float64) - wanted)
    return np.where(np.isfinite(error), error, np.inf)


def _error_along(probe: Probe, errors: Sequence[np.ndarray]) -> float:
    """|u·δ|; ∞ if any error that the probe sees is infinite."""
    parts = []
    for weights, error in zip(probe.weights, errors, strict=True):
        seen = weights != 0
        if np.isinf(error[seen]).any():
            return math.inf
        parts.append(float(np.sum(weights[seen] * error[seen])))
    return abs(math.fsum(parts))


def _quotient(error: float, bound: float) -> float:
    if error == 0:
        return 0.0
    if math.isinf(error):
        return math.inf
    return error / bound if bound > 0 else math.inf


def trace_bounds(
    target: Any,
    arguments: Sequence[Any],
    keywords: Mapping[str, Any],
    numerics: Numerics | None,
    seed: int = 0,
) -> NetworkBounds:
    """Run a module or function of tensors once, and derive what it must return."""
    return NetworkBounds(record(target, arguments, keywords, numerics), numerics, seed=seed)
