"""How a correct implementation may round: a format and what the backend declares."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.model.case import ULP, Numerics
from conformance.model.formats import FORMATS, REAL_DTYPE, format_of
from conformance.model.grades import CLOSE, EXACT


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
        ulps, absolutes: declared accuracy of elementary functions, (name, largest error) each.
        operand_unit: unit roundoff of reading an operand.
        complex: whether the dtype is complex.
        saturates: tanh and the logistic function reach their limits exactly (`saturation`).
        stepwise: every step of a composite is stored in the dtype (`working_precision`).
        stored: names of intermediate results that the backend stores in the dtype
            (`stored_if_declared`).
        store: the dtype in which a wide composite stores its result; empty if it is not wide.
        grade: `EXACT` or `CLOSE` where answers are compared by the bound of that grade instead.
        values_only: errors are not computed and are 0, as in slopes of a network.
        others: the precision of each other dtype that the call names.
    """

    dtype: str
    unit: float
    sum_unit: float
    wide_unit: float
    bits: int
    underflow: float
    normal: float
    largest: float
    ulps: tuple[tuple[str, float], ...] = ()
    absolutes: tuple[tuple[str, float], ...] = ()
    operand_unit: float = 0.0
    complex: bool = False
    saturates: bool = True
    stepwise: bool = False
    stored: frozenset[str] = frozenset()
    store: str = ""
    grade: str = ""
    values_only: bool = False
    others: tuple[Precision, ...] = ()

    def ulp(self, name: str) -> float:
        """Largest error of an elementary function, in units in the last place."""
        for declared, error in self.ulps:
            if declared == name:
                return error
        return ULP[name]

    def absolute_error(self, name: str) -> float:
        """Largest absolute error of an elementary function, in addition to its `ulp`."""
        for declared, error in self.absolutes:
            if declared == name:
                return error
        return 0.0

    def has_standard_accuracy(self, name: str) -> bool:
        """Whether a function has the default accuracy, so that C's Annex F values are exact.

        A backend that declares less accuracy may compute the function in another form, which need
        not be exact anywhere.
        """
        if not (self.ulps or self.absolutes):
            return True
        return self.ulp(name) <= ULP[name] and not self.absolute_error(name)

    @property
    def is_half(self) -> bool:
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
        target = format_of(dtype)
        unit, bits = max(target.unit, numerics.unit_roundoff or 0.0), target.bits
        half = dtype in ("bfloat16", "float16")
        if numerics.accumulation is not None:
            accumulation = format_of(numerics.accumulation)
            sum_unit = wide_unit = max(accumulation.unit, numerics.unit_roundoff or 0.0)
            bits = min(bits, accumulation.bits)
        else:
            sum_unit = unit
            wide_unit = FORMATS["float32"].unit if half and not numerics.unit_roundoff else unit
        exact = not numerics.inexact and unit == target.unit
        return cls(
            dtype=dtype,
            unit=unit,
            sum_unit=sum_unit,
            wide_unit=wide_unit,
            bits=bits if exact else 0,
            underflow=target.normal if numerics.flush_to_zero else target.tiny,
            normal=target.normal,
            largest=target.largest,
            ulps=tuple(sorted(numerics.ulp.items())),
            absolutes=tuple(sorted(numerics.absolute.items())),
            operand_unit=numerics.operand_roundoff,
            complex=dtype in REAL_DTYPE,
            saturates=all(
                numerics.ulp.get(name, ULP[name]) <= ULP[name] and not numerics.absolute.get(name)
                for name in ("tanh", "sigmoid")
            ),
            # Where the unit roundoff is declared, it is that of every operation.
            stepwise=numerics.stepwise or bool(numerics.unit_roundoff),
            stored=frozenset(numerics.stored),
            grade=numerics.grade if numerics.grade in (EXACT, CLOSE) else "",
        )
