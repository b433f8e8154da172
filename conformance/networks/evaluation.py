"""Evaluate a trace, and pull cotangents back through it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded
from conformance.model.formats import FORMATS
from conformance.networks.trace import Step, Trace


@dataclass(frozen=True)
class EvaluatedStep:
    """One step with its floating-point operands and results, each with its value index.

    Args:
        step: what ran.
        leaves: the operands, as leaves of the derivative.
        results: the results; their errors are the roundings of this step alone.
    """

    step: Step
    leaves: Sequence[tuple[int, Rounded]]
    results: Sequence[tuple[int, Rounded]]


@dataclass(frozen=True)
class Evaluation:
    """All steps of a trace, evaluated.

    Args:
        values: value index → numbers.
        steps: in order; without those behind a step with a problem.
        problems: number of a step → why it has no result.
    """

    values: dict[int, np.ndarray]
    steps: list[EvaluatedStep] = field(default_factory=list)
    problems: dict[int, str] = field(default_factory=dict)

    def rounds(self, step: Step) -> bool:
        """Whether a step has a result that is not exact."""
        return id(step) in self._rounding_steps

    @cached_property
    def _rounding_steps(self) -> frozenset[int]:
        return frozenset(
            id(evaluated.step)
            for evaluated in self.steps
            if any(np.any(result.error) for _, result in evaluated.results)
        )

    @cached_property
    def storing(self) -> dict[int, np.ndarray]:
        """Value index → the rounding of storing a result; 0 where the result is exact.

        A result without an error of its own, as of a maximum, may be stored where its operand was
        not: it rounds then.
        """
        storing: dict[int, np.ndarray] = {}
        for evaluated in self.steps:
            is_inexact = any(np.any(storing.get(k, 0.0)) for k in evaluated.step.operands)
            for index, result in evaluated.results:
                size = np.where(np.isfinite(result.value), np.abs(result.value), 0.0)
                once = result.precision.unit * size
                own = np.minimum(np.nan_to_num(result.error), once)
                storing[index] = np.where(result.error == 0, once if is_inexact else 0.0, own)
        return storing


def evaluate_trace(
    trace: Trace,
    precision: Callable[[str], Precision],
    signs: Callable[[Any], Any] | None = None,
    *,
    true: Evaluation | None = None,
    by_sources: bool = False,
) -> Evaluation:
    """Evaluate all steps, each on the values that the steps before it gave.

    Args:
        precision: dtype → how a correct implementation rounds.
        signs: shape → signs; each result is off by its whole bound in these directions. None = the
            true values.
        true: the true values. A value with several users is off by the rounding of storing it, for
            each step that rounds anew. Comparisons, maxima and movements see the same value.
        by_sources: whether inputs and parameters, too, can be differentiated by. They are exact, so
            that bounds do not need it.
    """
    done = Evaluation(dict(trace.sources))
    users = Counter(index for step in trace.steps for index in step.operands)
    users.update(trace.outputs)
    for number, step in enumerate(trace.steps):
        if any(index not in done.values for index in step.operands):
            continue
        leaves: list[tuple[int, Rounded]] = []
        operands: list[Any] = []
        for index in step.operands:
            operand: Any = done.values[index]
            if trace.dtypes[index] in FORMATS:
                if signs and true and users[index] > 1 and true.rounds(step):
                    operand = operand + signs(operand.shape) * true.storing.get(index, 0.0)
                operand = leaf(operand, precision(trace.dtypes[index]))
                if index in trace.sources and not by_sources:
                    operand = operand.detached
                else:
                    leaves.append((index, operand))
            operands.append(operand)
        results, problem = _evaluate_step(step, operands)
        if problem:
            done.problems[number] = f"{step.name}: {problem} ({step.where})"
            continue
        bounded = [(k, x) for k, x in zip(step.results, results, strict=True) if _has_bound(x)]
        for index, result in zip(step.results, results, strict=True):
            done.values[index] = _shifted(result, signs) if _has_bound(result) else result
        done.steps.append(EvaluatedStep(step, leaves, bounded))
    return done


def _evaluate_step(step: Step, operands: Sequence[Any]) -> tuple[Sequence[Any], str]:
    if step.problem:
        return (), step.problem
    try:
        with np.errstate(all="ignore"):
            results = step.evaluate(operands)
    except (NotImplementedError, TypeError, ValueError, IndexError, KeyError) as error:
        return (), str(error)
    if len(results) != len(step.results):
        return (), f"{len(results)} results, expected {len(step.results)}"
    return [x if _has_bound(x) else np.asarray(x) for x in results], ""


def _has_bound(value: Any) -> bool:
    return isinstance(value, Rounded)


def _shifted(result: Rounded, signs: Callable[[Any], Any] | None) -> np.ndarray:
    if signs is None:
        return result.value
    finite = np.where(np.isfinite(result.error), result.error, 0.0)
    return np.asarray(result.value + signs(result.shape) * finite)


@dataclass(frozen=True)
class Cotangents:
    """What an output's cotangents are, pulled back to each value of a trace.

    Args:
        total: value index → cotangent.
        spread: value index → Σ |part| over the steps that use the value; |total| with one user.
    """

    total: dict[int, np.ndarray]
    spread: dict[int, np.ndarray]


def pull_cotangents(evaluation: Evaluation, outputs: Mapping[int, np.ndarray]) -> Cotangents:
    """The cotangents of all values, from those of the outputs.

    A slope that is infinite stays so: the bound behind it is infinite.

    Args:
        outputs: value index → cotangent.
    """
    total, spread = dict(outputs), {index: np.abs(v) for index, v in outputs.items()}
    for evaluated in reversed(evaluation.steps):
        present = [(x, total[k]) for k, x in evaluated.results if k in total]
        if not present:
            continue
        leaves = [x for _, x in evaluated.leaves]
        seeds = [
            Rounded(v, np.zeros(v.shape), replace(x.precision, values_only=True))
            for x, v in present
        ]
        with np.errstate(all="ignore"):
            gradients = pull_back([x for x, _ in present], seeds, leaves)
        # 0·∞ is 0 where an operand or a result is infinite by itself, as a masked score is.
        finite = all(np.isfinite(v).all() for _, v in present)
        masked = not all(np.isfinite(x.value).all() for x in [*leaves, *(x for x, _ in present)])
        undefined = 0.0 if finite and masked else np.inf
        for (index, x), gradient in zip(evaluated.leaves, gradients, strict=True):
            part = np.real(gradient.value).reshape(x.shape)
            part = np.where(np.isnan(part), undefined, part)
            with np.errstate(invalid="ignore"):
                sum_of_parts = total.get(index, 0.0) + part
            total[index] = np.where(np.isnan(sum_of_parts), np.inf, sum_of_parts)
            spread[index] = spread.get(index, 0.0) + np.abs(part)
    return Cotangents(total, spread)
