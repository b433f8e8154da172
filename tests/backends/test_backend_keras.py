"""The Keras adapter: checks that it passes, calls that it declines, and bugs planted in it."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

import numpy as np
import pytest
from support import assert_declined, status, verdict

os.environ.setdefault("KERAS_BACKEND", "torch")
pytest.importorskip("keras")

from conformance import Call, Unsupported
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
        ("functional.binary_cross_entropy_with_logits", "values", "float32"),
        ("SmoothL1Loss", "gradients", "float32"),
    ],
)
def test_items_pass(layer: str, check: str, dtype: str) -> None:
    assert _status(layer, check, dtype) == "passed"


@pytest.mark.parametrize(
    ("layer", "check", "dtype"),
    [
        ("functional.scaled_dot_product_attention", "values", "float32"),
        ("CrossEntropyLoss", "gradients", "float32"),
        ("functional.mse_loss", "shape", "float64"),
    ],
)
def test_its_bugs_are_known(layer: str, check: str, dtype: str) -> None:
    assert _status(layer, check, dtype) == "known"


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


@pytest.mark.parametrize(
    ("layer", "arguments", "shapes", "reason"),
    [
        ("SmoothL1Loss", {"beta": 2.0}, ((2,), (2,)), "beta=2.0"),
        ("PoissonNLLLoss", {}, ((2,), (2,)), "log_input=True"),
        ("MSELoss", {}, ((2, 1), (2,)), "inputs of several shapes"),
        ("CrossEntropyLoss", {"ignore_index": 0}, ((2, 3), (2, 3)),
         "an ignored class of probabilities"),
        ("functional.scaled_dot_product_attention", {}, ((2, 3), (2, 3), (2, 4)),
         "values of another shape than keys"),
    ],
)  # fmt: skip
def test_what_losses_and_attention_lack_is_declined(
    layer: str, arguments: dict[str, Any], shapes: tuple[tuple[int, ...], ...], reason: str
) -> None:
    built = adapter.backend.build(Call(layer, arguments, {}, "float32", "cpu"))
    with pytest.raises(Unsupported, match=reason):
        built(*(built.put(np.ones(shape)) for shape in shapes))


def test_the_usual_eps_is_back_after_a_poisson_loss() -> None:
    usual_eps, arguments = adapter.keras.config.epsilon(), {"log_input": False, "eps": 0.5}
    built = adapter.backend.build(Call("PoissonNLLLoss", arguments, {}, "float32", "cpu"))
    y = built(built.put(np.full(1, 0.5)), built.put(np.ones(1)))
    assert built.get(y) == 0.5
    assert adapter.keras.config.epsilon() == usual_eps


def test_losses_with_weights_divide_by_their_sum() -> None:
    built = adapter.backend.build(Call("functional.l1_loss", {}, {}, "float32", "cpu"))
    y = built(*(built.put(np.array(x)) for x in ([2.0, 4.0], [0.0, 0.0], [1.0, 3.0])))
    assert built.get(y) == 3.5


def test_what_keras_documents_of_padding_is_accepted_on_purpose() -> None:
    accepted_count = verdict(adapter.backend, "Conv1d", "errors", examples=120).accepted
    assert set(accepted_count) == {"'same' with a stride", "unknown padding string"}


def test_classes_of_floating_point_are_accepted_on_purpose() -> None:
    accepted_count = verdict(adapter.backend, "CrossEntropyLoss", "errors", examples=120).accepted
    assert accepted_count["indices of another dtype"] > 0
