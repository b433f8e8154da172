"""The catalogue: one `LayerSpec` per layer, one module per family.

`_FAMILIES` is the only place that lists the families.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from importlib import import_module

from conformance.spec.layer_spec import LayerSpec
from conformance.spec.parts import no_value_inferred_arguments
from conformance.spec.shape_validation import validate_shapes

_FAMILIES = (
    "convolution",
    "recurrent",
    "linear",
    "normalization",
    "pooling",
    "embedding",
    "loss",
    "dropout",
    "activation",
    "attention",
    "transformer",
    "distance",
    "softmax",
    "reshaping",
    "glu",
    "padding",
    "interpolation",
    "folding",
    "grid",
    "init",
    "parametrizations",
    "sequences",
    "clipping",
    "fusion",
    "network",
)

DTYPES = ("float32", "float64", "bfloat16", "float16")
COMPLEX = ("complex64", "complex128")


class UnknownLayerError(KeyError):
    """A layer name that the catalogue does not have; the message suggests close ones."""

    def __init__(self, name: str) -> None:
        close_matches = difflib.get_close_matches(name, CATALOGUE, 3)
        hint = f": did you mean {' or '.join(close_matches)}?" if close_matches else ""
        super().__init__(f"no layer {name!r} in the catalogue{hint}")


class _Catalogue(dict[str, LayerSpec]):
    def __missing__(self, name: str) -> LayerSpec:
        raise UnknownLayerError(name)


def _validated_specs() -> Iterator[tuple[str, LayerSpec]]:
    for family in _FAMILIES:
        for spec in import_module(f"{__name__}.{family}").layer_specs():
            if spec.shapes is not None:
                has_formula = (
                    spec.oracle.shapes is not None
                    or spec.oracle.value_inferred_arguments is not no_value_inferred_arguments
                )
                validate_shapes(spec.name, spec.shapes, spec.signature, formula=has_formula)
            yield spec.name, spec


CATALOGUE: dict[str, LayerSpec] = _Catalogue(_validated_specs())
"""Every layer of the suite; an unknown name raises `UnknownLayerError`."""
