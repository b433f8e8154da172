"""Ways to break the windows of a convolution: kernel, stride, dilation, padding."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import Break, negative, not_positive, surplus
from conformance.strategies.invalid.convolution.parts import (
    NEUTRAL,
    Apply,
    Convolution,
    break_argument,
    break_size,
    convolution_break,
    draw_dimension,
    is_transposed,
    put_somewhere,
    replace_at,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function

unknown_paddings = st.sampled_from(("full", "SAME", "causal", ""))
zeros = st.just(0)


def _negative_padding(draw: Draw, conv: Convolution) -> Case:
    padding = put_somewhere(draw, conv.numeric_padding, draw(negative))
    dimensions = zip(conv.lengths, conv.numeric_padding, padding, strict=True)
    # Longer by the padding that is lost, so that the kernel still fits.
    return conv.rebuild(padding=padding, lengths=tuple(n + 2 * (p - q) for n, p, q in dimensions))


def _large_kernel(draw: Draw, conv: Convolution) -> Case:
    k = draw_dimension(draw, conv)
    padded = conv.lengths[k] + 2 * conv.numeric_padding[k]
    kernel = (padded - 1) // conv.dilation[k] + 1 + draw(surplus)
    return conv.rebuild(kernel_size=replace_at(conv.kernel_size, k, kernel))


def _strided_same(draw: Draw, conv: Convolution) -> Case:
    stride = put_somewhere(draw, (1,) * conv.dims, draw(st.integers(2, 3)))
    changed_arguments = {"padding_mode": "zeros"} if conv.padding_mode != "zeros" else {}
    return conv.rebuild(stride=stride, padding="same", arguments=changed_arguments)


def _large_padding(mode: str, excess: int) -> Apply:
    def apply(draw: Draw, conv: Convolution) -> Case:
        k = draw_dimension(draw, conv)
        length = conv.lengths[k]
        padding_limit = max(length, conv.numeric_padding[k] + 1 - excess)
        padding = replace_at((0,) * conv.dims, k, padding_limit + excess)
        # The other dimensions get their padded length, and no padding.
        lengths = tuple(n + 2 * p for n, p in zip(conv.lengths, conv.numeric_padding, strict=True))
        return conv.rebuild(
            padding=padding,
            lengths=replace_at(lengths, k, length),
            arguments={"padding_mode": mode},
        )

    return apply


def _large_same(draw: Draw, conv: Convolution) -> Case:
    k = draw(st.sampled_from([k for k, reach in enumerate(conv.reach) if reach]))
    padding_after = [reach - reach // 2 for reach in conv.reach]
    lengths = tuple(max(n, pad + 1) for n, pad in zip(conv.lengths, padding_after, strict=True))
    return conv.rebuild(
        lengths=replace_at(lengths, k, padding_after[k]),
        stride=(1,) * conv.dims,
        padding="same",
        arguments={"padding_mode": "reflect"},
    )


def _too_long(names: tuple[str, ...]) -> Apply:
    def apply(draw: Draw, conv: Convolution) -> Case:
        name = draw(st.sampled_from(names))
        return conv.rebuild(arguments={name: (*getattr(conv, name), NEUTRAL[name])})

    return apply


def _too_short(names: tuple[str, ...]) -> Apply:
    def apply(draw: Draw, conv: Convolution) -> Case:
        name = draw(st.sampled_from(names))
        return conv.rebuild(arguments={name: getattr(conv, name)[:-1]})

    return apply


def _has_numeric_padding(conv: Convolution) -> bool:
    return not isinstance(conv.padding, str)


def _is_not_same(conv: Convolution) -> bool:
    return conv.padding != "same"


def _has_reach(conv: Convolution) -> bool:
    return any(conv.reach)


def _tuple_breaks(layer: str) -> list[Break]:
    """Breaks of a tuple's length."""
    sizes: tuple[str, ...] = ("stride", "dilation")
    sizes += ("output_padding",) if is_transposed(layer) else ()
    sizes += () if is_function(layer) else ("kernel_size",)
    joined_names, padding = " or ".join(sizes), ("padding",)
    tuple_breaks = [
        convolution_break("size of too many numbers", joined_names, _too_long(sizes)),
        convolution_break(
            "padding of too many numbers", "padding", _too_long(padding), _has_numeric_padding
        ),
    ]
    if int(layer[-2]) == 2:
        all_names = (*sizes, *padding)
        short = _too_short(all_names)
        name = " or ".join(all_names)
        tuple_breaks.append(
            convolution_break("size of one number", name, short, _has_numeric_padding)
        )
    if int(layer[-2]) == 3:
        tuple_breaks += [
            convolution_break("size of too few numbers", joined_names, _too_short(sizes)),
            convolution_break(
                "padding of too few numbers", "padding", _too_short(padding), _has_numeric_padding
            ),
        ]
    return tuple_breaks


def _forward_breaks(layer: str) -> list[Break]:
    kernel_argument = "weight" if is_function(layer) else "kernel_size"
    forward_breaks = [
        convolution_break(
            "kernel beyond the padded input", kernel_argument, _large_kernel, _is_not_same
        ),
        convolution_break("'same' with a stride", "stride", _strided_same),
        convolution_break(
            "unknown padding string", "padding", break_argument("padding", unknown_paddings)
        ),
    ]
    if not is_function(layer):
        reflect, circular = _large_padding("reflect", 0), _large_padding("circular", 1)
        forward_breaks += [
            convolution_break("reflect padding too large", "padding", reflect, _is_not_same),
            convolution_break(
                "reflect padding too large for 'same'", "padding", _large_same, _has_reach
            ),
            convolution_break("circular padding too large", "padding", circular, _is_not_same),
        ]
    return forward_breaks


def window_breaks(layer: str) -> list[Break]:
    """The breaks of a layer's kernel, stride, dilation and padding, by its catalogue name."""
    kernel_argument = "weight" if is_function(layer) else "kernel_size"
    size_breaks = [
        convolution_break(
            "stride not positive", "stride", break_size("stride", not_positive), _is_not_same
        ),
        convolution_break(
            "dilation not positive", "dilation", break_size("dilation", not_positive)
        ),
        convolution_break("negative padding", "padding", _negative_padding, _is_not_same),
        convolution_break(
            "kernel_size zero", kernel_argument, break_size("kernel_size", zeros), _is_not_same
        ),
    ]
    if not is_function(layer):
        negative_kernel = break_size("kernel_size", negative)
        size_breaks.append(
            convolution_break(
                "kernel_size negative", kernel_argument, negative_kernel, _is_not_same
            )
        )
    return (
        size_breaks
        + _tuple_breaks(layer)
        + ([] if is_transposed(layer) else _forward_breaks(layer))
    )
