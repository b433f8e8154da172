"""How a correct implementation may round: a format and what the backend declares."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.model.case import Numerics
from conformance.model.formats import FORMATS, REAL, format_of


@dataclass(frozen=True)
class Precision:
    """How a correct implementation may round: a format and the backend's `Numerics`.

    Args:
        dtype: torch's name of the dtype.
        unit: unit roundoff of a stored result.
        sum_unit: unit roundoff inside an ordinary sum.
        wide_unit: unit roundoff inside a sum of Linear or of a forward convolution.
        bits: significant bits up to which integer arithmetic is exact; 0 = never.
        underflow: largest absolute error of an operation that underflows.
        normal, largest: range of the format.
        tanh_ulp, sigmoid_ulp, tanh_absolute, sigmoid_absolute: accuracy of the activations.
        operand_unit: unit roundoff of an operand as it is read.
        complex: whether the dtype is complex.
        saturates: tanh and the logistic function reach their limits exactly (`saturation`).
    """

    dtype: str
    unit: float
    sum_unit: float
    wide_unit: float
    bits: int
    underflow: float
    normal: float
    largest: float
    tanh_ulp: float
    sigmoid_ulp: float
    tanh_absolute: float = 0.0
    sigmoid_absolute: float = 0.0
    operand_unit: float = 0.0
    complex: bool = False
    saturates: bool = True

    @property
    def half(self) -> bool:
        """Whether the dtype is one of the two 16-bit formats."""
        return self.dtype in ("bfloat16", "float16")

    @property
    def flushes(self) -> bool:
        """Whether subnormal numbers may be read or stored as zero."""
        return self.underflow >= self.normal

    @classmethod
    def of(cls, dtype: str, numerics: Numerics | None = None) -> Precision:
        """The precision of a dtype on a backend.

        Args:
            dtype: torch's name of a floating-point or complex dtype.
            numerics: what the backend declares; None = IEEE arithmetic as torch does it.
        """
        numerics = numerics or Numerics()
        own = format_of(dtype)
        unit = max(own.unit, numerics.unit_roundoff or 0.0)
        half = dtype in ("bfloat16", "float16")
        if numerics.accumulation is not None:
            sum_unit = wide_unit = max(
                format_of(numerics.accumulation).unit, numerics.unit_roundoff or 0.0
            )
        else:
            sum_unit = unit
            wide_unit = FORMATS["float32"].unit if half and not numerics.unit_roundoff else unit
        exact = not numerics.inexact and unit == own.unit
        return cls(
            dtype=dtype,
            unit=unit,
            sum_unit=sum_unit,
            wide_unit=wide_unit,
            bits=own.bits if exact else 0,
            underflow=own.normal if numerics.flush_to_zero else own.tiny,
            normal=own.normal,
            largest=own.largest,
            tanh_ulp=numerics.tanh_ulp,
            sigmoid_ulp=numerics.sigmoid_ulp,
            tanh_absolute=numerics.tanh_absolute,
            sigmoid_absolute=numerics.sigmoid_absolute,
            operand_unit=numerics.operand_roundoff,
            complex=dtype in REAL,
            saturates=numerics.tanh_ulp <= Numerics.tanh_ulp
            and numerics.sigmoid_ulp <= Numerics.sigmoid_ulp
            and not (numerics.tanh_absolute or numerics.sigmoid_absolute),
        )
