"""Cases of Unfold and Fold: modules and functions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from conformance.strategies.arguments import ArgumentWriter, masks
from conformance.strategies.composing import composite
from conformance.strategies.values import Filler, seeds, sum_regimes
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case

# plain: kernel_size only; full: a window for each dimension; square: one for both; apart: no two
# blocks share a pixel; thin: the image is shorter than a block; long: a long last dimension; wide:
# many channels; replicated: one window for both dimensions, its numbers written as tuples of length
# 1, which the documentation allows.
profiles = st.sampled_from(
    (
        *("plain", "full", "full", "square", "apart", "thin", "plain", "square", "long", "wide")
        * 2,
        "replicated",
    )
)
_ONE_WINDOW = ("square", "replicated")
_KERNELS = st.sampled_from((1, 2, 3, 4))
_LONG_KERNELS = st.sampled_from((2, 3, 17))
_THIN_KERNELS = st.sampled_from((2, 3, 4, 5))
_STRIDES = st.sampled_from((1, 1, 2, 3, 4))
_DILATIONS = st.sampled_from((1, 1, 2, 3))
# Padding may be longer than a block: some blocks then hold zeros only.
_PADDINGS = st.sampled_from((0, 0, 1, 2, 3, 5))
_EXTRAS = st.integers(0, 3)
_LONG_EXTRAS = st.integers(28, 40)
_CHANNELS = st.sampled_from((1, 2, 3))
_WIDE_CHANNELS = st.sampled_from((8, 16, 17, 33))
_BATCHES = st.sampled_from((None, 1, 2, 3, 0))
NAMES = ("kernel_size", "dilation", "padding", "stride")


@dataclass(frozen=True)
class _Window:
    kernel: int
    dilation: int
    padding: int
    stride: int
    length: int

    @property
    def count(self) -> int:
        reach = self.dilation * (self.kernel - 1)
        return (self.length + 2 * self.padding - reach - 1) // self.stride + 1


def _window(draw: Draw, profile: str, last: bool) -> _Window:
    """Draw a window and, from its number of blocks backwards, an image length that fits it."""
    if profile == "plain":
        kernel = draw(_KERNELS)
        return _Window(kernel, 1, 0, 1, kernel + draw(_EXTRAS))
    long = profile == "long" and last
    kernel = draw(_LONG_KERNELS if long else _THIN_KERNELS if profile == "thin" else _KERNELS)
    dilation, stride, padding = draw(_DILATIONS), draw(_STRIDES), draw(_PADDINGS)
    reach = dilation * (kernel - 1) + 1
    if profile == "thin":
        padding = max(padding, reach // 2)
        stride = min(stride, 2)
    if profile == "apart":
        stride, padding = stride - 1 + reach, 0
    min_length = max(reach - 2 * padding, 1)
    extra_blocks = draw(_LONG_EXTRAS if long else _EXTRAS) if profile != "thin" else 0
    slack = draw(st.integers(0, stride - 1)) if stride > 1 else 0
    return _Window(kernel, dilation, padding, stride, min_length + extra_blocks * stride + slack)


@composite
def foldings(draw: Draw, layer: str, folds: bool, dtype: str) -> Case:
    """Cases of a layer.

    Args:
        layer: `"Unfold"`, `"functional.fold"`, …
        folds: Fold, which adds up blocks; otherwise Unfold, which extracts them.
    """
    profile = draw(profiles)
    single_window = profile in _ONE_WINDOW
    first = _window(draw, profile, single_window)
    windows = [first, first if single_window else _window(draw, profile, True)]
    batch, channels = draw(_BATCHES), draw(_WIDE_CHANNELS if profile == "wide" else _CHANNELS)
    writer = ArgumentWriter(draw(masks))
    regime, seed = draw(sum_regimes), draw(seeds)
    leading = () if batch is None else (batch,)

    def size_argument(numbers: list[int]) -> int | tuple[int, ...]:
        return tuple(numbers[:1]) if profile == "replicated" else writer.size_argument(numbers)

    sizes: dict[str, Any] = {
        "kernel_size": size_argument([w.kernel for w in windows]),
        "dilation": size_argument([w.dilation for w in windows]),
        "padding": size_argument([w.padding for w in windows]),
        "stride": size_argument([w.stride for w in windows]),
    }
    lengths = [w.length for w in windows]
    required = {"kernel_size": sizes.pop("kernel_size")}
    if folds:
        required = {"output_size": size_argument(lengths), **required}
    arguments = required | writer.explicit_arguments(
        sizes, {"dilation": 1, "padding": 0, "stride": 1}
    )
    block_size = math.prod(w.kernel for w in windows)
    shape = (channels * block_size, math.prod(w.count for w in windows)) if folds else (
        channels, *lengths,
    )  # fmt: skip
    # Where blocks overlap, Fold adds up to this many values forward, Unfold backward.
    terms = block_size if folds else 1
    x = Filler(regime, dtype, seed, terms, factors=1).operand(*leading, *shape)
    labels = {"profile": profile, "regime": regime}
    return Case(Call(layer, arguments, {}, dtype, "cpu"), (x,), labels=labels, seed=seed)
