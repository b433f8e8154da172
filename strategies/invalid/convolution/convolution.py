"""Ways to break a valid call of a convolution or transposed convolution."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import (
    CUSTOMARY,
    Break,
    negative,
    not_positive,
    surplus,
    yes_no,
)
from conformance.strategies.invalid.convolution.parts import (
    Convolution,
    bad_size,
    broken_by,
    dimension,
    lazy,
    replaced,
    transposed,
    written,
)
from conformance.strategies.invalid.convolution.windows import window_breaks
from conformance.strategies.invalid.shapes import shape_breaks
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Signature

unknown_modes = st.sampled_from(("constant", "symmetric", "ZEROS", ""))
other_modes = st.sampled_from(("reflect", "replicate", "circular"))
known_paddings = st.sampled_from(("same", "valid"))


def _indivisible_inputs(draw: Draw, conv: Convolution) -> Case:
    groups = draw(st.integers(2, 3))
    channels = groups * draw(st.integers(0, 2)) + draw(st.integers(1, groups - 1))
    return conv.broken(groups=groups, in_channels=channels, out_channels=groups * conv.out_channels)


def _indivisible_outputs(draw: Draw, conv: Convolution) -> Case:
    groups = draw(st.integers(2, 3))
    channels = groups * draw(st.integers(0, 2)) + draw(st.integers(1, groups - 1))
    return conv.broken(groups=groups, in_channels=groups * conv.in_channels, out_channels=channels)


def _groups(draw: Draw, conv: Convolution) -> Case:
    return conv.broken(arguments={"groups": draw(not_positive)})


def _negative_inputs(draw: Draw, conv: Convolution) -> Case:
    return conv.broken(arguments={"in_channels": -conv.in_channels})


def _negative_outputs(draw: Draw, conv: Convolution) -> Case:
    return conv.broken(arguments={"out_channels": -conv.out_channels})


def _no_inputs(draw: Draw, conv: Convolution) -> Case:
    return conv.broken(in_channels=0)


def _no_outputs(draw: Draw, conv: Convolution) -> Case:
    return conv.broken(out_channels=0)


def _small_output(draw: Draw, conv: Convolution) -> Case:
    k = dimension(draw, conv)
    padding = (conv.full[k] + conv.output_padding[k]) // 2 + draw(surplus)
    return conv.broken(padding=replaced(conv.pads, k, padding))


def _output_padding(draw: Draw, conv: Convolution) -> Case:
    k = dimension(draw, conv)
    extra = max(conv.stride[k], conv.dilation[k]) + draw(st.integers(0, 1))
    return conv.broken(output_padding=replaced(conv.output_padding, k, extra))


def _output_size(draw: Draw, conv: Convolution) -> Case:
    k = dimension(draw, conv)
    size = conv.full[k] - 1 - draw(st.integers(0, 1)) * (conv.full[k] - 1)
    if draw(yes_no):
        size = conv.full[k] + conv.stride[k]
    sizes = list(replaced(conv.full, k, size))
    whole = [*conv.leading, conv.out_channels] if draw(yes_no) else []
    return conv.broken(padding=(0,) * conv.dims, output_size=whole + sizes)


def _output_size_length(draw: Draw, conv: Convolution) -> Case:
    longer = [*conv.full, 1, 1, 1]
    sizes = draw(st.sampled_from((longer, list(conv.full)[:-1])))
    return conv.broken(padding=(0,) * conv.dims, output_size=sizes)


def _of_every_layer(layer: str) -> list[Break]:
    found = [
        broken_by("groups do not divide in_channels", "groups", _indivisible_inputs),
        broken_by("groups not positive", "groups", _groups),
    ]
    if not (is_function(layer) and transposed(layer)):
        found.append(broken_by("groups do not divide out_channels", "groups", _indivisible_outputs))
    return found


def _of_modules(layer: str) -> list[Break]:
    found = [
        broken_by("out_channels negative", "out_channels", _negative_outputs),
        broken_by("out_channels zero", "out_channels", _no_outputs, required=CUSTOMARY),
        broken_by("unknown padding_mode", "padding_mode", written("padding_mode", unknown_modes)),
    ]
    if not lazy(layer):
        found += [
            broken_by("in_channels negative", "in_channels", _negative_inputs),
            broken_by("in_channels zero", "in_channels", _no_inputs, required=CUSTOMARY),
        ]
    return found


def _of_transposed(layer: str) -> list[Break]:
    name = "output_padding"
    found = [
        broken_by("output_padding too large", name, _output_padding),
        broken_by("negative output_padding", name, bad_size(name, negative)),
        broken_by("padding leaves no output", "padding", _small_output),
        broken_by("padding a string", "padding", written("padding", known_paddings)),
    ]
    if not is_function(layer):
        found += [
            broken_by(
                "padding_mode not zeros", "padding_mode", written("padding_mode", other_modes)
            ),
            broken_by("output_size out of range", "output_size", _output_size),
            broken_by("output_size of a wrong length", "output_size", _output_size_length),
        ]
    return found


def breaks(layer: str, signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of a layer.

    Args:
        layer: `"Conv2d"`, `"LazyConvTranspose1d"`, `"functional.conv3d"`, …
    """
    # For a bias of another dtype torch either promotes it or refuses the call.
    without = ("bias of another dtype",) if is_function(layer) else ()
    return (
        *shape_breaks(signature, shapes, without=without),
        *_of_every_layer(layer),
        *window_breaks(layer),
        *(() if is_function(layer) else _of_modules(layer)),
        *(_of_transposed(layer) if transposed(layer) else ()),
    )
