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
    for _, dtype, found in search.search([layer], cases=8, seed=0):
        assert found.numbers > 50, dtype
        assert not found.beyond, "\n".join(found.beyond[:5])


def _steep(dtype: str) -> search.Drawn:
    """LSTMCell(1, 1) at x = 8, whose new gate is tanh 32 and whose input gate is σ(21)."""
    one = np.ones((1, 1))
    state = {
        "weight_ih": np.array([[2.625], [0.0], [4.0], [0.0]]),
        "weight_hh": np.zeros((4, 1)), "bias_ih": np.zeros(4), "bias_hh": np.zeros(4),
    }  # fmt: skip
    return search.Drawn("LSTMCell", dtype, 8 * one[None], (0 * one, 0 * one), state, (0 * one, one))


@pytest.mark.parametrize("dtype", search.DTYPES)
def test_gradient_where_tanh_is_at_its_limit_is_the_true_one(dtype: str) -> None:
    drawn = _steep(dtype)
    _, gradients = search.bounded(drawn)
    value, bound = (float(array[2, 0]) for array in (gradients[3].value, gradients[3].error))
    assert value == pytest.approx(8 * 4 * math.exp(-64) / (1 + math.exp(-21)), rel=1e-14)
    assert abs(value - 5.13219484586e-27) < 1e-38
    # 5.1321992e-27 is what torch says in float32; 1 − tanh² is 0; no more than that.
    for got in (5.1321992e-27, 0.0):
        assert abs(got - value) <= bound < 1.001 * value
    found = search.Found()
    found.look(drawn, np.random.default_rng(0))
    assert not found.beyond, "\n".join(found.beyond)


def test_a_slope_that_cancels_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def cancelling(x: Rounded, slope: np.ndarray, by_result: Rounded, *others: object) -> Rounded:
        """An earlier oracle: 1 − t·t, or 0 with the largest value of 1/cosh² as its error."""
        error = np.where(by_result.error == 0, slope, by_result.error)
        return Rounded(by_result.value, error, by_result.precision)

    monkeypatch.setattr(activations, "_either", cancelling)
    for _, dtype, found in search.search(["RNNCell tanh"], cases=20, seed=0):
        assert any("gradient" in line for line in found.beyond), dtype


def test_the_script_says_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert search.main(["--cases", "1", "--layer", "GRUCell"]) == 0
    head, _, *rows = capsys.readouterr().out.splitlines()
    assert head.count("|") == rows[0].count("|")
    assert [row.split(" | ")[:2] for row in rows] == [
        ["| GRUCell", "float32"], ["| GRUCell", "float64"],
    ]  # fmt: skip
