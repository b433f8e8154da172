"""Measure how much of its bound each operation needs: largest error ÷ bound.

`python tools/arithmetic_peaks.py` prints a table by operation and dtype, for true values and for
correct implementations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import mpmath
import numpy as np
from reduction_forms import ORDERS, StoredArithmetic

from conformance.arithmetic import elementary, reductions
from conformance.arithmetic.half_precision import stored, widened, working_precision
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.model.formats import FORMATS, round_to

DTYPES = ("float32", "float64", "bfloat16", "float16")
Array = np.ndarray


def largest_ratio(got: Array, expected: Rounded) -> float:
    """Largest |got − value| ÷ error; ∞ if an exact number is wrong.

    Args:
        got: numbers of an implementation.
        expected: numbers and bounds of the oracle.
    """
    got = np.broadcast_to(np.asarray(got, dtype=np.float64), expected.shape)
    has_bound = np.isfinite(expected.error)
    matches = (got == expected.value) | (np.isnan(got) & np.isnan(expected.value))
    with np.errstate(all="ignore"):
        ratios = np.abs(got - expected.value) / expected.error
    ratios = np.where(matches, 0.0, np.where(np.isnan(ratios), np.inf, ratios))
    return float(ratios[has_bound].max(initial=0.0))


@dataclass(frozen=True)
class Function:
    """Three implementations of an elementary function, and its usual operands.

    Args:
        oracle: the oracle's, on numbers with bounds.
        implementation: NumPy's, in the format of its operand.
        exact: mpmath's.
        lowest, highest: range of usual operands, as exponents of 2.
        signed: operands may be negative.
    """

    oracle: Callable[[Rounded], Rounded]
    implementation: Callable[[Array], Array]
    exact: Callable[[mpmath.mpf], mpmath.mpf]
    lowest: int
    highest: int
    signed: bool


def _erf(x: Array) -> Array:
    return np.array([float(mpmath.erf(float(v))) for v in x.reshape(-1)]).reshape(x.shape)


def _power(exponent: float, *, signed: bool = False) -> Function:
    return Function(
        lambda x: elementary.power(x, exponent),
        lambda x: np.power(x, np.asarray(exponent, x.dtype)),
        lambda x: mpmath.power(x, mpmath.mpf(exponent)),
        -8, 8, signed,
    )  # fmt: skip


FUNCTIONS = {
    "exp": Function(elementary.exp, np.exp, mpmath.exp, -8, 7, True),
    "expm1": Function(elementary.expm1, np.expm1, mpmath.expm1, -30, 6, True),
    "log": Function(elementary.log, np.log, mpmath.log, -8, 8, False),
    "log1p": Function(elementary.log1p, np.log1p, mpmath.log1p, -30, 8, False),
    "sqrt": Function(elementary.sqrt, np.sqrt, mpmath.sqrt, -8, 8, False),
    "rsqrt": Function(
        elementary.reciprocal_sqrt, lambda x: 1 / np.sqrt(x), lambda x: 1 / mpmath.sqrt(x),
        -8, 8, False,
    ),
    "erf": Function(elementary.erf, _erf, mpmath.erf, -20, 4, True),
    "square": Function(elementary.square, np.square, lambda x: x * x, -8, 8, True),
    "absolute": Function(elementary.absolute, np.abs, abs, -8, 8, True),
    "power 3": _power(3.0, signed=True),
    "power 2.5": _power(2.5),
    "power 0.1": _power(0.1),
    "power -0.75": _power(-0.75),
}  # fmt: skip


def operands(function: Function, dtype: str, count: int, seed: int) -> Array:
    """Draw operands: usual ones, some whole numbers, and a quarter over the dtype's whole range."""
    generator, form = np.random.default_rng(seed), FORMATS[dtype]
    largest_power = int(np.log2(form.largest))
    powers = generator.integers(function.lowest, function.highest, count)
    whole_range = generator.integers(int(np.log2(form.tiny)), largest_power, count)
    powers = np.where(generator.random(count) < 0.25, whole_range, powers)
    values = np.ldexp(1 + generator.random(count), powers)
    is_integer = generator.random(count) < 0.1
    values = np.where(is_integer, generator.integers(0, 5, count), values)
    if function.signed:
        values *= generator.choice([-1.0, 1.0], count)
    return round_to(values, dtype)


def compute_true(function: Function, x: Array) -> Array:
    """The true values, computed with 60 digits and rounded to float64."""
    with mpmath.workdps(60):
        results = []
        for value in x.reshape(-1).tolist():
            try:
                results.append(float(function.exact(mpmath.mpf(value))))
            except ZeroDivisionError:
                results.append(np.inf)
            except (ValueError, TypeError):  # The operand is outside the domain of real results.
                results.append(np.nan)
    return np.array(results).reshape(x.shape)


