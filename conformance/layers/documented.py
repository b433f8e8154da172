"""Which constraints on a call torch's documentation states, in its own words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files


@cache
def documented_constraints() -> Mapping[tuple[str, str], Mapping[str, str]]:
    """(Name of a break, its argument) → layer → the sentence of torch's page that rules it out.

    `documented.json` groups the layers by quote; a test compares each quote with the page.
    """
    text = files("conformance.layers").joinpath("documented.json").read_text(encoding="utf-8")
    constraints: dict[tuple[str, str], dict[str, str]] = {}
    for key, layers_by_quote in json.loads(text).items():
        name, _, argument = key.partition("|")
        constraints[name, argument] = {
            layer: quote for quote, layers in layers_by_quote.items() for layer in layers
        }
    return constraints


def find_quote(layer: str, broken: str, argument: str) -> str:
    """The sentence of torch's page that a broken call contradicts; empty if the page says nothing.

    Args:
        broken: name of the break.
        argument: the argument or input that it makes invalid.
    """
    return documented_constraints().get((broken, argument), {}).get(layer, "")


@cache
def documented_layers() -> frozenset[str]:
    """The layers of which torch's pages state some constraint that the suite can break."""
    return frozenset(layer for quotes in documented_constraints().values() for layer in quotes)
