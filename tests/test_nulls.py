"""Backends that a conformance suite must never pass: each fails `values` for every layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import LAYERS, Spoiled, first_failure

from conformance.backends.torch import backend as torch_backend


def _zeros(y: Any, inputs: Any) -> Any:
    return torch.zeros_like(y)


def _mean(y: Any, inputs: Any) -> Any:
    if not y.is_floating_point() or y.numel() == 0:
        return y
    return torch.full_like(y, float(y.double().mean()))


def _nan(y: Any, inputs: Any) -> Any:
    return torch.full_like(y, float("nan")) if y.is_floating_point() else torch.zeros_like(y)


def _echo(y: Any, inputs: Any) -> Any:
    return next((x for x in inputs if x is not None and x.shape == y.shape), y)


def _scaled(y: Any, inputs: Any) -> Any:
    return y * 1.001 if y.is_floating_point() else y


NULLS = {"zeros": _zeros, "mean": _mean, "nan": _nan, "echo": _echo, "times 1.001": _scaled}
EXCEPTED = {("Identity", "echo")}


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("layer", LAYERS)
def test_null_backend_fails_values(layer: str, null: str) -> None:
    if (layer, null) in EXCEPTED:
        assert first_failure(Spoiled(null, NULLS[null]), layer, "values") is None
        return
    assert first_failure(Spoiled(null, NULLS[null]), layer, "values") is not None
    if null != "times 1.001":
        assert first_failure(Spoiled(null, NULLS[null]), layer, "values", "bfloat16") is not None


@pytest.mark.parametrize("layer", LAYERS)
def test_faithful_backend_passes(layer: str) -> None:
    for dtype in ("float32", "bfloat16"):
        for check in ("shape", "values", "gradients"):
            assert first_failure(torch_backend, layer, check, dtype, examples=60) is None


@pytest.mark.parametrize("layer", LAYERS)
def test_shape_fails_where_a_dimension_dtype_or_output_is_off(layer: str) -> None:
    flat = Spoiled("flat", lambda y, inputs: y.reshape(-1, 1, 1, 1, 1, 1))
    assert first_failure(flat, layer, "shape", examples=20) is not None
    wide = Spoiled("wide", lambda y, inputs: y.double())
    assert first_failure(wide, layer, "shape", examples=20) is not None
    twice = Spoiled("nested", lambda y, inputs: None)
    assert first_failure(twice, layer, "shape", examples=20) is not None
