"""True values, by 50 digits, and correct implementations lie within the bounds of the oracles."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("mpmath")

import mpmath_search as search

from conformance.arithmetic import activations
from conformance.arithmetic.rounded import Rounded


@pytest.mark.parametrize("layer", [*search.LAYERS, *search.CELLS])
def test_truth_and_correct_implementations_are_within_bounds(layer: str) -> None:
    for _, dtype, search_result in search.search([layer], cases=8, seed=0):
        assert search_result.numbers > 50, dtype
        assert not search_result.beyond, "\n".join(search_result.beyond[:5])


def _saturated_lstm(dtype: str) -> search.RecurrentCall:
    """LSTMCell(1, 1) at x = 8, whose new gate is tanh 32 and whose input gate is σ(21)."""
    ones = np.ones((1, 1))
    state = {
        "weight_ih": np.array([[2.625], [0.0], [4.0], [0.0]]),
        "weight_hh": np.zeros((4, 1)), "bias_ih": np.zeros(4), "bias_hh": np.zeros(4),
    }  # fmt: skip
    return search.RecurrentCall(
        "LSTMCell", dtype, 8 * ones[None], (0 * ones, 0 * ones), state, (0 * ones, ones)
    )


@pytest.mark.parametrize("dtype", search.DTYPES)
def test_gradient_where_tanh_is_at_its_limit_is_the_true_one(dtype: str) -> None:
    drawn = _saturated_lstm(dtype)
    _, gradients = search.oracle_bounds(drawn)
    value, bound = (float(array[2, 0]) for array in (gradients[3].value, gradients[3].error))
    assert value == pytest.approx(8 * 4 * math.exp(-64) / (1 + math.exp(-21)), rel=1e-14)
    assert abs(value - 5.13219484586e-27) < 1e-38
    # 5.1321992e-27 is what torch says in float32; 1 − tanh² is 0; no more than that.
    for got in (5.1321992e-27, 0.0):
        assert abs(got - value) <= bound < 1.001 * value
    search_result = search.SearchResult()
    search_result.compare_call(drawn, np.random.default_rng(0))
    assert not search_result.beyond, "\n".join(search_result.beyond)


def test_a_slope_that_cancels_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def cancelling_slope(
        x: Rounded, slope: np.ndarray, by_result: Rounded, *others: object
    ) -> Rounded:
        """An earlier oracle: 1 − t·t, or 0 with the largest value of 1/cosh² as its error."""
        error = np.where(by_result.error == 0, slope, by_result.error)
        return Rounded(by_result.value, error, by_result.precision)

    monkeypatch.setattr(activations, "_either", cancelling_slope)
    for _, dtype, search_result in search.search(["RNNCell tanh"], cases=20, seed=0):
        assert any("gradient" in line for line in search_result.beyond), dtype


def test_the_script_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert search.main(["--cases", "1", "--layer", "GRUCell"]) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head.count("|") == rows[0].count("|")
    assert [row.split(" | ")[:2] for row in rows] == [
        ["| GRUCell", "float32"], ["| GRUCell", "float64"],
    ]  # fmt: skip
