"""The Flax adapter: checks that it passes, calls that it declines, and bugs planted in it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from support import assert_declined, status, verdict

pytest.importorskip("flax")

from conformance import Call, Unsupported
from conformance.backends.adapters import flax as adapter
from conformance.backends.adapters.flax import parts as flax_parts

_status = partial(status, adapter.backend, examples=20)


@pytest.mark.parametrize(
    ("layer", "check", "dtype"),
    [
        ("Conv2d", "values", "float32"),
        ("ConvTranspose1d", "values", "float64"),
        ("LSTM", "values", "bfloat16"),
        ("RNNCell", "gradients", "float32"),
        ("LayerNorm", "values", "float16"),
        ("MaxPool1d", "values", "float32"),
        ("Dropout", "values", "float32"),
        ("ELU", "gradients", "float32"),
        ("MultiheadAttention", "values", "float32"),
        ("functional.scaled_dot_product_attention", "values", "float32"),
    ],
)
def test_items_pass(layer: str, check: str, dtype: str) -> None:
    assert _status(layer, check, dtype) in ("passed", "known")


def test_layouts_are_declined() -> None:
    assert _status("Linear", "layout") == "unsupported"


@pytest.mark.parametrize(
    ("layer", "arguments", "shape", "reason"),
    [
        ("GRUCell", {"input_size": 2, "hidden_size": 2}, (2,), "bias=True"),
        (
            "Conv1d",
            {"in_channels": 2, "out_channels": 2, "kernel_size": 3, "padding_mode": "replicate",
             "padding": 1},
            (1, 2, 4),
            "padding_mode='replicate'",
        ),
        ("MaxPool1d", {"kernel_size": 2, "ceil_mode": True}, (1, 2, 4), "ceil_mode=True"),
        # XLA would end the process.
        ("AvgPool1d", {"kernel_size": 1, "padding": -1}, (1, 2, 4), "padding below 0"),
        ("PReLU", {"num_parameters": 2}, (1, 2), "num_parameters=2"),
    ],
)  # fmt: skip
def test_what_it_lacks_is_declined(
    layer: str, arguments: dict[str, Any], shape: tuple[int, ...], reason: str
) -> None:
    assert_declined(adapter.backend, layer, arguments, shape, reason)


@pytest.mark.parametrize("mode", ["circular", "reflect"])
def test_a_padding_that_keeps_the_size_may_be_of_another_mode(mode: str) -> None:
    arguments = {"in_channels": 1, "out_channels": 1, "kernel_size": 3, "padding": 1}
    call = Call("Conv1d", {**arguments, "padding_mode": mode, "bias": False},
                {"weight": np.array([[[1.0, 0.0, 0.0]]])}, "float32", "cpu")  # fmt: skip
    built = adapter.backend.build(call)
    y = built.get(built(built.put(np.array([[1.0, 2.0, 3.0]]))))
    assert y.tolist() == [[3.0 if mode == "circular" else 2.0, 1.0, 2.0]]


def test_weights_are_no_zeros_where_none_are_given() -> None:
    built = adapter.backend.build(
        Call("Linear", {"in_features": 3, "out_features": 2}, {}, "float32", "cpu")
    )
    assert (built.get(built(built.put(np.ones((1, 3))))) != 0).all()


def test_swapped_channels_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = flax_parts.call_channels_last

    def keep_layout(function: Any, x: Any, dims: int) -> Any:
        return original(lambda x: function(x[::-1]), x, dims)

    monkeypatch.setattr(adapter, "call_channels_last", keep_layout)
    assert _status("Conv1d", dtype="float16") == "failed"


def test_what_flax_documents_is_accepted_on_purpose() -> None:
    accepted_count = verdict(adapter.backend, "Embedding", "errors", examples=60).accepted
    assert accepted_count["input not below num_embeddings"] > 0


@pytest.mark.parametrize(
    ("given", "mask", "reason"),
    [
        ({"need_weights": True}, None, "average_attn_weights=True"),
        ({"need_weights": False}, np.zeros((1, 1)), "attn_mask of numbers"),
    ],
)
def test_attention_has_neither_masks_of_numbers_nor_mean_weights(
    given: dict[str, Any], mask: np.ndarray | None, reason: str
) -> None:
    arguments = {"embed_dim": 2, "num_heads": 1}
    built = adapter.backend.build(Call("MultiheadAttention", arguments, {}, "float32", "cpu"))
    x = built.put(np.ones((1, 2)))
    with pytest.raises(Unsupported, match=reason):
        built(x, x, x, None, None if mask is None else built.put(mask), **given)


@pytest.mark.parametrize(
    ("given", "width", "reason"),
    [
        ({"scale": 2.0}, 2, "scale=2.0"),
        ({}, 1, "leading axes that are broadcast"),
    ],
)
def test_the_function_of_attention_has_one_scale_and_broadcasts_nothing(
    given: dict[str, Any], width: int, reason: str
) -> None:
    layer = "functional.scaled_dot_product_attention"
    built = adapter.backend.build(Call(layer, given, {}, "float32", "cpu"))
    query, key = built.put(np.ones((2, 1, 3))), built.put(np.ones((width, 1, 3)))
    with pytest.raises(Unsupported, match=reason):
        built(query, key, key)
