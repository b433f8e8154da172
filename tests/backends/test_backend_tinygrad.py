"""The tinygrad adapter: checks that it passes, calls that it declines, and bugs planted in it."""

from __future__ import annotations

import shutil
from functools import partial
from typing import Any

import numpy as np
import pytest
from support import assert_declined, status

pytest.importorskip("tinygrad")
if shutil.which("clang") is None:
    pytest.skip("tinygrad's kernels need clang", allow_module_level=True)

from conformance import Call
from conformance.backends.adapters import tinygrad as adapter

_status = partial(status, adapter.backend, examples=20)


@pytest.mark.parametrize(
    ("layer", "check", "dtype"),
    [
        ("functional.conv1d", "values", "float32"),
        ("AvgPool1d", "values", "float32"),
        ("LSTMCell", "values", "float64"),
        ("GELU", "values", "float16"),
        ("ReLU", "gradients", "float32"),
        ("Sigmoid", "layout", "float32"),
        ("Dropout", "random", "float32"),
    ],
)
def test_items_pass(layer: str, check: str, dtype: str) -> None:
    assert _status(layer, check, dtype) == "passed"


def test_a_network_permutes_no_axes() -> None:
    nodes = (("permute", (("dims", ()),), (-1,)), ("output", (), (0,)))
    layer = adapter.backend.build(Call("Network", {"nodes": nodes}, {}, "float32", "cpu"))
    assert layer.get(layer(layer.put(np.array(3.0)))) == 3.0


def test_its_bugs_are_known() -> None:
    assert _status("functional.one_hot", "shape") == "known"


def test_lost_padding_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    original = adapter.Tensor.avg_pool2d

    def without_padding(x: Any, **keywords: Any) -> Any:
        return original(x, **{**keywords, "count_include_pad": True})

    monkeypatch.setattr(adapter.Tensor, "avg_pool2d", without_padding)
    assert _status("AvgPool1d") == "failed"


@pytest.mark.parametrize(
    ("layer", "arguments", "shape", "reason"),
    [
        ("Conv1d", {"in_channels": 2, "out_channels": 2, "kernel_size": 1, "padding": "valid"},
         (1, 2, 3), "padding='valid'"),
        ("BatchNorm1d", {"num_features": 3, "momentum": None}, (2, 3), "momentum=None"),
        ("Softplus", {"threshold": 3.0}, (2,), "threshold=3.0"),
        ("Softmax", {}, (2,), "dim=None"),
        ("Upsample", {"scale_factor": 2.0}, (1, 2, 3), "scale_factor=2.0"),
        ("AvgPool2d", {"kernel_size": 1, "divisor_override": 3}, (1, 2, 3, 3),
         "divisor_override=3"),
    ],
)  # fmt: skip
def test_what_it_lacks_is_declined(
    layer: str, arguments: dict[str, Any], shape: tuple[int, ...], reason: str
) -> None:
    assert_declined(adapter.backend, layer, arguments, shape, reason)


def test_running_statistics_are_updated() -> None:
    values = {"running_mean": 0.0, "running_var": 1.0, "weight": 1.0, "bias": 0.0}
    state = {name: np.full(2, value) for name, value in values.items()}
    state["num_batches_tracked"] = np.array(3)
    call = Call("BatchNorm1d", {"num_features": 2}, state, "float32", "cpu", training=True)
    layer = adapter.backend.build(call)
    layer(layer.put(np.array([[0.0, 10.0], [2.0, 30.0]])))
    new_state = {name: layer.get(x) for name, x in layer.state().items()}
    np.testing.assert_allclose(new_state["running_mean"], [0.1, 2.0], rtol=1e-6)
    np.testing.assert_allclose(
        new_state["running_var"], [1.1, 20.9], rtol=1e-6
    )  # unbiased: 2 and 200
    assert new_state["num_batches_tracked"] == 4


def test_a_number_without_axes_has_memory_of_its_own() -> None:
    x = adapter.make_tensor(np.array(2.0), "contiguous", "float32")
    assert x.gradient(x)[0].item() == 1
