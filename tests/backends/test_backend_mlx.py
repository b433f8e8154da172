"""The MLX adapter: checks that it passes, calls that it declines, and bugs planted in it."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import numpy as np
import pytest
from support import assert_declined, status

pytest.importorskip("mlx.core")

from conformance import Call, Unsupported
from conformance.backends.adapters import mlx as adapter

_status = partial(status, adapter.backend)


@pytest.mark.parametrize(
    "layer",
    [
        "Conv1d", "functional.conv2d", "LSTM", "GRU", "RNN", "Bilinear", "ReLU", "functional.tanh",
        "functional.gelu", "Softshrink", "LayerNorm", "functional.rms_norm", "Embedding",
        "Dropout3d", "UpsamplingBilinear2d", "Upsample",
        "MultiheadAttention", "NLLLoss", "functional.gaussian_nll_loss", "functional.kl_div",
        "TransformerEncoderLayer",
    ],
)  # fmt: skip
def test_values_pass(layer: str) -> None:
    assert _status(layer) == "passed"


@pytest.mark.parametrize(
    ("layer", "check", "dtype"),
    [
        ("Conv2d", "values", "float64"),
        ("GRU", "values", "float64"),
        ("ConvTranspose1d", "shape", "float32"),
        ("functional.linear", "errors", "float32"),
        ("LSTM", "errors", "float16"),
        ("LeakyReLU", "values", "float32"),
        ("functional.celu", "gradients", "float32"),
        ("functional.embedding", "errors", "float32"),
        ("Softmax", "values", "float32"),
        ("LogSoftmax", "gradients", "float64"),
        ("UpsamplingBilinear2d", "shape", "float16"),
        ("GaussianNLLLoss", "gradients", "float32"),
        ("functional.binary_cross_entropy", "errors", "float16"),
    ],
)
def test_its_bugs_are_known(layer: str, check: str, dtype: str) -> None:
    assert _status(layer, check, dtype) == "known"


def test_gradients_pass() -> None:
    assert _status("GRU", "gradients") == "passed"


@pytest.mark.parametrize("layer", ["functional.gelu", "Linear", "Embedding"])
def test_transforms_pass(layer: str) -> None:
    assert _status(layer, "transforms") == "passed"


def test_layouts_are_views() -> None:
    assert _status("functional.conv2d", "layout") == "passed"


def test_swapped_gates_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = adapter._mlx_weights

    def swapped(layer: str, state: Any) -> dict[str, Any]:
        gates = original(layer, state)
        return {**gates, "Wx": adapter.mx.roll(gates["Wx"], 1, 0)} if gates else gates

    monkeypatch.setattr(adapter, "_mlx_weights", swapped)
    assert _status("LSTM") == "failed"


def test_a_dropped_dilation_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = adapter._mlx_arguments
    monkeypatch.setattr(
        adapter, "_mlx_arguments", lambda call, given: {**original(call, given), "dilation": 1}
    )
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
    all_arguments = {"in_channels": 2, "out_channels": 2, "kernel_size": 1, **arguments}
    assert_declined(adapter.backend, layer, all_arguments, (1, 2) + (3,) * int(layer[-2]), reason)


@pytest.mark.parametrize(
    ("layer", "arguments", "shape", "reason"),
    [
        ("ReLU", {"inplace": True}, (2,), "inplace=True"),
        ("functional.softplus", {"beta": 2.0}, (2,), "beta=2.0"),
        ("BatchNorm1d", {"num_features": 3, "momentum": None}, (2, 3), "momentum=None"),
        ("InstanceNorm1d", {"num_features": 3, "track_running_stats": True}, (2, 3, 4),
         "track_running_stats=True"),
        ("LayerNorm", {"normalized_shape": (2, 3)}, (2, 3), "normalized_shape of several axes"),
        ("RMSNorm", {"normalized_shape": 3}, (2, 3), "eps=None"),
        ("Dropout2d", {}, (2, 3, 4), "an input of 3 axes"),
        ("Softmax", {}, (2, 3), "dim=None"),
        ("TransformerEncoderLayer", {"d_model": 2, "nhead": 1}, (1, 2), "initial values"),
        ("Upsample", {"scale_factor": 1.25}, (1, 1, 4), "scale_factor=1.25 of length 4"),
        ("Upsample", {"size": 4}, (1, 1, 4), "size=4"),
        ("functional.interpolate", {"scale_factor": 2.0, "mode": "bilinear", "antialias": True},
         (1, 1, 2, 2), "scale_factor=2.0 of length 2"),
        ("functional.softmax", {"dim": 1, "dtype": "float64"}, (2, 3), "dtype="),
    ],
)  # fmt: skip
def test_what_other_families_lack_is_declined(
    layer: str, arguments: dict[str, Any], shape: tuple[int, ...], reason: str
) -> None:
    assert_declined(adapter.backend, layer, arguments, shape, reason)


@pytest.mark.parametrize(
    ("mask", "padding", "reason"),
    [((1, 1), None, "a mask of bool"), (None, (1,), "masks of keys")],
)
def test_transformers_add_numbers_and_hide_no_keys(
    mask: tuple[int, ...] | None, padding: tuple[int, ...] | None, reason: str
) -> None:
    sizes = {"in_proj_weight": (6, 2), "in_proj_bias": 6, "out_proj.weight": (2, 2)}
    shapes = {f"self_attn.{k}": x for k, x in {**sizes, "out_proj.bias": 2}.items()}
    shapes |= {"linear1.weight": (3, 2), "linear1.bias": 3, "linear2.weight": (2, 3)}
    shapes |= dict.fromkeys(
        ("linear2.bias", "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias"), 2
    )
    state = {name: np.ones(shape) for name, shape in shapes.items()}
    arguments = {"d_model": 2, "nhead": 1, "dim_feedforward": 3}
    built = adapter.backend.build(
        Call("TransformerEncoderLayer", arguments, state, "float32", "cpu")
    )
    src = built.put(np.ones((1, 2)))
    assert built.get(built(src)).shape == (1, 2)
    masks = (None if x is None else built.put(np.zeros(x, bool)) for x in (mask, padding))
    with pytest.raises(Unsupported, match=reason):
        built(src, *masks)


def test_running_statistics_are_updated() -> None:
    state = {
        name: np.full(2, value)
        for name, value in {"running_mean": 0.0, "running_var": 1.0, "weight": 1.0}.items()
    }
    state |= {"bias": np.zeros(2), "num_batches_tracked": np.array(3)}
    call = Call("BatchNorm1d", {"num_features": 2}, state, "float32", "cpu", training=True)
    layer = adapter.backend.build(call)
    layer(layer.put(np.array([[0.0, 10.0], [2.0, 30.0]])))
    new_state = {name: layer.get(x) for name, x in layer.state().items()}
    np.testing.assert_allclose(new_state["running_mean"], [0.1, 2.0], rtol=1e-6)
    np.testing.assert_allclose(
        new_state["running_var"], [1.1, 20.9], rtol=1e-6
    )  # unbiased: 2 and 200
    assert new_state["num_batches_tracked"] == 4


@pytest.mark.parametrize("layer", ["functional.conv1d", "functional.conv_transpose1d"])
@pytest.mark.parametrize("shape", [(1,), (2,), (4,), (), (1, 3)])
def test_a_bias_of_another_shape_is_refused(layer: str, shape: tuple[int, ...]) -> None:
    function = adapter.backend.build(Call(layer, {}, {}, "float32", "cpu"))
    weight = (3, 2, 1) if layer == "functional.conv1d" else (2, 3, 1)
    x, w = function.put(np.ones((1, 2, 4))), function.put(np.ones(weight))
    assert function.get(function(x, w, function.put(np.ones(3)))).shape == (1, 3, 4)
    with pytest.raises(ValueError, match=re.escape(f"bias of shape {shape}: expected (3,)")):
        function(x, w, function.put(np.ones(shape)))
