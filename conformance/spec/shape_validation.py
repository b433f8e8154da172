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
    arguments = signature.named
    outputs = {x.name for x in signature.outputs}
    missing = [name for name in signature.input_names if name not in shapes.texts]
    if missing:
        raise NotationError(f"{layer}: no shape is given for {', '.join(missing)}")
    named = {*arguments, SPACE, *shapes.let}
    for name, text in shapes.texts.items():
        try:
            tensor = parse_shape(text)
        except NotationError as error:
            raise NotationError(f"{layer}: {name}: {error}") from error
        for axes in tensor.forms:
            if name in signature.input_names:
                named |= {axis.name for axis in axes}
            groups = [str(a) for a in axes if a.repeated and a.name not in ("", SPACE, *arguments)]
            if len(groups) > 1:
                raise NotationError(
                    f"{layer}: {name}: which axes of {text!r} are {' and which '.join(groups)}?"
                )
    inner = {n: t for n, t in shapes.tensors.items() if not formula or n not in outputs}
    used = {n: name for name, tensor in inner.items() for n in tensor.names}
    used |= {
        n: text
        for text in (*shapes.where, *shapes.let.values(), *shapes.below.values())
        for n in parse_expression(text).names
    }
    for name, where in used.items():
        if name not in named:
            raise NotationError(
                f"{layer}: {where}: {name} is neither an argument nor an axis of an input"
            )
