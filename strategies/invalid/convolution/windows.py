"""Ways to break the windows of a convolution: kernel, stride, dilation, padding."""

from __future__ import annotations

from conformance.strategies.invalid.breaks import CUSTOMARY, Break, negative, not_positive, surplus
from conformance.strategies.invalid.convolution.parts import (
    NEUTRAL,
    Apply,
    Convolution,
    bad_size,
    broken_by,
    dimension,
    replaced,
    somewhere,
    transposed,
    written,
)
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Case, is_function

unknown_paddings = st.sampled_from(("full", "SAME", "causal", ""))
zero = st.just(0)


def _negative_padding(draw: Draw, conv: Convolution) -> Case:
    padding = somewhere(draw, conv.pads, draw(negative))
    rows = zip(conv.lengths, conv.pads, padding, strict=True)
    # Longer by the padding that is lost, so that the kernel still fits.
    return conv.broken(padding=padding, lengths=tuple(n + 2 * (p - q) for n, p, q in rows))


def _large_kernel(draw: Draw, conv: Convolution) -> Case:
    k = dimension(draw, conv)
    padded = conv.lengths[k] + 2 * conv.pads[k]
    kernel = (padded - 1) // conv.dilation[k] + 1 + draw(surplus)
    return conv.broken(kernel_size=replaced(conv.kernel_size, k, kernel))


def _strided_same(draw: Draw, conv: Convolution) -> Case:
    stride = somewhere(draw, (1,) * conv.dims, draw(st.integers(2, 3)))
    modes = {"padding_mode": "zeros"} if conv.mode != "zeros" else {}
    return conv.broken(stride=stride, padding="same", arguments=modes)


def _large_padding(mode: str, beyond: int) -> Apply:
    def apply(draw: Draw, conv: Convolution) -> Case:
        k = dimension(draw, conv)
        length = conv.lengths[k]
        most = max(length, conv.pads[k] + 1 - beyond)
        padding = replaced((0,) * conv.dims, k, most + beyond)
        # The other dimensions get their padded length, and no padding.
        lengths = tuple(n + 2 * p for n, p in zip(conv.lengths, conv.pads, strict=True))
        return conv.broken(
            padding=padding,
            lengths=replaced(lengths, k, length),
            arguments={"padding_mode": mode},
        )

    return apply


def _large_same(draw: Draw, conv: Convolution) -> Case:
    k = draw(st.sampled_from([k for k, reach in enumerate(conv.reach) if reach]))
    after = [reach - reach // 2 for reach in conv.reach]
    lengths = tuple(max(n, pad + 1) for n, pad in zip(conv.lengths, after, strict=True))
    return conv.broken(
        lengths=replaced(lengths, k, after[k]),
        stride=(1,) * conv.dims,
        padding="same",
        arguments={"padding_mode": "reflect"},
    )


def _too_long(names: tuple[str, ...]) -> Apply:
    def apply(draw: Draw, conv: Convolution) -> Case:
        name = draw(st.sampled_from(names))
        return conv.broken(arguments={name: (*getattr(conv, name), NEUTRAL[name])})

    return apply


def _too_short(names: tuple[str, ...]) -> Apply:
    def apply(draw: Draw, conv: Convolution) -> Case:
        name = draw(st.sampled_from(names))
        return conv.broken(arguments={name: getattr(conv, name)[:-1]})

    return apply


def _numeric(conv: Convolution) -> bool:
    return not isinstance(conv.padding, str)


def _not_same(conv: Convolution) -> bool:
    return conv.padding != "same"


def _wide(conv: Convolution) -> bool:
    return any(conv.reach)


def _of_tuples(layer: str) -> list[Break]:
    """Breaks of a tuple's length: one number per dimension is documented, one for all customary."""
    sizes: tuple[str, ...] = ("stride", "dilation")
    sizes += ("output_padding",) if transposed(layer) else ()
    sizes += () if is_function(layer) else ("kernel_size",)
    both, padding = " or ".join(sizes), ("padding",)
    found = [
        broken_by("size of too many numbers", both, _too_long(sizes)),
        broken_by("padding of too many numbers", "padding", _too_long(padding), _numeric),
    ]
    if int(layer[-2]) == 2:
        every = (*sizes, *padding)
        short = _too_short(every)
        name = " or ".join(every)
        found.append(broken_by("size of one number", name, short, _numeric, CUSTOMARY))
    if int(layer[-2]) == 3:
        found += [
            broken_by("size of too few numbers", both, _too_short(sizes)),
            broken_by("padding of too few numbers", "padding", _too_short(padding), _numeric),
        ]
    return found


def _of_convolutions(layer: str) -> list[Break]:
    kernel = "weight" if is_function(layer) else "kernel_size"
    found = [
        broken_by("kernel beyond the padded input", kernel, _large_kernel, _not_same),
        broken_by("'same' with a stride", "stride", _strided_same),
        broken_by("unknown padding string", "padding", written("padding", unknown_paddings)),
    ]
    if not is_function(layer):
        reflect, circular = _large_padding("reflect", 0), _large_padding("circular", 1)
        found += [
            broken_by("reflect padding too large", "padding", reflect, _not_same),
            broken_by("reflect padding too large for 'same'", "padding", _large_same, _wide),
            broken_by("circular padding too large", "padding", circular, _not_same),
        ]
    return found


def window_breaks(layer: str) -> list[Break]:
    """The breaks of a layer's kernel, stride, dilation and padding, by its catalogue name."""
    kernel = "weight" if is_function(layer) else "kernel_size"
    found = [
        broken_by("stride not positive", "stride", bad_size("stride", not_positive), _not_same),
        broken_by("dilation not positive", "dilation", bad_size("dilation", not_positive)),
        broken_by("negative padding", "padding", _negative_padding, _not_same),
        broken_by("kernel_size zero", kernel, bad_size("kernel_size", zero), _not_same, CUSTOMARY),
    ]
    if not is_function(layer):
        kernels = bad_size("kernel_size", negative)
        found.append(broken_by("kernel_size negative", kernel, kernels, _not_same))
    return found + _of_tuples(layer) + ([] if transposed(layer) else _of_convolutions(layer))
