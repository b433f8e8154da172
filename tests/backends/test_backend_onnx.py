"""The ONNX adapters: checks that they pass, calls that they decline, and bugs planted in them."""

from __future__ import annotations

import importlib
from typing import Any

import forked
import numpy as np
import pytest
from support import assert_declined, status

from conformance.backends.guard import unguarded_backend
from conformance.backends.registry import load
from conformance.isolation.child import run_in_fork
from conformance.items.outcomes import Outcome
from conformance.model.case import Call, Unsupported

pytest.importorskip("onnx")

BACKENDS = {
    "onnxruntime": ("onnxruntime", "conformance.backends.adapters.onnx.onnxruntime:backend"),
    "onnx-reference": ("onnx", "conformance.backends.adapters.onnx.reference:backend"),
    "openvino-f32": ("openvino", "conformance.backends.adapters.openvino:f32"),
}


def _minimum(graph: Any, *names: str) -> Any:
    return graph.add("Min", *names)


def _load_backend(name: str) -> Any:
    package, address = BACKENDS[name]
    pytest.importorskip(package)
    return unguarded_backend(load(address))


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(
    "layer",
    [
        *("Linear", "Conv1d", "GRU", "functional.bilinear", "Identity"),
        *("PReLU", "functional.softmax", "BatchNorm1d", "functional.group_norm", "AvgPool1d"),
        *("MaxUnpool1d", "CircularPad2d", "PixelUnshuffle", "Fold", "functional.embedding"),
        *("functional.interpolate", "functional.grid_sample", "NLLLoss"),
        *("functional.scaled_dot_product_attention", "Network"),
    ],
)
@pytest.mark.parametrize("check", ["shape", "values"])
def test_passes_or_knows(name: str, layer: str, check: str) -> None:
    backend = _load_backend(name)
    if not backend.offers(layer, "float32", "cpu"):
        pytest.skip("not offered")
    assert status(backend, layer, check, examples=12) in ("passed", "known", "unsupported")


@pytest.mark.parametrize(
    ("layer", "spoil"),
    [
        ("LSTM", lambda m: m.setitem(_family_of("recurrent").GATES, "LSTM", (0, 1, 2, 3))),
        ("GRU", lambda m: m.setitem(_family_of("recurrent").GATES, "GRU", (0, 1, 2))),
        (
            "Conv2d",
            lambda m: m.setattr(_family_of("sums"), "per_dimension", lambda _, dims: [1] * dims),
        ),
        (
            "ConvTranspose1d",
            lambda m: m.setattr(_family_of("sums"), "_optional_name", lambda value: None),
        ),
        (
            "ReplicationPad1d",
            lambda m: m.setitem(_family_of("places").PAD_MODES, "replicate", "reflect"),
        ),
        (
            "Network",
            lambda m: m.setitem(_family_of("networks")._OPERATORS, "maximum", _minimum),
        ),
    ],
)
def test_a_bug_in_the_adapter_is_caught(
    monkeypatch: pytest.MonkeyPatch, layer: str, spoil: Any
) -> None:
    backend = _load_backend("onnxruntime")
    monkeypatch.setattr("conformance.items.stream.shrink", lambda *arguments, **keywords: None)
    assert status(backend, layer, examples=60) in ("passed", "known")
    spoil(monkeypatch)
    if layer.startswith("Conv"):
        monkeypatch.setattr("conformance.run.engine.find_not_failing", lambda *arguments: [])
    assert status(backend, layer, examples=60) == "failed"


def _family_of(name: str) -> Any:
    return importlib.import_module(f"conformance.backends.adapters.onnx.{name}")


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
        ("ReLU", {"inplace": True}, (1,), "inplace=True"),
        ("BatchNorm1d", {"num_features": 1, "momentum": None}, (2, 1), "momentum=None"),
        ("AvgPool2d", {"kernel_size": 1, "divisor_override": 2}, (1, 1, 1), "divisor_override=2"),
        ("LPPool1d", {"norm_type": 3, "kernel_size": 1}, (1, 1), "norm_type=3"),
        ("LocalResponseNorm", {"size": 2}, (1, 2, 1), "size=2"),
        ("Upsample", {"scale_factor": 1.1}, (1, 1, 9), "keeps in float32"),
    ],
)
def test_declines_what_onnx_lacks(
    layer: str, arguments: dict[str, Any], shape: tuple[int, ...], reason: str
) -> None:
    assert_declined(_load_backend("onnxruntime"), layer, arguments, shape, reason)


