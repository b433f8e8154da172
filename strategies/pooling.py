"""Cases of pooling: modules and functions."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from conformance.strategies.arguments import Written, masks
from conformance.strategies.values import REGIMES, Filler, seeds
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

from conformance.model.case import Call, Case
from conformance.model.formats import format_of

# plain: kernel_size only; full: a window for each dimension; square: one for all of them; thin:
# the input is shorter than the window; overhang: the last window goes off-bounds, or would; long:
# a long last dimension and a long kernel; wide: so many channels as kernels take at a time;
# hopping: the input lies between two taps of the last dimension's window.
profiles = st.sampled_from(
    (
        *("plain", "full", "square", "overhang") * 4,
        *("thin", "thin", "wide", "wide", "long", "long", "hopping"),
    )
)
ONE_WINDOW = ("square", "wide")
kernels = st.sampled_from((1, 2, 3, 4))
long_kernels = st.sampled_from((2, 3, 17))
thin_kernels = st.sampled_from((2, 3, 4, 5))
# None is the kernel's size.
strides = st.sampled_from((None, 1, 2, 3, 4))
overhanging_strides = st.sampled_from((None, 2, 3, 4))
dilations = st.sampled_from((1, 1, 2, 3))
extras = st.integers(0, 3)
long_extras = st.integers(28, 40)
yes_no = st.booleans()
channels = st.integers(1, 3)
wide_channels = st.sampled_from((8, 15, 16, 17, 31, 32, 33))
batches = st.sampled_from((None, 1, 2, 3, 0))
# Apart: no two elements of a plane are equal, so that one is the largest; the plainest first.
regimes = st.sampled_from((*REGIMES, "apart", "apart"))
_DISTINCT = 10  # bits: at most 1 024 numbers between two powers of two


@dataclass(frozen=True)
class Window:
    """One spatial dimension.

    Args:
        kernel, padding, dilation: as torch's arguments.
        stride: likewise; None = the kernel's size.
        length: of the input.
        ceil: the last window may go off-bounds.
        hops: no tap is in the input.
    """

    kernel: int = 1
    stride: int | None = None
    padding: int = 0
    dilation: int = 1
    length: int = 1
    ceil: bool = False
    hops: bool = False

    @property
    def step(self) -> int:
        """From a window to the next."""
        return self.kernel if self.stride is None else self.stride

    def under(self, *, ceil: bool) -> Window:
        """With the mode of all dimensions, in an input that has room for an output."""
        reach = self.dilation * (self.kernel - 1) + 1
        least = max(reach - 2 * self.padding - (self.step - 1 if ceil else 0), 1)
        # An input as long as a step between taps has a tap in it: no window hops over.
        return replace(
            self, ceil=ceil, length=max(self.length, least, 0 if self.hops else self.dilation)
        )


def _window(draw: Draw, profile: str, last: bool) -> Window:
    """A window and a length that it fits, from the outputs backwards."""
    if profile == "plain":
        kernel = draw(kernels)
        length = kernel * (1 + draw(extras)) + draw(st.integers(0, kernel - 1))
        return Window(kernel, length=length)
    if profile == "hopping" and last:
        dilation = draw(st.integers(2, 3))
        return Window(2, draw(strides), 1, dilation, dilation - 1, hops=True)
    long = profile == "long" and last
    kernel = draw(thin_kernels if profile == "thin" else long_kernels if long else kernels)
    stride = draw(overhanging_strides if profile == "overhang" else strides)
    padding, dilation = draw(st.integers(0, kernel // 2)), draw(dilations)
    ceil = profile == "overhang" or draw(yes_no)
    count = 0 if profile == "thin" else draw(long_extras if long else extras)
    window = Window(kernel, stride, padding, dilation, ceil=ceil)
    slack = draw(st.integers(0, window.step - 1))
    length = count * window.step + dilation * (kernel - 1) + 1 - 2 * padding
    return replace(window, length=length - slack if ceil else length + slack)


def _apart(shape: tuple[int, ...], planes: int, seed: int, dtype: str) -> np.ndarray:
    """Different numbers in each plane, all of one sign.

    float16 has 15 × 1 024 of 1 and more, bfloat16 127 × 128.
    """
    distinct = 2 ** min(format_of(dtype).bits - 1, _DISTINCT)
    generator = np.random.default_rng(seed)
    size = math.prod(shape) // max(planes, 1)
    orders = [generator.permutation(size) for _ in range(planes)]
    order = np.array(orders, int).reshape(planes, size)
    numbers = np.ldexp(1.0 + order % distinct / distinct, order // distinct)
    return np.asarray(numbers * generator.choice([-1.0, 1.0], (planes, 1))).reshape(shape)


@st.composite
def max_pools(draw: Draw, layer: str, dims: int, dtype: str) -> Case:
    """Cases of pooling by maximum.

    Args:
        layer: `"MaxPool2d"`, `"functional.max_pool2d"`.
        dims: number of spatial dimensions.
        dtype: torch's name of the dtype.
    """
    profile = draw(profiles)
    count = 1 if profile in ONE_WINDOW else dims
    drawn = [_window(draw, profile, k == count - 1) for k in range(count)] * (dims // count)
    ceil = drawn[0].ceil
    windows = [window.under(ceil=ceil) for window in drawn]
    indices = draw(yes_no)
    batch = draw(batches)
    depth = draw(wide_channels if profile == "wide" else channels)
    written = Written(draw(masks))
    regime, seed = draw(regimes), draw(seeds)

    sizes: dict[str, Any] = {
        "stride": written.size([w.step for w in windows]),
        "padding": written.size([w.padding for w in windows]),
        "dilation": written.size([w.dilation for w in windows]),
        "ceil_mode": ceil,
        "return_indices": indices,
    }
    if all(window.stride is None for window in windows):
        sizes["stride"] = None
    defaults = {
        "stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, "return_indices": False,
    }  # fmt: skip
    required = {"kernel_size": written.size([w.kernel for w in windows])}
    leading = (depth,) if batch is None else (batch, depth)
    shape = (*leading, *(w.length for w in windows))
    if regime == "apart":
        x = _apart(shape, math.prod(leading), seed, dtype)
    else:
        x = Filler(regime, dtype, seed, 1, factors=1).operand(*shape)
    call = Call(layer, required | written.optional(sizes, defaults), {}, dtype, "cpu")
    return Case(call, (x,), labels={"profile": profile, "regime": regime}, seed=seed)
