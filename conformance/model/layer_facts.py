"""Facts about a layer that a results file stores, so that reports need no table of layers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class LayerFacts:
    """What a report says of a layer.

    Args:
        family: the group of layers that share their mathematics.
        kin: name of the module whose lazy or functional form it is, or its own name.
        stem: `kin` without the number of dimensions; reports group layers by it.
        formula: the documented formula, line by line.
        page: address of its documentation.
        defaults: default values of its arguments.
        sizes: arguments that set the size of a case and seldom cause a failure.
    """

    family: str
    kin: str
    stem: str
    formula: tuple[str, ...] = ()
    page: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    sizes: tuple[str, ...] = ()


def facts_of_unknown_layer(layer: str) -> LayerFacts:
    """Placeholder facts for a layer that the results file does not describe."""
    return LayerFacts("", layer, layer)
