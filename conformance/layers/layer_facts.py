"""What a results file tells of the layers of a run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from conformance.layers import CATALOGUE
from conformance.model.layer_facts import LayerFacts
from conformance.spec.layer_spec import LayerSpec

_PLAIN = (bool, int, float, str)


def facts_of(row: LayerSpec) -> LayerFacts:
    """What a report says of a layer."""
    kin = (row.lazy.eager if row.lazy else row.oracle.module) or row.name
    # A state that is given or not is no argument, but as little what is wrong.
    hidden = (x.name for x in row.signature.inputs if x.role == "hidden")
    return LayerFacts(
        row.family,
        kin,
        re.sub(rf"{row.signature.dims}d$", "", kin) if row.signature.dims else kin,
        row.oracle.formula,
        row.page,
        {
            k: v
            for k, v in row.signature.defaults.items()
            if isinstance(v, (bool, int, float, str, type(None)))
        },
        (*(a.name for a in row.signature.arguments if a.size), *hidden, "batch"),
    )


def layers_by_family() -> Mapping[str, int]:
    """Number of layers in the catalogue, by family."""
    return dict(Counter(row.family for row in CATALOGUE.values()))


def facts_of_layers(names: Iterable[str]) -> dict[str, LayerFacts]:
    """What a report says of each of some layers.

    Args:
        names: of the catalogue.
    """
    return {name: facts_of(CATALOGUE[name]) for name in dict.fromkeys(names)}
