"""The ONNX adapters: what they pass, that a bug in them is caught, and what they decline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from support import assert_declined, status

from conformance.backends.door import inner
from conformance.backends.registry import load
from conformance.model.case import Call, Unsupported

pytest.importorskip("onnx")

BACKENDS = {
    "onnxruntime": ("onnxruntime", "conformance.backends.adapters.onnxruntime:backend"),
    "onnx-reference": ("onnx", "conformance.backends.adapters.onnx_reference:backend"),
    "openvino-f32": ("openvino", "conformance.backends.adapters.openvino:f32"),
}


def _backend(name: str) -> Any:
    package, where = BACKENDS[name]
    pytest.importorskip(package)
    return inner(load(where))


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("layer", ["Linear", "Conv1d", "GRU", "functional.bilinear", "Identity"])
@pytest.mark.parametrize("check", ["shape", "values"])
def test_passes_or_knows(name: str, layer: str, check: str) -> None:
    assert status(_backend(name), layer, check, examples=12) in ("passed", "known")


@pytest.mark.parametrize(
    ("layer", "spoil"),
    [
        ("LSTM", lambda m: m.setitem(_recurrent().GATES, "LSTM", (0, 1, 2, 3))),
        ("GRU", lambda m: m.setitem(_recurrent().GATES, "GRU", (0, 1, 2))),
        ("Conv2d", lambda m: m.setattr(_sums(), "sizes", lambda value, dims: [1] * dims)),
        ("ConvTranspose1d", lambda m: m.setattr(_sums(), "_name", lambda value: None)),
    ],
)
def test_a_bug_in_the_adapter_is_caught(
    monkeypatch: pytest.MonkeyPatch, layer: str, spoil: Any
) -> None:
    backend = _backend("onnxruntime")
    monkeypatch.setattr(
        "conformance.failures.investigate.shrink", lambda *arguments, **keywords: None
    )
    assert status(backend, layer, examples=60) in ("passed", "known")
    spoil(monkeypatch)
    if layer.startswith("Conv"):
        monkeypatch.setattr("conformance.run.engine.stale_entries", lambda *arguments: [])
    assert status(backend, layer, examples=60) == "failed"


def _recurrent() -> Any:
    from conformance.backends.adapters import onnx_recurrent

    return onnx_recurrent


def _sums() -> Any:
    from conformance.backends.adapters import onnx_sums

    return onnx_sums


@pytest.mark.parametrize(
    ("layer", "arguments", "shape", "reason"),
    [
        (
            "LSTM",
            {"input_size": 2, "hidden_size": 3, "proj_size": 2},
            (1, 2),
            "proj_size=2",
        ),
        (
            "ConvTranspose1d",
            {"in_channels": 1, "out_channels": 1, "kernel_size": 1, "padding_mode": "reflect"},
            (1, 1),
            "padding_mode='reflect'",
        ),
        ("Linear", {"in_features": 1, "out_features": 1, "other": 2}, (1,), "other=2"),
        (
            "RNN",
            {"input_size": 1, "hidden_size": 1, "nonlinearity": "sigmoid"},
            (1, 1),
            "nonlinearity='sigmoid'",
        ),
    ],
)
def test_declines_what_onnx_lacks(
    layer: str, arguments: dict[str, Any], shape: tuple[int, ...], reason: str
) -> None:
    assert_declined(_backend("onnxruntime"), layer, arguments, shape, reason)


def test_a_missing_kernel_is_not_offered() -> None:
    backend = _backend("onnxruntime")
    assert backend.offers("Linear", "float64", "cpu")
    assert not backend.offers("Conv1d", "float64", "cpu")
    built = backend.build(
        Call("functional.conv1d", {}, {}, "float64", "cpu"),
    )
    with pytest.raises(Unsupported, match="Could not find an implementation for Conv"):
        built(built.put(np.ones((1, 1))), built.put(np.ones((1, 1, 1))))


def test_bfloat16_comes_back_bit_for_bit() -> None:
    built = _backend("onnxruntime").build(Call("Identity", {}, {}, "bfloat16", "cpu"))
    values = np.array([1.5, -0.0, np.inf, 2.0**-133])
    got = built.get(built(built.put(values)))
    assert np.array_equal(got, values)
    assert np.array_equal(np.signbit(got), np.signbit(values))


@pytest.mark.parametrize("layout", ["transposed", "sliced", "offset", "expanded"])
def test_layouts_hold_the_same_numbers(layout: str) -> None:
    built = _backend("onnxruntime").build(Call("Identity", {}, {}, "float32", "cpu"))
    values = np.ones((2, 3, 4)) if layout == "expanded" else np.arange(24.0).reshape(2, 3, 4)
    native = built.put(values, layout)
    assert np.array_equal(built.get(native), values)
    assert layout == "offset" or not native.flags.c_contiguous
