"""Backends that a conformance suite must never pass: each fails `values` for every layer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import (
    ENOUGH,
    LAYERS,
    Search,
    SpoiledBackend,
    first_failure,
    offered_dtypes,
    require_in_torch,
)

from conformance.backends.adapters.torch import backend as torch_backend
from conformance.model.case import Call, Unsupported

pytestmark = pytest.mark.in_fork


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
DIAGONAL = ("init.eye_", "init.dirac_")
# Initializers with 0 in their range, and those whose range is ten standard deviations or only 0.
WIDE = ("zeros_", "xavier_normal_", "kaiming_normal_", "sparse_")
ROUND_ZERO = (*WIDE, "xavier_uniform_", "kaiming_uniform_", "orthogonal_")
EXCEPTED = {
    ("Identity", "echo"),
    # Indices have another shape than the rows that they select.
    ("Embedding", "echo"),
    ("functional.embedding", "echo"),
    # Vectors have another shape than their cosines and distances.
    ("CosineSimilarity", "echo"),
    ("functional.pdist", "echo"),
    # If the shape does not change, the numbers do not either.
    ("FractionalMaxPool3d", "echo"),
    ("functional.fractional_max_pool3d", "echo"),
    ("Flatten", "echo"),
    ("Unflatten", "echo"),
    # The same holds for a resize, except for factors, which torch does not use either.
    ("functional.interpolate", "echo"),
    ("UpsamplingNearest2d", "echo"),
    ("UpsamplingBilinear2d", "echo"),
    # No grid has the shape of its matrices.
    ("functional.affine_grid", "echo"),
    # Columns have another shape than their image.
    ("Unfold", "echo"),
    ("functional.unfold", "echo"),
    # The output is half of the input, so its shape differs.
    ("GLU", "echo"),
    ("functional.glu", "echo"),
    # A call in place returns its input.
    *((name, "echo") for name in LAYERS if name.endswith("_") and "functional." in name),
    *((name, "echo") for name in LAYERS if name.startswith("init.")),
    # Constants are their own mean. Drawn numbers may have any value in their range; the check
    # `random` judges those.
    *((name, "mean") for name in LAYERS if name.startswith("init.") and name not in DIAGONAL),
    *((f"init.{name}", "zeros") for name in ROUND_ZERO),
    *((f"init.{name}", "times 1.001") for name in WIDE),
    # Classes are integers, and have another shape than the input that they belong to.
    ("AdaptiveLogSoftmaxWithLoss.predict", "mean"),
    ("AdaptiveLogSoftmaxWithLoss.predict", "echo"),
    ("AdaptiveLogSoftmaxWithLoss.predict", "times 1.001"),
}
# Few cases have an output of the shape of an input, and those of one dtype are enough.
SINGLE_DTYPE = ("times 1.001", "echo")


@pytest.mark.parametrize("null", NULLS)
@pytest.mark.parametrize("layer", LAYERS)
def test_null_backend_fails_values(layer: str, null: str) -> None:
    require_in_torch(layer)
    if (layer, null) in EXCEPTED:
        assert first_failure(
            SpoiledBackend(null, NULLS[null]), layer, "values", enough=ENOUGH
        ).passed
        return
    dtypes = ("float32",) if null in SINGLE_DTYPE else ("float32", "bfloat16")
    for dtype in offered_dtypes(layer, *dtypes):
        search = first_failure(SpoiledBackend(null, NULLS[null]), layer, "values", dtype)
        assert "the worst of" in search.message or _is_refused(search, dtype), dtype


def _is_refused(search: Search, dtype: str) -> bool:
    """Whether torch declines or, as is known, refuses four of five cases in half precision."""
    refused = search.declined + search.known
    return dtype != "float32" and search.failure is None and refused > 4 * search.compared


@pytest.mark.parametrize("layer", LAYERS)
def test_faithful_backend_passes(layer: str) -> None:
    for dtype in offered_dtypes(layer, "float32", "bfloat16"):
        for check in ("shape", "values", "gradients"):
            search = first_failure(torch_backend, layer, check, dtype, examples=60, enough=ENOUGH)
            assert search.failure is None, (dtype, check, search)
            # Random numbers, and a deep transformer's bounds, leave more than half of the answers
            # open.
            is_compared = search.compared > search.empty / 2 or _is_refused(search, dtype)
            assert is_compared, (dtype, check, search)


def _without_numbers(y: Any, inputs: Any) -> Any:
    if y.numel():
        raise Unsupported("numbers")
    return y


def _declining(call: Call) -> Any:
    raise Unsupported("all")


def test_where_nothing_is_compared_nothing_passes() -> None:
    declining = SpoiledBackend("declining", lambda y, inputs: y)
    declining.build = _declining  # type: ignore[method-assign]
    assert first_failure(declining, "Linear", "values", examples=20) == Search(declined=20)
    search = first_failure(
        SpoiledBackend("silent", _without_numbers), "functional.bilinear", "values", examples=100
    )
    assert search == Search(declined=search.declined, empty=100 - search.declined)
    assert search.empty
    assert not search.passed
    assert not Search(declined=20).passed
    assert not Search(known=20).passed
    assert not Search(not_applicable=20).passed
    assert not Search(compared=3, comparisons=9, declined=2, empty=1).passed
    assert Search(compared=4, comparisons=9, declined=2, empty=1).passed


@pytest.mark.parametrize("layer", LAYERS)
def test_shape_fails_where_a_dimension_dtype_or_output_is_off(layer: str) -> None:
    require_in_torch(layer)
    flat = SpoiledBackend("flat", lambda y, inputs: y.reshape(-1, 1, 1, 1, 1, 1))
    assert first_failure(flat, layer, "shape", examples=20).message.startswith("shape of")
    wide = SpoiledBackend("wide", lambda y, inputs: y.double())
    assert first_failure(wide, layer, "shape", examples=20).message.startswith("dtype of")
    nothing = SpoiledBackend("nothing", lambda y, inputs: None)
    assert first_failure(nothing, layer, "shape", examples=20).message
