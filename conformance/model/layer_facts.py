"""What a results file tells of a layer, so that reports need no table of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class LayerFacts:
    """What a report says of a layer.

    Args:
        family: layers that share their mathematics.
        kin: name of the module whose lazy or functional form it is, or its own.
        stem: the same without the number of dimensions: what one rule is written for.
        formula: what the documentation says that it computes, line by line.
        page: address of its documentation.
        defaults: of its arguments.
        sizes: arguments that say how large a case is, seldom what is wrong.
    """

    family: str
    kin: str
    stem: str
    formula: tuple[str, ...] = ()
    page: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    sizes: tuple[str, ...] = ()


def unknown(layer: str) -> LayerFacts:
    """What is known of a layer of a file that tells nothing of it."""
    return LayerFacts("", layer, layer)
