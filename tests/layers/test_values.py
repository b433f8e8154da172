"""Large arrays are compared piece by piece, and come to what they would come to as a whole."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded
from conformance.checks import values
from conformance.checks.trial import Evidence
from conformance.model.failure import Failure

SHAPE = (3, 2 * values._BLOCK // 5, 2)


def _large_arrays() -> tuple[np.ndarray, Rounded]:
    """Within their bounds: some exact, some infinite, some of which nothing is known."""
    generator = np.random.default_rng(0)
    value = generator.standard_normal(SHAPE)
    error = np.abs(value) * 2.0**-20
    error[generator.random(SHAPE) < 0.3] = 0.0
    value[0, :100] = np.inf
    got = value + error * generator.uniform(-1, 1, SHAPE)
    error[1, :100] = np.inf
    got[1, :100] = 7.0
    value[2, :100] = np.nan
    error[2, :100] = np.inf
    return got, Rounded(value, error, Precision.of("float32", None))


def _compare_at_once(
    monkeypatch: pytest.MonkeyPatch, got: np.ndarray, expected: Rounded
) -> Evidence:
    with monkeypatch.context() as patch:
        patch.setattr(values, "_BLOCK", got.size)
        return values.compare("output", got, expected)


def test_pieces_add_up_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    got, expected = _large_arrays()
    pieces = values.compare("output", got, expected)
    assert pieces == _compare_at_once(monkeypatch, got, expected)
    assert pieces.comparisons == got.size - 400
    assert pieces.margin is not None
    assert 0.99 < pieces.margin <= 1


@pytest.mark.parametrize("place", list(product((0, 2), (100, SHAPE[1] - 1), (0, 1))))
def test_a_wrong_number_in_any_piece_is_told_with_its_place(
    monkeypatch: pytest.MonkeyPatch, place: tuple[int, int, int]
) -> None:
    got, expected = _large_arrays()
    got[place] = expected.value[place] + 2 * expected.error[place] + 1.0
    with pytest.raises(Failure) as by_pieces:
        values.compare("output", got, expected)
    assert f"output[{', '.join(map(str, place))}], the worst of 1 wrong of {got.size}" in str(
        by_pieces.value
    )
    with pytest.raises(Failure, match="the worst of 1 wrong") as at_once:
        _compare_at_once(monkeypatch, got, expected)
    assert str(by_pieces.value) == str(at_once.value)
