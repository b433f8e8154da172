"""The laws, one module a family, and which of them hold of which layer."""

from __future__ import annotations

from conformance.laws import convolution, linear, multilinear, recurrent
from conformance.laws import recurrent_sequences as sequences
from conformance.laws.law import Claim, Law, Side

_SUMS = (
    multilinear.rows,
    multilinear.additive,
    multilinear.scaled,
    multilinear.outputs,
    multilinear.inputs,
    multilinear.function,
)
_CONVOLUTIONS = (
    *_SUMS,
    multilinear.singles,
    multilinear.unbatched,
    convolution.groups,
    convolution.copies,
    convolution.stride,
    convolution.adjoint,
    convolution.padding,
    convolution.translation,
    convolution.flip,
)
_LINEAR = (*_SUMS, multilinear.singles, linear.leading)
_CELLS = (
    recurrent.rows,
    recurrent.singles,
    recurrent.unbatched,
    recurrent.zeros,
    recurrent.units,
    recurrent.inputs,
    recurrent.copies,
)
_SEQUENCES = (
    *_CELLS,
    sequences.batch_first,
    sequences.packed,
    sequences.stacked,
    sequences.directions,
    sequences.as_cell,
    sequences.carried,
)
_IDENTITY = (
    linear.identity_rows,
    linear.identity_arguments,
    linear.identity_reshaped,
    linear.identity_twice,
)


def laws_of(layer: str) -> tuple[Law, ...]:
    """The laws of a layer.

    Args:
        layer: its name in the catalogue.
    """
    function = layer.startswith("functional.")
    if "onv" in layer:
        return _CONVOLUTIONS if function else (*_CONVOLUTIONS, multilinear.lazy)
    if "ilinear" in layer:
        return (*_LINEAR, linear.swap)
    if "inear" in layer:
        return (*_LINEAR, linear.vector if function else multilinear.lazy)
    if layer == "Identity":
        return _IDENTITY
    return (*_CELLS, recurrent.as_layer) if layer.endswith("Cell") else _SEQUENCES


__all__ = ["Claim", "Law", "Side", "laws_of"]