def test_a_missing_kernel_is_not_offered() -> None:
    backend = _load_backend("onnxruntime")
    assert backend.offers("Linear", "float64", "cpu")
    assert not backend.offers("Conv1d", "float64", "cpu")
    built = backend.build(
        Call("functional.conv1d", {}, {}, "float64", "cpu"),
    )
    with pytest.raises(Unsupported, match="Could not find an implementation for Conv"):
        built(built.put(np.ones((1, 1))), built.put(np.ones((1, 1, 1))))


def test_bfloat16_comes_back_bit_for_bit() -> None:
    built = _load_backend("onnxruntime").build(Call("Identity", {}, {}, "bfloat16", "cpu"))
    values = np.array([1.5, -0.0, np.inf, 2.0**-133])
    output = built.get(built(built.put(values)))
    assert np.array_equal(output, values)
    assert np.array_equal(np.signbit(output), np.signbit(values))


@pytest.mark.parametrize("layout", ["transposed", "sliced", "offset", "expanded"])
def test_layouts_hold_the_same_numbers(layout: str) -> None:
    built = _load_backend("onnxruntime").build(Call("Identity", {}, {}, "float32", "cpu"))
    values = np.ones((2, 3, 4)) if layout == "expanded" else np.arange(24.0).reshape(2, 3, 4)
    native = built.put(values, layout)
    assert np.array_equal(built.get(native), values)
    assert layout == "offset" or not native.flags.c_contiguous


def test_a_number_that_float32_does_not_have_is_declined_in_float64() -> None:
    built = _load_backend("onnx-reference").build(
        Call("LeakyReLU", {"negative_slope": 0.01}, {}, "float64", "cpu")
    )
    with pytest.raises(Unsupported, match=r"negative_slope=0\.01"):
        built(built.put(np.ones(1)))


def test_train_mode_moves_the_statistics() -> None:
    state = {
        "running_mean": np.zeros(1),
        "running_var": np.ones(1),
        "num_batches_tracked": np.array(0),
    }
    arguments = {"num_features": 1, "affine": False, "momentum": 0.5}
    built = _load_backend("onnx-reference").build(
        Call("BatchNorm1d", arguments, state, "float32", "cpu", training=True)
    )
    built(built.put(np.array([[0.0], [4.0]])))
    new_state = {name: built.get(native).item() for name, native in built.state().items()}
    # The mean is 2, the variance over n - 1 is 8.
    assert new_state == {"running_mean": 1.0, "running_var": 4.5, "num_batches_tracked": 1}


@pytest.mark.parametrize("name", BACKENDS)
def test_half_precision_moves_the_statistics_by_the_exact_momentum(name: str) -> None:
    """0.9·1 + 0.1·(−9) is 0; with 0.9 and 0.1 in float16 it is 1.2e-4."""
    statistics = {"running_mean": np.array([1.0]), "running_var": np.array([1.0])}
    state = {**statistics, "num_batches_tracked": np.array(0)}
    arguments = {"num_features": 1, "affine": False}
    call = Call("BatchNorm1d", arguments, state, "float16", "cpu", training=True)
    layer = _load_backend(name).build(call)
    layer(layer.put(np.array([[-10.0], [-8.0]])))
    assert abs(layer.get(layer.state()["running_mean"]).item()) < 1e-6


