"""The JAX adapter: checks that it passes, calls that it declines, and bugs planted in it."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
import pytest
from support import assert_declined, status, verdict

pytest.importorskip("jax")

from conformance import Call
from conformance.backends.adapters import jax as adapter
from conformance.model.formats import format_of

_status = partial(status, adapter.backend)


@pytest.mark.parametrize(
    ("layer", "check", "dtype"),
    [
        ("Conv2d", "values", "float32"),
        ("functional.conv_transpose1d", "values", "float64"),
        ("LSTM", "values", "bfloat16"),
        ("GRU", "gradients", "float32"),
        ("functional.bilinear", "values", "float16"),
    ],
)
def test_items_pass(layer: str, check: str, dtype: str) -> None:
    assert _status(layer, check, dtype) == "passed"


def test_layouts_and_initial_values_are_declined() -> None:
    assert _status("functional.linear", "layout") == "unsupported"
    sizes = {"in_features": 2, "out_features": 2}
    assert_declined(adapter.backend, "Linear", sizes, (1, 2), "initial values")


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_subnormal_numbers_are_flushed_where_that_is_declared(dtype: str) -> None:
    built = adapter.backend.build(Call("functional.linear", {}, {}, dtype, "cpu"))
    tiny, one = built.put(np.array([[format_of(dtype).tiny]])), built.put(np.ones((1, 1)))
    flushed = bool(built.get(built(tiny, one)) == 0)
    assert flushed is adapter.backend.numerics(dtype).flush_to_zero


def test_swapped_gates_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = adapter._lstm

    def swapped(x: Any, h: Any, carry: Any, activation: Any) -> Any:
        return original(adapter.jnp.roll(x, 1, -1), h, carry, activation)

    monkeypatch.setitem(adapter._CELLS, 4, swapped)
    assert _status("LSTM", dtype="float16") == "failed"


def test_a_lost_mode_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    only_constant = dict.fromkeys(adapter.PADDING_MODES, "constant")
    monkeypatch.setattr(adapter, "PADDING_MODES", only_constant)
    assert _status("Conv1d", dtype="float16", examples=200) == "failed"


@pytest.mark.parametrize("layer", ["functional.conv1d", "functional.conv_transpose1d"])
@pytest.mark.parametrize("shape", [(1,), (2,), (4,), (), (1, 3)])
def test_a_bias_of_another_shape_is_refused(layer: str, shape: tuple[int, ...]) -> None:
    function = adapter.backend.build(Call(layer, {}, {}, "float32", "cpu"))
    weight = (3, 2, 1) if layer == "functional.conv1d" else (2, 3, 1)
    x, w = function.put(np.ones((1, 2, 4))), function.put(np.ones(weight))
    assert function.get(function(x, w, function.put(np.ones(3)))).shape == (1, 3, 4)
    with pytest.raises(ValueError, match=re.escape(f"bias of shape {shape}: expected (3,)")):
        function(x, w, function.put(np.ones(shape)))


@pytest.mark.parametrize("layer", ["MaxPool1d", "AvgPool1d"])
def test_a_window_for_which_xla_ends_the_process_is_declined(layer: str) -> None:
    arguments = {"kernel_size": 1, "padding": -1}
    assert_declined(adapter.backend, layer, arguments, (1, 1, 5), "padding below 0")


def test_negative_padding_is_accepted_on_purpose() -> None:
    errors = verdict(adapter.backend, "functional.conv2d", "errors", examples=120)
    assert errors.accepted["negative padding"] > 0
