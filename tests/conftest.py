"""Shared by all tests: pytest's own test runner, a quiet torch, and a sample of the layers.

Tests that are asked of each layer, or of each layer's planted bugs, run for some of each family;
`NN_CONFORMANCE_TESTS=all` runs them for all, as `tox -e nightly` does.
"""

from __future__ import annotations

import os

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")

pytest_plugins = ["pytester"]

_SAMPLE = frozenset(
    (
        *("Conv2d", "LazyConv1d", "functional.conv_transpose3d", "ConvTranspose2d"),
        *("LSTM", "RNN", "GRUCell"),
        *("Identity", "LazyLinear", "functional.linear", "Bilinear"),
        *("BatchNorm2d", "functional.layer_norm"),
        *("functional.max_pool2d", "Embedding", "CrossEntropyLoss", "Dropout"),
        *("MultiheadAttention", "functional.scaled_dot_product_attention"),
    )
)
"""Layers of each family that has many, and of each form."""


def sample() -> set[str]:
    """Those, and of every other family its first module and its first function."""
    from conformance.layers import CATALOGUE

    families = {CATALOGUE[name].family for name in _SAMPLE}
    first: dict[tuple[str, bool], str] = {}
    for name, row in CATALOGUE.items():
        if row.family not in families:
            first.setdefault((row.family, row.function), name)
    return {*_SAMPLE, *first.values()}


def _layer(item: pytest.Item) -> str | None:
    """The layer that a test is asked of; None where it is asked of none."""
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return None
    bug = callspec.params.get("bug")
    return getattr(bug, "layer", callspec.params.get("layer"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests of layers that are not in the sample."""
    if os.environ.get("NN_CONFORMANCE_TESTS") == "all":
        return
    from conformance.layers import CATALOGUE

    chosen = sample()
    left = [x for x in items if (name := _layer(x)) in CATALOGUE and name not in chosen]
    if left:
        config.hook.pytest_deselected(items=left)
        dropped = set(map(id, left))
        items[:] = [x for x in items if id(x) not in dropped]
