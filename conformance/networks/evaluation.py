"""Evaluate a trace, and pull cotangents back through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
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


def evaluate_trace(
    trace: Trace,
    precision: Callable[[str], Precision],
    signs: Callable[[Any], Any] | None = None,
    *,
    by_sources: bool = False,
) -> Evaluation:
    """Evaluate all steps, each on the values that the steps before it gave.

    Args:
        precision: dtype → how a correct implementation rounds.
        signs: shape → signs; each result is off by its whole bound in these directions. None = the
            true values.
        by_sources: whether inputs and parameters, too, can be differentiated by. They are exact, so
            that bounds do not need it.
    """
    done = Evaluation(dict(trace.sources))
    for number, step in enumerate(trace.steps):
        if any(index not in done.values for index in step.operands):
            continue
        leaves: list[tuple[int, Rounded]] = []
        operands: list[Any] = []
        for index in step.operands:
            operand: Any = done.values[index]
            if trace.dtypes[index] in FORMATS:
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


def pull_cotangents(
    evaluation: Evaluation, outputs: Mapping[int, np.ndarray]
) -> dict[int, np.ndarray]:
    """The cotangents of all values, from those of the outputs.

    A slope that is infinite stays so: the bound behind it is infinite.

    Args:
        outputs: value index → cotangent.
    """
    cotangents = dict(outputs)
    for evaluated in reversed(evaluation.steps):
        present = [(x, cotangents[k]) for k, x in evaluated.results if k in cotangents]
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
                total = cotangents.get(index, 0.0) + part
            cotangents[index] = np.where(np.isnan(total), np.inf, total)
    return cotangents