def elementary_ratios(name: str, dtype: str, count: int = 400, seed: int = 0) -> dict[str, float]:
    """Largest error ÷ bound of an elementary function.

    Args:
        name: a key of `FUNCTIONS`.
        dtype, count, seed: see `operands`.

    Returns:
        The ratios of `true` values, of `numpy` in the dtype, and of true values for operands
        `moved` within their own error.
    """
    function, precision = FUNCTIONS[name], Precision.of(dtype)
    x = operands(function, dtype, count, seed)
    generator = np.random.default_rng(seed + 1)
    with np.errstate(all="ignore"):
        y = function.oracle(Rounded(x, np.zeros(x.shape), precision))
        true_result = compute_true(function, x)
        numpy_dtype = {"float32": np.float32, "float16": np.float16}.get(dtype, np.float64)
        got = np.asarray(function.implementation(x.astype(numpy_dtype)), np.float64)
        ratios = {
            "true": largest_ratio(true_result, y),
            "numpy": largest_ratio(round_to(got, dtype), y),
        }
        error = np.abs(x) * np.exp2(generator.integers(-30, 1, count))
        for end in (-1.0, -0.5, 0.7, 1.0):
            moved = x + end * error
            # Moving an operand rounds it by u of float64. The larger error allows for that.
            operand = Rounded(x, error * (1 + 2.0**-50) + 2.0**-52 * np.abs(x), precision)
            bounds = function.oracle(operand)
            ratios["moved"] = max(
                ratios.get("moved", 0.0), largest_ratio(compute_true(function, moved), bounds)
            )
    return ratios


def _arrays(dtype: str, seed: int) -> Iterator[Array]:
    """Arrays of rows of several lengths: centred, far from 0, nearly equal, and widely spread."""
    generator = np.random.default_rng(seed)
    for n in (2, 5, 8, 33, 64):
        for offset, scale in ((0.0, 1.0), (16.0, 1.0), (1.0, 0.01), (0.0, 8.0)):
            yield round_to(offset + scale * generator.standard_normal((100, n)), dtype)


def reduction_ratios(name: str, dtype: str, seed: int = 0) -> dict[str, float]:
    """Largest error ÷ bound of each form of a reduction; 16-bit dtypes compute in float32.

    Args:
        name: a key of `REDUCTIONS`.
        dtype: torch's name.
        seed: seed of the operands.
    """
    oracle, forms = REDUCTIONS[name]
    precision, ratios = Precision.of(dtype), dict[str, float]()
    work_dtype = working_precision(precision).dtype
    with np.errstate(all="ignore"):
        for x in _arrays(dtype, seed):
            expected = stored(oracle(widened(exact_operand(x, precision))), precision)
            for form, computed in forms.items():
                for order in ORDERS:
                    got = round_to(computed(StoredArithmetic(work_dtype, order), x), dtype)
                    ratios[form] = max(ratios.get(form, 0.0), largest_ratio(got, expected))
    return ratios


REDUCTIONS: dict[
    str, tuple[Callable[[Rounded], Rounded], dict[str, Callable[[StoredArithmetic, Array], Array]]]
] = {
    "total": (lambda x: reductions.total(x, 1), {"sum": lambda s, x: s.sum(x)}),
    "mean": (
        lambda x: reductions.mean(x, 1),
        {"quotient": lambda s, x: s.mean(x), "reciprocal": lambda s, x: s.mean(x, reciprocal=True)},
    ),
    "variance": (
        lambda x: reductions.variance(x, 1),
        {
            "two passes": lambda s, x: s.two_pass(x, 1.0),
            "Welford": lambda s, x: s.welford(x, 1.0),
            "E[x²]-E[x]² (wrong)": lambda s, x: s.one_pass(x, 1.0),
        },
    ),
    "softmax": (
        lambda x: reductions.softmax(x, 1),
        {
            "quotient": lambda s, x: s.softmax(x),
            "reciprocal": lambda s, x: s.softmax(x, reciprocal=True),
        },
    ),
    "log_softmax": (
        lambda x: reductions.log_softmax(x, 1),
        {
            "(x-m)-log": lambda s, x: s.log_softmax(x),
            "x-(m+log)": lambda s, x: s.log_softmax(x, together=True),
        },
    ),
}


def all_ratios() -> Iterator[tuple[str, str, dict[str, float]]]:
    """Operation, dtype and ratios, for all operations and dtypes."""
    for name in FUNCTIONS:
        for dtype in DTYPES:
            yield name, dtype, elementary_ratios(name, dtype)
    for name in REDUCTIONS:
        for dtype in DTYPES:
            yield name, dtype, reduction_ratios(name, dtype)


def main() -> None:
    """Print the table."""
    for name, dtype, ratios in all_ratios():
        text = "  ".join(f"{what} {peak:.3g}" for what, peak in ratios.items())
        print(f"{name:24} {dtype:10} {text}")


if __name__ == "__main__":
    main()
