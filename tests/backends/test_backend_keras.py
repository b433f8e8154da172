"""The Keras adapter: checks that it passes, calls that it declines, and bugs planted in it."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import pytest
from support import assert_declined, status, verdict

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("keras")

from conformance.backends.adapters import keras as adapter
from conformance.backends.adapters.keras import attention as keras_attention

_status = partial(status, adapter.backend)


@pytest.mark.parametrize(
    ("layer", "check", "dtype"),
    [
        ("Conv2d", "values", "float32"),
        ("LazyConv1d", "values", "float64"),
        ("ConvTranspose1d", "values", "float32"),
        ("LSTM", "values", "bfloat16"),
        ("GRU", "gradients", "float32"),
        ("Linear", "layout", "float32"),
        ("MultiheadAttention", "gradients", "float32"),
    ],
)
def test_items_pass(layer: str, check: str, dtype: str) -> None:
    assert _status(layer, check, dtype) == "passed"


def test_swapped_gates_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = adapter._gates
    monkeypatch.setattr(adapter, "_gates", lambda layer, state: original("LSTM", state))
    assert _status("GRU") == "failed"


def test_a_mask_that_hides_what_it_should_show_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras_attention, "_open", lambda mask, name: mask)
    assert _status("MultiheadAttention") == "failed"


def test_a_dropped_dilation_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = adapter._window

    def without_dilation(*arguments: Any) -> dict[str, Any]:
        return {**original(*arguments), "dilation_rate": 1}

    monkeypatch.setattr(adapter, "_window", without_dilation)
    assert _status("Conv1d", examples=120) == "failed"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"padding": 1}, "padding by numbers"),
        ({"padding_mode": "circular"}, "padding_mode='circular'"),
        ({"stride": 2, "dilation": 2}, "stride>1 with dilation>1"),
    ],
)
def test_what_it_lacks_is_declined(arguments: dict[str, Any], reason: str) -> None:
    all_arguments = {"in_channels": 2, "out_channels": 2, "kernel_size": 1, **arguments}
    assert_declined(adapter.backend, "Conv1d", all_arguments, (1, 2, 3), reason)


def test_what_keras_documents_of_padding_is_accepted_on_purpose() -> None:
    accepted_count = verdict(adapter.backend, "Conv1d", "errors", examples=120).accepted
    assert set(accepted_count) == {"'same' with a stride", "unknown padding string"}
