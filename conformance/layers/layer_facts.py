"""Facts about the layers of a run that a results file stores."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from conformance.layers import CATALOGUE
from conformance.model.layer_facts import LayerFacts
from conformance.spec.layer_spec import LayerSpec

_PLAIN = (bool, int, float, str)


def layer_facts(spec: LayerSpec) -> LayerFacts:
    """Facts about one layer that reports show."""
    related_module = (spec.lazy.eager if spec.lazy else spec.oracle.equivalent_module) or spec.name
    # Like a size, a hidden state that is passed or not is seldom the cause of a failure.
    hidden = (x.name for x in spec.signature.inputs if x.role == "hidden")
    return LayerFacts(
        spec.family,
        related_module,
        re.sub(rf"{spec.signature.dims}d$", "", related_module)
        if spec.signature.dims
        else related_module,
        spec.oracle.formula,
        spec.documentation_url,
        {
            k: v
            for k, v in spec.signature.defaults.items()
            if isinstance(v, (bool, int, float, str, type(None)))
        },
        (*(a.name for a in spec.signature.arguments if a.size), *hidden, "batch"),
    )


def layers_by_family() -> Mapping[str, int]:
    """Count the layers of each family in the catalogue."""
    return dict(Counter(spec.family for spec in CATALOGUE.values()))


def facts_of_layers(names: Iterable[str]) -> dict[str, LayerFacts]:
    """Facts of each named layer; the names are the catalogue's."""
    return {name: layer_facts(CATALOGUE[name]) for name in dict.fromkeys(names)}
