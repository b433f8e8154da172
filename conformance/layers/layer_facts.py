"""Facts about the layers of a run that a results file stores."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from conformance.layers import CATALOGUE
from conformance.model.layer_facts import LayerFacts
from conformance.spec.layer_spec import LayerSpec

_PLAIN = (bool, int, float, str)


def facts_of(row: LayerSpec) -> LayerFacts:
    """Facts about one layer that reports show."""
    kin = (row.lazy.eager if row.lazy else row.oracle.module) or row.name
    # Like a size, a hidden state that is passed or not is seldom the cause of a failure.
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
    """Count the layers of each family in the catalogue."""
    return dict(Counter(row.family for row in CATALOGUE.values()))


def facts_of_layers(names: Iterable[str]) -> dict[str, LayerFacts]:
    """Facts of each named layer; the names are the catalogue's."""
    return {name: facts_of(CATALOGUE[name]) for name in dict.fromkeys(names)}
