"""Test a function of single numbers with every number of a dtype, in parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatch

import numpy as np

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.grading import promised_numerics
from conformance.arithmetic.rounded import Rounded
from conformance.arithmetic.ulps import find_farthest
from conformance.backends.capabilities import devices_of, numerics_of
from conformance.checks import cotangents
from conformance.checks.trial import Trial
from conformance.layers import CATALOGUE
from conformance.layers.describe import call_text
from conformance.model.case import Case, Unsupported
from conformance.model.exhaustive_range import RangeResult
from conformance.model.failure import Failure
from conformance.model.protocols import Backend

BLOCK_SIZE = 1 << 18
"""How many numbers one call processes."""

BITS = {"float16": 16, "bfloat16": 16, "float32": 32}
DIRECTIONS = ("forward", "derivative")


def function_cases(globs: Sequence[str]) -> Iterator[Case]:
    """A case of each function of single numbers; the caller replaces its numbers.

    Args:
        globs: patterns of layers' names.
    """
    for name, spec in CATALOGUE.items():
        if spec.generation.exhaustive_cases is not None and any(
            fnmatch(name, glob) for glob in globs
        ):
            yield from spec.generation.exhaustive_cases("float16")


def function_name(case: Case) -> str:
    """The function of a case with its arguments: `GELU(approximate='tanh')`."""
    return call_text(case.call)


def number_blocks(dtype: str, part: int, parts: int) -> Iterator[np.ndarray]:
    """The finite numbers of one part of a dtype, in the order of their bits, as float64.

    Args:
        part: number of the part, counted from 1.
        parts: how many parts there are.
    """
    count = 1 << BITS[dtype]
    start, stop = count * (part - 1) // parts, count * part // parts
    for first in range(start, stop, BLOCK_SIZE):
        bits = np.arange(first, min(first + BLOCK_SIZE, stop), dtype=np.uint64)
        if dtype == "float16":
            numbers = bits.astype(np.uint16).view(np.float16).astype(np.float64)
        else:
            # A bfloat16 is the upper half of a float32.
            shift = np.uint64(16 if dtype == "bfloat16" else 0)
            with np.errstate(invalid="ignore"):  # a signalling NaN
                numbers = (bits << shift).astype(np.uint32).view(np.float32).astype(np.float64)
        finite = numbers[np.isfinite(numbers)]
        if finite.size:
            yield finite


def compare_range(
    backend: Backend, case: Case, dtype: str, direction: str, part: int = 1, parts: int = 1
) -> RangeResult:
    """Compare the answers to one part of a dtype's numbers with the oracle.

    Args:
        backend: the implementation.
        case: a case of the function; its numbers are not used.
        dtype: one of `BITS`.
        direction: one of `DIRECTIONS`.
        part, parts: which part, counted from 1, of how many.

    Raises:
        Unsupported: if the backend declines the function, or the dtype.
    """
    spec = CATALOGUE[case.call.layer]
    call = replace(case.call, dtype=dtype, device=devices_of(backend)[0])
    declared = numerics_of(backend, dtype, call.device, call.layer)
    numerics = promised_numerics(declared, dtype)
    result = RangeResult()
    for numbers in number_blocks(dtype, part, parts):
        trial = Trial(backend, spec, Case(call, (numbers,)), numerics)
        try:
            got, wanted = _actual_and_expected(trial, direction)
        except Failure as failure:
            result += RangeResult(failed=str(failure).splitlines()[0])
            continue
        result += _compare_block(numbers, got, wanted, dtype)
    return result


def _actual_and_expected(trial: Trial, direction: str) -> tuple[np.ndarray, Rounded | Choices]:
    if direction == "forward":
        return trial.answer[0], trial.expected[0]
    if not hasattr(trial.layer, "vjp"):
        raise Unsupported("gradients not offered")
    ones = np.ones(trial.shapes[0])
    (wanted, *_), _ = cotangents.oracle_gradients(trial, [ones])
    (got, *_) = trial.input_gradients(ones)
    assert got is not None
    assert wanted is not None
    return got, wanted


def _compare_block(
    inputs: np.ndarray, got: np.ndarray, wanted: Rounded | Choices, dtype: str
) -> RangeResult:
    if isinstance(wanted, Choices):
        wanted = wanted.nearest(got)
    decided = np.broadcast_to(wanted.decided, got.shape)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        distance = np.abs(got - wanted.value)
        is_equal = (got == wanted.value) | (np.isnan(got) & np.isnan(wanted.value))
        is_within = is_equal | (distance <= wanted.error)
        ratios = np.where(decided & is_within & (wanted.error > 0), distance / wanted.error, 0.0)
    worst_index = int(np.argmax(ratios))
    expected_value = np.where(decided, wanted.value, np.nan)
    return RangeResult(
        inputs.size,
        int(decided.sum()),
        int((decided & ~is_within).sum()),
        float(ratios[worst_index]),
        float(inputs[worst_index]),
        find_farthest(inputs, got, expected_value, dtype),
    )
