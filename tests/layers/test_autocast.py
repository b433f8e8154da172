"""The check `autocast`: layers that are wrong in mixed precision only fail it alone."""

from __future__ import annotations

from typing import Any

import planted
import pytest
from planted.bug import replacement_namespaces
from support import first_failure

from conformance.backends import ModuleBackend
from conformance.items.planning import Item
from conformance.layers import CATALOGUE
from conformance.layers.autocast import computed_dtype
from conformance.run.engine import Engine

BUGS = [bug for bug in planted.BUGS if bug.check == "autocast"]
DTYPES = ("float32", "bfloat16", "float64")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_bug_of_autocast_fails_this_check_alone(bug: planted.Bug) -> None:
    backend = ModuleBackend(bug.name, **replacement_namespaces(bug.layer, bug.implementation))
    # Not by what torch's own autocast gets wrong: those failures are known, and do not count.
    searches = (first_failure(backend, bug.layer, "autocast", x) for x in DTYPES)
    assert any(search.failure for search in searches), bug.story
    for check in ("values", "gradients"):
        assert not first_failure(backend, bug.layer, check, enough=20).failure


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("layer", ["functional.linear", "ReLU", "MSELoss", "BatchNorm1d"])
def test_torch_passes(layer: str, dtype: str) -> None:
    verdict = Engine(ModuleBackend("torch"), 60, 0).run(Item(layer, "autocast", dtype, "cpu"))
    assert verdict.status == "passed", verdict.message


@pytest.mark.parametrize(
    ("layer", "dtype", "region", "wanted"),
    [
        ("Conv2d", "float32", "bfloat16", "bfloat16"),
        ("LazyConv2d", "bfloat16", "float16", "float16"),
        ("Conv2d", "float64", "bfloat16", "float64"),
        ("Conv2d", "float32", None, "float32"),
        ("functional.mse_loss", "bfloat16", "bfloat16", "float32"),
        ("ReLU", "float16", "bfloat16", "float16"),
        ("functional.pad", "float32", "bfloat16", "float32"),
        ("functional.pad", "bfloat16", "bfloat16", None),
        ("GRU", "float32", "bfloat16", None),
        ("AdaptiveLogSoftmaxWithLoss.log_prob", "float32", "bfloat16", None),
    ],
)
def test_the_lists_say_in_which_dtype_a_layer_computes(
    layer: str, dtype: str, region: str | None, wanted: str | None
) -> None:
    assert computed_dtype(layer, "cpu", dtype, region) == wanted


def test_devices_have_lists_of_their_own() -> None:
    assert computed_dtype("LayerNorm", "cuda", "float16", "float16") == "float32"
    assert computed_dtype("LayerNorm", "cpu", "float16", "float16") == "float16"
    assert computed_dtype("BCELoss", "cuda", "float32", "float16") is None  # it raises
    assert computed_dtype("Linear", "npy", "float32", "float16") is None


def test_a_name_in_a_list_is_that_of_a_layer() -> None:
    """A name that no layer has would hide a layer that is misspelt."""
    from conformance.layers import autocast

    operators = {autocast._operator(name) for name in CATALOGUE}
    assert set(autocast._COMPOSED) <= operators
    listed = {x for lists in autocast._LISTS.values() for names in lists.values() for x in names}
    parts = {part for names in autocast._COMPOSED.values() for part in names}
    assert listed <= operators | parts


def test_a_backend_without_autocast_says_so() -> None:
    class Plain(ModuleBackend):
        def build(self, call: Any) -> Any:
            layer = super().build(call)
            layer.autocast = None  # type: ignore[method-assign,assignment]
            return layer

    verdict = Engine(Plain("plain"), 40, 0).run(Item("Linear", "autocast", "float32", "cpu"))
    assert verdict.status == "unsupported"
    assert "autocast not offered" in str(verdict)
