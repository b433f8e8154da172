"""Intermediate results that a backend declares as stored get a wider bound, and no others do."""

from __future__ import annotations

import numpy as np
import pytest

from conformance.arithmetic.half_precision import stepwise_if_declared, stored_if_declared, widened
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.model.case import STORED, Numerics
from conformance.model.formats import FORMATS


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_result_is_stored_only_where_its_name_is_declared(dtype: str) -> None:
    undeclared = Precision.of(dtype, Numerics(stored=("row_norm",)))
    declared = Precision.of(dtype, Numerics(stored=("bag_sum",)))
    for precision in (undeclared, declared):
        x = widened(exact_operand(np.array([3.0]), precision)) * widened(
            exact_operand(np.array([0.3]), declared)
        )
        widening = stored_if_declared(x, "bag_sum").error - x.error
        assert (widening >= 0.9 * FORMATS[dtype].unit).all() == (precision is declared)
        is_coarse = stepwise_if_declared(x, "bag_sum").precision.unit == FORMATS[dtype].unit
        assert is_coarse == (precision is declared)


def test_float32_stores_nothing_and_a_name_must_be_known() -> None:
    x = exact_operand(np.array([1.0]), Precision.of("float32", Numerics(stored=tuple(STORED))))
    assert stored_if_declared(x, "bag_sum") is x
    with pytest.raises(ValueError, match="expected one of batch_statistics"):
        Numerics(stored=("statistics",))
