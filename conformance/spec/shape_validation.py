"""Validation of a layer's shapes against its signature, when the catalogue is built."""

from __future__ import annotations

from conformance.spec.notation import SPACE, NotationError, parse_expression, parse_shape
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature


def validate_shapes(
    layer: str, shapes: Shapes, signature: Signature, *, formula: bool = False
) -> None:
    """Raise a `NotationError` that names layer and tensor if a layer's shapes are invalid.

    With `formula`, the output sizes follow from the layer's shape oracle or from input values, and
    may have names that occur nowhere else.
    """
    arguments = signature.shape_names
    outputs = {x.name for x in signature.outputs}
    missing = [name for name in signature.input_names if name not in shapes.texts]
    if missing:
        raise NotationError(f"{layer}: no shape is given for {', '.join(missing)}")
    known_names = {*arguments, SPACE, *shapes.let}
    for name, text in shapes.texts.items():
        try:
            tensor = parse_shape(text)
        except NotationError as error:
            raise NotationError(f"{layer}: {name}: {error}") from error
        for axes in tensor.alternatives:
            if name in signature.input_names:
                known_names |= {axis.name for axis in axes}
            repeated = [
                str(a) for a in axes if a.repeated and a.name not in ("", SPACE, *arguments)
            ]
            if len(repeated) > 1:
                raise NotationError(
                    f"{layer}: {name}: which axes of {text!r} are {' and which '.join(repeated)}?"
                )
    checked_tensors = {n: t for n, t in shapes.tensors.items() if not formula or n not in outputs}
    origins = {n: name for name, tensor in checked_tensors.items() for n in tensor.names}
    origins |= {
        n: text
        for text in (*shapes.where, *shapes.let.values(), *shapes.index_limits.values())
        for n in parse_expression(text).names
    }
    for name, origin in origins.items():
        if name not in known_names:
            raise NotationError(
                f"{layer}: {origin}: {name} is neither an argument nor an axis of an input"
            )
