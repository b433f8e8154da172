"""The MLX adapter: what it passes, what it declines, and bugs planted in it."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from support import assert_declined, status

pytest.importorskip("mlx.core")

from conformance.backends import mlx as adapter

_status = partial(status, adapter.backend)


@pytest.mark.parametrize("layer", ["Conv1d", "functional.conv2d", "LSTM", "GRU", "RNN", "Bilinear"])
def test_values_pass(layer: str) -> None:
    assert _status(layer) == "passed"


@pytest.mark.parametrize(
    ("layer", "check", "dtype"),
    [
        ("Conv2d", "values", "float64"),
        ("GRU", "values", "float64"),
        ("ConvTranspose1d", "shape", "float32"),
        ("Linear", "values", "float32"),
    ],
)
def test_its_bugs_are_known(layer: str, check: str, dtype: str) -> None:
    assert _status(layer, check, dtype) == "known"


def test_gradients_pass() -> None:
    assert _status("GRU", "gradients") == "passed"


def test_layouts_are_views() -> None:
    assert _status("functional.conv2d", "layout") == "passed"


def test_swapped_gates_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    own = adapter._gates

    def swapped(layer: str, state: Any) -> dict[str, Any]:
        found = own(layer, state)
        return {**found, "Wx": adapter.mx.roll(found["Wx"], 1, 0)} if found else found

    monkeypatch.setattr(adapter, "_gates", swapped)
    assert _status("LSTM") == "failed"


def test_a_dropped_dilation_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    own = adapter._sizes
    monkeypatch.setattr(adapter, "_sizes", lambda call, given: {**own(call, given), "dilation": 1})
    assert _status("Conv1d") == "failed"


@pytest.mark.parametrize(
    ("layer", "arguments", "reason"),
    [
        ("Conv2d", {"padding_mode": "circular"}, "padding_mode='circular'"),
        ("Conv2d", {"padding": "same"}, "padding='same'"),
        ("Conv3d", {"groups": 2}, "groups>1"),
        ("ConvTranspose2d", {"groups": 2}, "groups>1"),
    ],
)
def test_what_it_lacks_is_declined(layer: str, arguments: dict[str, Any], reason: str) -> None:
    given = {"in_channels": 2, "out_channels": 2, "kernel_size": 1, **arguments}
    assert_declined(adapter.backend, layer, given, (1, 2) + (3,) * int(layer[-2]), reason)
