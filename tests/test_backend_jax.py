"""The JAX adapter: what it passes, what it declines, and bugs planted in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("jax")

from conformance import Call, Unsupported
from conformance.backends import jax as adapter
from conformance.engine import Engine
from conformance.items import Item
from conformance.known import shipped


def _status(layer: str, check: str = "values", dtype: str = "float32", examples: int = 40) -> str:
    engine = Engine(adapter.backend, examples, 0, shipped("jax"))
    return engine.run(Item(layer, check, dtype, "cpu")).status


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
    built = adapter.backend.build(
        Call("Linear", {"in_features": 2, "out_features": 2}, {}, "float32", "cpu")
    )
    with pytest.raises(Unsupported, match="initial values"):
        built(built.put(np.ones((1, 2))))


def test_swapped_gates_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    own = adapter._lstm

    def swapped(x: Any, h: Any, carried: Any, activation: Any) -> Any:
        return own(adapter.jnp.roll(x, 1, -1), h, carried, activation)

    monkeypatch.setitem(adapter._CELLS, 4, swapped)
    assert _status("LSTM", dtype="float16") == "failed"


def test_a_lost_mode_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "_MODES", dict.fromkeys(adapter._MODES, "constant"))
    assert _status("Conv1d", dtype="float16", examples=200) == "failed"
