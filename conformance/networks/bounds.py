"""Bounds of a whole network: true values go on, and cotangents carry local errors to the output.

Each step is evaluated on the true values of its operands, so that its bound e holds the step's own
roundings only. An implementation errs by δ. For a probe u of the output, |u·δ| ≤ Σ |v|·e to first
order, where v is the cotangent of a step's result. The source is Higham, *Accuracy and Stability of
Numerical Algorithms* (2002), §3.4. A probe is a vector of random signs, which sees what is wrong
everywhere, or a single element; the elements furthest away are chosen after the answer is known.

Remainder: kinks, and terms of second order, are measured by evaluating the network with results
that are off by up to their bounds. A probe's bound is never below twice the largest deviation of
these samples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.grading import promised_numerics
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded
from conformance.bounding.operands import Operand, as_library, read_operand
from conformance.model.case import Numerics
from conformance.model.formats import FORMATS
from conformance.networks.trace import Step, Trace, record

SIGN_PROBES, ELEMENT_PROBES, SAMPLES = 16, 16, 4
CONFIDENCE = 8.0
"""λ of the probabilistic bound λ·√Σ(v·e)²; independent errors exceed it with a probability < 10⁻¹³.

Source: Higham and Mary, *A new approach to probabilistic rounding error analysis* (2019).
"""


@dataclass(frozen=True)
class Margin:
    """How far an answer is from the true value, in bounds.

    Args:
        ratio: largest error ÷ worst-case bound over all probes; above 1 the answer is wrong.
        suspicion: largest error ÷ probabilistic bound; above 1 the answer is suspicious.
        output, place: the element with the largest ratio among the element probes.
        got, wanted, bound: at that element.
        probes: number of probes.
    """

    ratio: float
    suspicion: float
    output: int
    place: tuple[int, ...]
    got: float
    wanted: float
    bound: float
    probes: int


@dataclass(frozen=True)
class _Evaluated:
    """One step on true values.

    Args:
        step: what ran.
        leaves: its floating-point operands, as leaves of the derivative, with their value indices.
        results: its floating-point results with their local bounds, with their value indices.
    """

    step: Step
    leaves: Sequence[tuple[int, Rounded]]
    results: Sequence[tuple[int, Rounded]]


class NetworkBounds:
    """What a module or function made of several layers must return.

    Args:
        trace: the layers and operators that it runs.
        numerics: what the implementation may do; None = nothing is declared.
    """

    def __init__(self, trace: Trace, numerics: Numerics | None = None) -> None:
        self._trace, self._numerics = trace, numerics
        self._problems: dict[int, str] = {}
        self._values, self._steps = self._evaluate()

    @cached_property
    def uncertified(self) -> tuple[str, ...]:
        """Why outputs are not certified, each with the line of the caller's code; else empty."""
        reasons = dict.fromkeys(self._problems[k] for k in sorted(self._reaching()))
        return tuple(reasons)

    @property
    def value(self) -> Any:
        """The true value of the output; a tuple if there are several outputs."""
        parts = [as_library(np.asarray(self._host(k)), "torch") for k in self._trace.outputs]
        return parts[0] if len(parts) == 1 else tuple(parts)

    def bound_at(self, place: Sequence[int], output: int = 0) -> float:
        """The worst-case bound of one element of an output."""
        probe = self._zeros()
        probe[output][tuple(place)] = 1.0
        return self._bounds_of(probe)[0]

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
            raise ValueError(self._uncertified_text())
        errors, answers = self._errors(got)
        probes = [*self._sign_probes(), *self._element_probes(errors)]
        ratio = suspicion = 0.0
        worst: tuple[float, int, tuple[int, ...], float] = (-1.0, 0, (), 0.0)
        for probe, element in probes:
            error = abs(math.fsum(float(np.sum(u * e)) for u, e in zip(probe, errors, strict=True)))
            bound, likely = self._bounds_of(probe)
            share = _quotient(error, bound)
            ratio = max(ratio, share)
            suspicion = max(suspicion, _quotient(error, likely))
            if element is not None and share > worst[0]:
                worst = (share, *element, bound)
        _, output, place, bound = worst
        index = self._trace.outputs[output] if self._trace.outputs else 0
        return Margin(
            ratio,
            suspicion,
            output,
            place,
            float(np.real(answers[output][place])) if place or answers else math.nan,
            float(np.real(self._host(index)[place])),
            bound,
            len(probes),
        )

    def find_fault(self, got: Any) -> str:
        """What is wrong with an answer, in words; empty if nothing is.

        Args:
            got: what an implementation returned: a tensor, or a tuple of them.
        """
        try:
            operands = self._operands(got)
            for k, operand in enumerate(operands):
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

    def _uncertified_text(self) -> str:
        return "\n".join(["the output is not certified:", *self.uncertified])

    def _precision(self, dtype: str) -> Precision:
        return Precision.of(dtype, promised_numerics(self._numerics, dtype))

    def _host(self, index: int) -> np.ndarray:
        return self._values[index]

    def _zeros(self) -> list[np.ndarray]:
        return [np.zeros(self._host(k).shape) for k in self._trace.outputs]

    def _evaluate(
        self, generator: np.random.Generator | None = None
    ) -> tuple[dict[int, np.ndarray], list[_Evaluated]]:
        """Evaluate all steps on true values, or on values that are off by up to their bounds."""
        values, steps = dict(self._trace.sources), list[_Evaluated]()
        for number, step in enumerate(self._trace.steps):
            if any(index not in values for index in step.operands):
                continue  # behind a step that could not be evaluated
            leaves: list[tuple[int, Rounded]] = []
            operands: list[Any] = []
            for index in step.operands:
                dtype = self._trace.dtypes[index]
                array = values[index]
                if dtype in FORMATS:
                    leaves.append((index, leaf(array, self._precision(dtype))))
                    operands.append(leaves[-1][1])
                else:
                    operands.append(array)
            results = self._results_of(number, step, operands)
            bounded: list[tuple[int, Rounded]] = []
            for index, result in zip(step.results, results, strict=False):
                if isinstance(result, Rounded):
                    bounded.append((index, result))
                    values[index] = _perturbed(result, generator)
                else:
                    values[index] = np.asarray(result)
            steps.append(_Evaluated(step, leaves, bounded))
        return values, steps

    def _results_of(self, number: int, step: Step, operands: Sequence[Any]) -> Sequence[Any]:
        if step.problem:
            self._problems[number] = f"{step.name}: {step.problem} ({step.where})"
            return ()
        try:
            with np.errstate(all="ignore"):
                results = step.evaluate(operands)
        except (NotImplementedError, TypeError, ValueError, IndexError, KeyError) as error:
            self._problems[number] = f"{step.name}: {error} ({step.where})"
            return ()
        if len(results) != len(step.results):
            self._problems[number] = f"{step.name}: {len(results)} results ({step.where})"
            return ()
        return results

    @cached_property
    def _samples(self) -> list[dict[int, np.ndarray]]:
        """Values of networks whose results are off by up to their bounds."""
        generator = np.random.default_rng(0)
        return [self._evaluate(generator)[0] for _ in range(SAMPLES)]

    def _reaching(self) -> set[int]:
        """The steps with a problem on which an output depends, or that the program reads."""
        needed, reaching = set(self._trace.outputs), set[int]()
        for number in reversed(range(len(self._trace.steps))):
            step = self._trace.steps[number]
            reads = not step.results
            if reads and number in self._problems:
                reaching.add(number)
            if needed.intersection(step.results):
                needed.update(step.operands)
                if number in self._problems:
                    reaching.add(number)
                elif self._is_open(step):
                    self._problems[number] = (
                        f"{step.name}: its discrete result depends on roundings ({step.where})"
                    )
                    reaching.add(number)
        return reaching

    def _is_open(self, step: Step) -> bool:
        """Whether integers or flags that a step gives change within the bounds of its operands."""
        discrete = [k for k in step.results if self._trace.dtypes[k] not in FORMATS]
        return any(
            not np.array_equal(self._values[k], sample[k])
            for k in discrete
            for sample in self._samples
            if k in self._values and k in sample
        )

    def _operands(self, got: Any) -> list[Operand]:
        """Read the tensors of an answer.

        Raises:
            ValueError: if the number of outputs, or a shape, is wrong.
        """
        tensors = list(_flatten(got))
        if len(tensors) != len(self._trace.outputs):
            raise ValueError(f"{len(tensors)} outputs, expected {len(self._trace.outputs)}")
        operands = [read_operand(f"output {k}", x) for k, x in enumerate(tensors)]
        for k, operand in enumerate(operands):
            shape = tuple(self._trace.tensors[k].shape)
            if operand.array.shape != shape:
                raise ValueError(f"output {k}: shape {operand.array.shape}, wanted {shape}")
        return operands

    def _errors(self, got: Any) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The errors of an answer, and the answer; equal infinities and NaN have the error 0."""
        answers = [operand.array for operand in self._operands(got)]
        errors = []
        for index, array in zip(self._trace.outputs, answers, strict=True):
            wanted = self._host(index)
            with np.errstate(invalid="ignore"):
                same = (array == wanted) | (np.isnan(array) & np.isnan(wanted))
                error = np.where(same, 0.0, np.asarray(array, np.float64) - wanted)
            errors.append(np.where(np.isnan(error), np.inf, error))
        return errors, answers

    def _sign_probes(self) -> Iterator[tuple[list[np.ndarray], None]]:
        generator = np.random.default_rng(0)
        for _ in range(SIGN_PROBES):
            yield [generator.choice([-1.0, 1.0], size=x.shape) for x in self._zeros()], None

    def _element_probes(
        self, errors: Sequence[np.ndarray]
    ) -> Iterator[tuple[list[np.ndarray], tuple[int, tuple[int, ...]]]]:
        """Single elements: those with the largest error, and with the largest relative error."""
        places: dict[tuple[int, int], None] = {}
        for k, error in enumerate(errors):
            size = np.abs(self._host(self._trace.outputs[k]))
            typical = float(np.sqrt(np.mean(np.square(size)))) if size.size else 0.0
            with np.errstate(invalid="ignore", divide="ignore"):
                relative = np.abs(error) / (size + 1e-3 * typical + 1e-300)
            for score in (np.abs(error), relative):
                order = np.argsort(-score, axis=None, kind="stable")[: ELEMENT_PROBES // 2]
                places |= {(k, int(flat)): None for flat in order}
        for k, flat in places:
            probe = self._zeros()
            probe[k].flat[flat] = 1.0
            where = np.unravel_index(flat, probe[k].shape)
            yield probe, (k, tuple(int(i) for i in where))

    def _bounds_of(self, probe: Sequence[np.ndarray]) -> tuple[float, float]:
        """The worst-case bound of a probe, and the probabilistic one."""
        cotangents: dict[int, np.ndarray] = {}
        for index, u in zip(self._trace.outputs, probe, strict=True):
            if self._trace.dtypes[index] in FORMATS:
                cotangents[index] = cotangents.get(index, 0.0) + u
        worst, squares = 0.0, 0.0
        for evaluated in reversed(self._steps):
            results = [(k, x, cotangents.get(k)) for k, x in evaluated.results]
            if all(v is None for _, _, v in results):
                continue
            for _, x, v in results:
                if v is not None:
                    with np.errstate(invalid="ignore", over="ignore"):
                        terms = np.where(v == 0, 0.0, np.abs(v) * x.error)
                    worst += float(np.sum(terms))
                    squares += float(np.sum(np.square(terms)))
            self._pull(evaluated, results, cotangents)
        base = sum(
            float(np.sum(u * np.where(np.isfinite(self._host(k)), self._host(k), 0.0)))
            for k, u in zip(self._trace.outputs, probe, strict=True)
        )
        remainder = max(
            (
                abs(
                    sum(
                        float(np.sum(u * np.where(np.isfinite(s[k]), s[k], 0.0)))
                        for k, u in zip(self._trace.outputs, probe, strict=True)
                    )
                    - base
                )
                for s in self._samples
            ),
            default=0.0,
        )
        # The true value is computed in float64, too.
        remainder += 1e-13 * abs(base)
        likely = CONFIDENCE * math.sqrt(squares)
        return max(worst, 2 * remainder), max(min(likely, worst), 2 * remainder)

    def _pull(
        self,
        evaluated: _Evaluated,
        results: Sequence[tuple[int, Rounded, np.ndarray | None]],
        cotangents: dict[int, np.ndarray],
    ) -> None:
        """Add to the cotangents of a step's operands what the cotangents of its results give."""
        leaves = [x for _, x in evaluated.leaves]
        given = [
            None if v is None else Rounded(v, np.zeros(v.shape), x.precision) for _, x, v in results
        ]
        with np.errstate(all="ignore"):
            gradients = pull_back([x for _, x, _ in results], given, leaves)
        for (index, x), gradient in zip(evaluated.leaves, gradients, strict=True):
            part = np.real(np.nan_to_num(gradient.value, nan=0.0, posinf=0.0, neginf=0.0))
            cotangents[index] = cotangents.get(index, 0.0) + part.reshape(x.shape)


def _perturbed(result: Rounded, generator: np.random.Generator | None) -> np.ndarray:
    if generator is None:
        return result.value
    finite = np.where(np.isfinite(result.error), result.error, 0.0)
    return np.asarray(result.value + generator.uniform(-1.0, 1.0, result.shape) * finite)


def _quotient(error: float, bound: float) -> float:
    if error == 0:
        return 0.0
    return error / bound if bound > 0 else math.inf


def _flatten(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for x in value:
            yield from _flatten(x)
    elif isinstance(value, dict):
        for x in value.values():
            yield from _flatten(x)
    elif value is not None:
        yield value


def trace_bounds(
    target: Any, arguments: Sequence[Any], keywords: Mapping[str, Any], numerics: Numerics | None
) -> NetworkBounds:
    """Run a module or function of tensors once, and derive what it must return."""
    return NetworkBounds(record(target, arguments, keywords, numerics), numerics)
