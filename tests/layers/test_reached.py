"""The table of operators that layers reach: as `tools/reached_table.py` finds it, and true."""

from __future__ import annotations

import json

import pytest
import reached_table
import torch

from conformance.layers import CATALOGUE
from conformance.layers.reached import layers_reaching, reached_layers


@pytest.mark.parametrize(
    "layer", ["functional.linear", "LayerNorm", "GELU", "functional.embedding"]
)
def test_the_table_is_what_tracing_finds(layer: str) -> None:
    if json.loads(reached_table.TABLE.read_text())["torch"] != torch.__version__:
        pytest.skip("the table is of another version of torch")
    listed = {name for name, layers in reached_layers().items() if layer in layers}
    assert set(reached_table.reached_operators(layer)) == listed


def test_the_table_names_layers_of_the_catalogue() -> None:
    assert {layer for layers in reached_layers().values() for layer in layers} <= set(CATALOGUE)


def test_layers_of_several_operators_are_named_once() -> None:
    layers = layers_reaching(["aten::addmm.default", "aten::mm", "aten::no_such"])
    assert layers[:2] == tuple(reached_layers()["aten::addmm"][:2])
    assert len(layers) == len(set(layers))
    assert set(layers) == {*reached_layers()["aten::addmm"], *reached_layers()["aten::mm"]}
