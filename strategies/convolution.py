"""Cases of convolutions and transposed convolutions: modules, lazy modules and functions."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.values import Filler, seeds, sum_regimes
from conformance.strategies.windows import (
    Draw,
    Sources,
    Window,
    any_extras,
    conv_window,
    kernel_sizes,
    long_extras,
    long_transposed_extras,
    narrow_paddings,
    narrow_strides,
    no_extras,
    padding_kinds,
    padding_modes,
    thin_windows,
    transposed_window,
)
from hypothesis import strategies as st

from conformance.model.case import Call, Case, is_function

# plain: kernel_size only; full: a window for each dimension; square: one for all of them; long: the
# last dimension is long, the others plain; narrow: the last is strided and as short as it can be,
# the others plain; thin: many channels, and shorter than the kernel, at least in the first
# dimension. Long ones are slow: one case in twenty-five, and another with few products.
profiles = st.sampled_from(
    (
        *("plain", "full", "square", "depthwise", "pointwise", "wide") * 3,
        *("narrow", "narrow", "narrow", "thin", "thin", "long depthwise", "long"),
    )
)
ONE_WINDOW = ("square", "depthwise", "wide")
# Profiles whose dimensions but the last are plain.
LAST_ONLY = ("long", "narrow")
# Profiles padded with zeros by a number, if at all.
ZEROS_ONLY = ("plain", "narrow", "thin", "long depthwise")
group_counts = st.sampled_from((1, 1, 2, 3))
channels = st.integers(1, 3)
wide_channels = st.sampled_from((8, 16, 17, 32))
thin_channels = st.sampled_from((8, 16, 17))
batches = st.sampled_from((None, 1, 2, 3, 0))
# 17 is one more than kernels take at a time. It is rare, and large samples never have it.
large_batches = st.sampled_from((None, 1, 2, 3, 0) * 3 + (17,))
narrow_batches = st.sampled_from((None, 1, 2, 2, 3))
yes_no = st.booleans()
# The default comes first: shrinking prefers it.
biases = st.sampled_from((True, False))


def _channels(draw: Draw, profile: str) -> tuple[int, int, int]:
    """Draw groups, in_channels and out_channels."""
    if profile == "plain":
        return 1, draw(channels), draw(channels)
    if profile == "thin":
        return 1, draw(thin_channels), draw(thin_channels)
    if profile in ("depthwise", "long depthwise"):
        groups = draw(st.integers(2, 4))
        return groups, groups, groups * draw(channels)
    if profile == "wide":
        groups = draw(st.sampled_from((1, 2)))
        return groups, groups * draw(wide_channels), groups * draw(wide_channels)
    groups = draw(group_counts)
    return groups, groups * draw(channels), groups * draw(channels)


def _keeps_defaults(profile: str, remaining_dims: int) -> bool:
    """Whether a dimension's stride, padding and dilation keep their defaults.

    Args:
        remaining_dims: number of dimensions not drawn yet, this one included; 1 = the last.
    """
    return profile in ("plain", "long depthwise") or (profile in LAST_ONLY and remaining_dims > 1)


def _sources(profile: str, remaining_dims: int, long: st.SearchStrategy[int]) -> Sources:
    """Strategies of a window's numbers; the last dimension may have special ones.

    Args:
        remaining_dims: number of dimensions not drawn yet, this one included; 1 = the last.
        long: number of further outputs in a long dimension.
    """
    if remaining_dims > 1:
        return Sources()
    if profile == "narrow":
        return Sources(narrow_strides, narrow_paddings, no_extras)
    if profile == "long depthwise":
        return Sources(extras=any_extras)
    return Sources(extras=long) if profile == "long" else Sources()


def _batches(profile: str) -> st.SearchStrategy[int | None]:
    """Batch sizes of a profile; batches of large samples are small."""
    if profile == "narrow":
        return narrow_batches
    small = profile in ("wide", "thin", "long", "long depthwise")
    return batches if small else large_batches


def _terms(
    weight: tuple[int, ...], groups: int, batch: int, outputs: list[int], inputs: list[int]
) -> int:
    """Number of terms of the longest sum, forward or in a gradient, the bias included."""
    taps = math.prod(weight[2:])
    per_group = max(weight[0] // groups, weight[1], 1)
    return max(per_group * taps, batch * math.prod(outputs), batch * math.prod(inputs)) + 1


def _operands(
    filler: Filler, input: tuple[int, ...], weight: tuple[int, ...], *, bias: int | None
) -> dict[str, np.ndarray | None]:
    """Fill input, weight and bias; `bias` is its length, None = no bias."""
    x, w = filler.operand(*input), filler.operand(*weight)
    return {"input": x, "weight": w, "bias": None if bias is None else filler.addend(bias)}


def _case(
    call: Call,
    operands: dict[str, np.ndarray | None],
    keywords: dict[str, Any],
    labels: dict[str, Any],
    seed: int,
) -> Case:
    """Build the case: a function takes all operands as inputs, a module's weights are its state."""
    first, *others = operands.values()
    if is_function(call.layer):
        return Case(call, (first, *others), keywords, labels=labels, seed=seed)
    state = {k: x for k, x in operands.items() if k != "input" and x is not None}
    return Case(replace(call, state=state), (first,), keywords, labels=labels, seed=seed)