@pytest.mark.parametrize("name", BACKENDS)
def test_results_of_another_dtype_than_the_input(name: str) -> None:
    backend = _load_backend(name)
    built = backend.build(
        Call("MaxPool1d", {"kernel_size": 2, "return_indices": True}, {}, "float32", "cpu")
    )
    values, indices = built(built.put(np.array([[[0.0, 1.0, 3.0, 2.0]], [[5.0, 4.0, 6.0, 7.0]]])))
    assert built.get(values).tolist() == [[[1.0, 3.0]], [[5.0, 7.0]]]
    # Of the plane, not of the whole tensor.
    assert built.get(indices).tolist() == [[[1, 2]], [[0, 3]]]
    assert built.dtype(indices) == "int64"


@pytest.mark.parametrize(
    ("layer", "arguments", "state", "inputs", "wanted"),
    [
        ("ReLU", {}, {}, [np.array([-1.0, 2.0])], [0.0, 2.0]),
        ("functional.one_hot", {"num_classes": 2}, {}, [np.array([1, 0])], [[0, 1], [1, 0]]),
        (
            "NLLLoss", {"reduction": "none"}, {"weight": np.array([2.0, 3.0])},
            [np.array([[1.0, 4.0]]), np.array([1])], [-12.0],
        ),
        (
            "BatchNorm1d", {"num_features": 1, "affine": False, "eps": 1.0},
            {
                "running_mean": np.array([1.0]), "running_var": np.array([3.0]),
                "num_batches_tracked": np.array(5),
            },
            [np.array([[5.0]])], [[2.0]],
        ),
        (
            "Network",
            {
                "nodes": (
                    ("Linear", (("in_features", 1), ("out_features", 1), ("bias", False)), (-2,)),
                    ("sub", (), (-1, 0)),
                    ("output", (), (1,)),
                )
            },
            {"0.weight": np.array([[3.0]])}, [np.array([[7.0]]), np.array([[2.0]])], [[1.0]],
        ),
    ],
)  # fmt: skip
def test_what_is_exported_keeps_whole_numbers(
    layer: str, arguments: Any, state: Any, inputs: list[np.ndarray], wanted: Any
) -> None:
    """Modules without a state are exported as well; indices and counts stay int64."""
    for package in ("onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    backend = unguarded_backend(
        load("conformance.backends.adapters.onnx.onnxruntime_export:backend")
    )
    built = backend.build(Call(layer, arguments, state, "float32", "cpu"))
    assert built.get(built(*map(built.put, inputs))).tolist() == wanted


@pytest.mark.parametrize(
    ("layer", "arguments", "shapes"),
    [
        ("ReLU", {"inplace": True}, [(1,)]),
        ("functional.embedding", {"max_norm": 0.0}, [(1,), (1, 1)]),
        ("functional.batch_norm", {"training": True}, [(2, 1), (1,), (1,)]),
        ("functional.instance_norm", {}, [(1, 1, 2), (1,), (1,)]),
    ],
)
def test_what_writes_into_its_input_is_not_exported(
    layer: str, arguments: Any, shapes: list[tuple[int, ...]]
) -> None:
    """An exported graph leaves the writing out, without a word."""
    for package in ("onnxruntime", "onnxscript"):
        pytest.importorskip(package)
    backend = unguarded_backend(
        load("conformance.backends.adapters.onnx.onnxruntime_export:backend")
    )
    built = backend.build(Call(layer, arguments, {}, "float32", "cpu"))
    with pytest.raises(Unsupported, match="a graph writes into no input"):
        built(*(built.put(np.zeros(shape)) for shape in shapes))


@pytest.mark.skipif(not forked.FORKS, reason="a process is not copied here")
def test_a_copy_of_the_process_compiles_after_a_model_was_dropped() -> None:
    """Threads of a dropped model's stream would take the next one, and a copy has no such threads.

    Without `NUM_STREAMS` the copy hangs.
    """
    backend = _load_backend("openvino-f32")

    def run(size: int) -> Outcome:
        call = Call("functional.softmax", {"dim": 0}, {}, "float32", "cpu")
        layer = backend.build(call)
        layer(layer.put(np.zeros(size)))
        return Outcome("passed")

    run(2)
    backend._compiled.cache_clear()
    outcome = run_in_fork(lambda: run(3), 10.0)
    assert outcome is not None
    assert outcome.status == "passed"
