"""Which layers reach which operator of torch, as `tools/reached_table.py` traced it on a CPU."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files


@cache
def reached_layers() -> Mapping[str, Sequence[str]]:
    """Operator → the layers that reach it, forward or backward."""
    text = files("conformance.layers").joinpath("reached.json").read_text(encoding="utf-8")
    layers_by_operator: Mapping[str, Sequence[str]] = json.loads(text)["reached"]
    return layers_by_operator


def layers_reaching(operators: Sequence[str]) -> tuple[str, ...]:
    """The layers that reach any of the operators, by operator and then in the catalogue's order.

    Args:
        operators: names, with or without `.default`.
    """
    names = [name.removesuffix(".default") for name in operators]
    return tuple(dict.fromkeys(layer for name in names for layer in reached_layers().get(name, ())))