def _conv_windows(draw: Draw, profile: str, dims: int, kind: str, mode: str) -> list[Window]:
    """Draw a window for each dimension of a convolution; kind and mode describe the padding."""
    count = 1 if profile in ONE_WINDOW else dims
    return [
        conv_window(
            draw,
            kernel_sizes(profile, dims, remaining_dims),
            _sources(profile, remaining_dims, long_extras),
            keeps_defaults=_keeps_defaults(profile, remaining_dims),
            padding_kind=kind,
            padding_mode=mode,
        )
        for remaining_dims in range(count, 0, -1)
    ] * (dims // count)


def _transposed_windows(
    draw: Draw, profile: str, dims: int, *, has_output_size: bool
) -> list[Window]:
    """Draw a window for each dimension of a transposed convolution."""
    count = 1 if profile in ONE_WINDOW else dims
    return [
        transposed_window(
            draw,
            kernel_sizes(profile, dims, remaining_dims),
            _sources(profile, remaining_dims, long_transposed_extras),
            keeps_defaults=_keeps_defaults(profile, remaining_dims),
            has_output_size=has_output_size,
        )
        for remaining_dims in range(count, 0, -1)
    ] * (dims // count)


@composite
def convolutions(draw: Draw, layer: str, dims: int, dtype: str) -> Case:
    """Cases of a convolution.

    Args:
        layer: `"Conv2d"`, `"LazyConv2d"`, `"functional.conv2d"`, …
        dims: number of spatial dimensions.
    """
    functional = is_function(layer)
    profile = draw(profiles)
    zeros = profile in ZEROS_ONLY
    mode = "zeros" if functional or zeros else draw(padding_modes)
    kind = "number" if zeros else draw(padding_kinds)
    windows = (
        thin_windows(draw, dims, transposed=False)
        if profile == "thin"
        else _conv_windows(draw, profile, dims, kind, mode)
    )
    groups, in_channels, out_channels = _channels(draw, profile)
    batch = draw(_batches(profile))
    bias = draw(biases)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)

    sizes: dict[str, Any] = {
        "stride": writer.size_argument([w.stride for w in windows]),
        "padding": writer.size_argument([w.padding for w in windows]) if kind == "number" else kind,
        "dilation": writer.size_argument([w.dilation for w in windows]),
        "groups": groups,
    }
    defaults: dict[str, Any] = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    kernel = tuple(w.kernel for w in windows)
    required: dict[str, Any] = {}
    if not functional:
        sizes |= {"bias": bias, "padding_mode": mode}
        defaults |= {"bias": True, "padding_mode": "zeros"}
        lazy = layer.startswith("Lazy")
        required = {} if lazy else {"in_channels": in_channels}
        required |= {"out_channels": out_channels, "kernel_size": writer.size_argument(kernel)}
    lengths = [w.length for w in windows]
    weight = (out_channels, in_channels // groups, *kernel)
    terms = _terms(weight, groups, batch or 1, lengths, lengths)
    leading = () if batch is None else (batch,)
    operands = _operands(
        Filler(regime, dtype, seed, terms),
        (*leading, in_channels, *lengths),
        weight,
        bias=out_channels if bias else None,
    )
    call = Call(layer, required | writer.explicit_arguments(sizes, defaults), {}, dtype, "cpu")
    return _case(call, operands, {}, {"profile": profile, "regime": regime}, seed)


@composite
def transposed_convolutions(draw: Draw, layer: str, dims: int, dtype: str) -> Case:
    """Cases of a transposed convolution.

    Args:
        layer: `"ConvTranspose2d"`, `"LazyConvTranspose2d"`, `"functional.conv_transpose2d"`, …
        dims: number of spatial dimensions.
    """
    functional = is_function(layer)
    profile = draw(profiles)
    has_output_size = draw(yes_no) if not (functional or profile == "plain") else False
    windows = (
        thin_windows(draw, dims, transposed=True)
        if profile == "thin"
        else _transposed_windows(draw, profile, dims, has_output_size=has_output_size)
    )
    groups, in_channels, out_channels = _channels(draw, profile)
    batch = draw(_batches(profile))
    bias = draw(biases)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)

    kernel = tuple(w.kernel for w in windows)
    extra = [0 if has_output_size else w.output_padding for w in windows]
    sizes: dict[str, Any] = {
        "stride": writer.size_argument([w.stride for w in windows]),
        "padding": writer.size_argument([w.padding for w in windows]),
        "output_padding": writer.size_argument(extra),
        "groups": groups,
        "dilation": writer.size_argument([w.dilation for w in windows]),
    }
    defaults: dict[str, Any] = {
        "stride": 1,
        "padding": 0,
        "output_padding": 0,
        "groups": 1,
        "dilation": 1,
    }
    required: dict[str, Any] = {}
    if not functional:
        sizes |= {"bias": bias, "padding_mode": "zeros"}
        defaults |= {"bias": True, "padding_mode": "zeros"}
        lazy = layer.startswith("Lazy")
        required = {} if lazy else {"in_channels": in_channels}
        required |= {"out_channels": out_channels, "kernel_size": writer.size_argument(kernel)}
    outputs = [w.output_size for w in windows]
    leading = () if batch is None else (batch,)
    keywords: dict[str, Any] = {}
    if has_output_size:
        full_shape = writer.next_bit()
        keywords["output_size"] = [*leading, out_channels, *outputs] if full_shape else outputs
    lengths = [w.length for w in windows]
    weight = (in_channels, out_channels // groups, *kernel)
    operands = _operands(
        Filler(regime, dtype, seed, _terms(weight, groups, batch or 1, outputs, lengths)),
        (*leading, in_channels, *lengths),
        weight,
        bias=out_channels if bias else None,
    )
    call = Call(layer, required | writer.explicit_arguments(sizes, defaults), {}, dtype, "cpu")
    return _case(call, operands, keywords, {"profile": profile, "regime": regime}, seed)
