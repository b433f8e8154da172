"""Ways to break a valid call of a convolution or transposed convolution."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import (
    Break,
    negative,
    not_positive,
    surplus,
    yes_no,
)
from conformance.strategies.invalid.convolution.parts import (
    Convolution,
    break_argument,
    break_size,
    convolution_break,
    draw_dimension,
    is_lazy,
    is_transposed,
    replace_at,
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
    return conv.rebuild(
        groups=groups, in_channels=channels, out_channels=groups * conv.out_channels
    )


def _indivisible_outputs(draw: Draw, conv: Convolution) -> Case:
    groups = draw(st.integers(2, 3))
    channels = groups * draw(st.integers(0, 2)) + draw(st.integers(1, groups - 1))
    return conv.rebuild(groups=groups, in_channels=groups * conv.in_channels, out_channels=channels)


def _groups(draw: Draw, conv: Convolution) -> Case:
    return conv.rebuild(arguments={"groups": draw(not_positive)})


def _negative_inputs(draw: Draw, conv: Convolution) -> Case:
    return conv.rebuild(arguments={"in_channels": -conv.in_channels})


def _negative_outputs(draw: Draw, conv: Convolution) -> Case:
    return conv.rebuild(arguments={"out_channels": -conv.out_channels})


def _no_inputs(draw: Draw, conv: Convolution) -> Case:
    return conv.rebuild(in_channels=0)


def _no_outputs(draw: Draw, conv: Convolution) -> Case:
    return conv.rebuild(out_channels=0)


def _small_output(draw: Draw, conv: Convolution) -> Case:
    k = draw_dimension(draw, conv)
    padding = (conv.full_lengths[k] + conv.output_padding[k]) // 2 + draw(surplus)
    return conv.rebuild(padding=replace_at(conv.numeric_padding, k, padding))


def _output_padding(draw: Draw, conv: Convolution) -> Case:
    k = draw_dimension(draw, conv)
    extra = max(conv.stride[k], conv.dilation[k]) + draw(st.integers(0, 1))
    return conv.rebuild(output_padding=replace_at(conv.output_padding, k, extra))


def _output_size(draw: Draw, conv: Convolution) -> Case:
    k = draw_dimension(draw, conv)
    size = conv.full_lengths[k] - 1 - draw(st.integers(0, 1)) * (conv.full_lengths[k] - 1)
    if draw(yes_no):
        size = conv.full_lengths[k] + conv.stride[k]
    sizes = list(replace_at(conv.full_lengths, k, size))
    leading = [*conv.leading, conv.out_channels] if draw(yes_no) else []
    return conv.rebuild(padding=(0,) * conv.dims, output_size=leading + sizes)


def _output_size_length(draw: Draw, conv: Convolution) -> Case:
    longer = [*conv.full_lengths, 1, 1, 1]
    sizes = draw(st.sampled_from((longer, list(conv.full_lengths)[:-1])))
    return conv.rebuild(padding=(0,) * conv.dims, output_size=sizes)


def _common_breaks(layer: str) -> list[Break]:
    common_breaks = [
        convolution_break("groups do not divide in_channels", "groups", _indivisible_inputs),
        convolution_break("groups not positive", "groups", _groups),
    ]
    if not (is_function(layer) and is_transposed(layer)):
        common_breaks.append(
            convolution_break("groups do not divide out_channels", "groups", _indivisible_outputs)
        )
    return common_breaks


def _module_breaks(layer: str) -> list[Break]:
    module_breaks = [
        convolution_break("out_channels negative", "out_channels", _negative_outputs),
        convolution_break("out_channels zero", "out_channels", _no_outputs),
        convolution_break(
            "unknown padding_mode", "padding_mode", break_argument("padding_mode", unknown_modes)
        ),
    ]
    if not is_lazy(layer):
        module_breaks += [
            convolution_break("in_channels negative", "in_channels", _negative_inputs),
            convolution_break("in_channels zero", "in_channels", _no_inputs),
        ]
    return module_breaks


def _transposed_breaks(layer: str) -> list[Break]:
    name = "output_padding"
    transposed_breaks = [
        convolution_break("output_padding too large", name, _output_padding),
        convolution_break("negative output_padding", name, break_size(name, negative)),
        convolution_break("padding leaves no output", "padding", _small_output),
        convolution_break("padding a string", "padding", break_argument("padding", known_paddings)),
    ]
    if not is_function(layer):
        transposed_breaks += [
            convolution_break(
                "padding_mode not zeros",
                "padding_mode",
                break_argument("padding_mode", other_modes),
            ),
            convolution_break("output_size out of range", "output_size", _output_size),
            convolution_break("output_size of a wrong length", "output_size", _output_size_length),
        ]
    return transposed_breaks


def breaks(layer: str, signature: Signature, shapes: Shapes) -> tuple[Break, ...]:
    """The breaks of a layer.

    Args:
        layer: `"Conv2d"`, `"LazyConvTranspose1d"`, `"functional.conv3d"`, …
    """
    # For a bias of another dtype torch either promotes it or refuses the call.
    excluded = ("bias of another dtype",) if is_function(layer) else ()
    return (
        *shape_breaks(signature, shapes, excluded=excluded),
        *_common_breaks(layer),
        *window_breaks(layer),
        *(() if is_function(layer) else _module_breaks(layer)),
        *(_transposed_breaks(layer) if is_transposed(layer) else ()),
    )
