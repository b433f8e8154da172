"""Constants of the floating-point formats, and rounding to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Format:
    """A binary floating-point format.

    Args:
        unit: unit roundoff u, half the distance from 1 to the next number.
        bits: p, significant bits: integers up to 2^p are exact.
        tiny: smallest subnormal number.
        normal: smallest normal number.
        largest: largest finite number.
    """

    unit: float
    bits: int
    tiny: float
    normal: float
    largest: float


FORMATS = {
    "float64": Format(2.0**-53, 53, 2.0**-1074, 2.0**-1022, float(np.finfo(np.float64).max)),
    "float32": Format(2.0**-24, 24, 2.0**-149, 2.0**-126, (2 - 2.0**-23) * 2.0**127),
    "bfloat16": Format(2.0**-8, 8, 2.0**-133, 2.0**-126, (2 - 2.0**-7) * 2.0**127),
    "float16": Format(2.0**-11, 11, 2.0**-24, 2.0**-14, 65504.0),
}
REAL_DTYPE = {"complex64": "float32", "complex128": "float64"}


def format_of(dtype: str) -> Format:
    """The format of a dtype; for a complex dtype, the format of its parts.

    Raises:
        ValueError: for a dtype that is neither floating-point nor complex.
    """
    try:
        return FORMATS[REAL_DTYPE.get(dtype, dtype)]
    except KeyError:
        names = ", ".join([*FORMATS, *REAL_DTYPE])
        raise ValueError(f"dtype={dtype!r}: expected one of {names}") from None


def round_to(values: np.ndarray, dtype: str) -> np.ndarray:
    """Round values of any shape to the nearest numbers of `dtype`, ties to even.

    Takes and returns float64 or complex128; `dtype` is torch's name.
    """
    if np.iscomplexobj(values):
        real = REAL_DTYPE.get(dtype, dtype)
        return round_to(values.real, real) + 1j * round_to(values.imag, real)
    if dtype in ("float64", "complex128"):
        return values.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        if dtype == "float16":
            return values.astype(np.float16).astype(np.float64)
        if dtype in ("float32", "complex64"):
            return values.astype(np.float32).astype(np.float64)
        if dtype != "bfloat16":
            raise ValueError(f"dtype={dtype!r}: expected a floating-point or complex dtype")
        mantissa, exponent = np.frexp(values.astype(np.float64))
        # Below the smallest normal number the spacing stays the same.
        scale = np.maximum(exponent - 8, -133)
        rounded = np.ldexp(np.rint(np.ldexp(mantissa, exponent - scale)), scale)
        rounded = np.where(
            np.abs(rounded) > FORMATS["bfloat16"].largest, np.inf * np.sign(values), rounded
        )
        return np.where(np.isfinite(values), rounded, values)


def all_finite_numbers(dtype: str) -> np.ndarray:
    """All finite numbers of `"float16"` or `"bfloat16"` as float64, both zeros included."""
    bits = np.arange(1 << 16, dtype=np.uint16)
    if dtype == "float16":
        numbers = bits.view(np.float16).astype(np.float64)
    else:
        # A bfloat16 is the upper half of a float32.
        with np.errstate(invalid="ignore"):  # a signalling NaN
            numbers = (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return numbers[np.isfinite(numbers)]
