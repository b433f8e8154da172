"""Windows of pooling: kernel, stride, dilation, padding, and input lengths that fit them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from conformance.strategies.arguments import ArgumentWriter
from conformance.strategies.windows import Draw
from hypothesis import strategies as st

# plain: kernel_size only; full: a window for each dimension; square: one for all of them; thin: the
# input is shorter than the window; overhang: the last window exceeds the input, or would; long: a
# long last dimension and a long kernel; wide: about as many channels as kernels take at a time;
# hopping: the input lies between two taps of the last dimension's window.
_PROFILES = (
    *("plain", "full", "square", "overhang") * 4,
    *("thin", "thin", "wide", "wide", "long", "long", "hopping"),
)
profiles = st.sampled_from(_PROFILES)
# heavy: a window has more than 32 elements, whose sum in half precision has few right digits.
summing_profiles = st.sampled_from((*_PROFILES, *("heavy",) * 4))
ONE_WINDOW = ("square", "wide")
kernels = st.sampled_from((1, 2, 3, 4))
long_kernels = st.sampled_from((2, 3, 17))
thin_kernels = st.sampled_from((2, 3, 4, 5))
heavy_kernels = {1: st.sampled_from((33, 40, 65)), 2: st.sampled_from((6, 7)), 3: st.just(4)}
# None stands for the kernel's size.
strides = st.sampled_from((None, 1, 2, 3, 4))
overhanging_strides = st.sampled_from((None, 2, 3, 4))
dilations = st.sampled_from((1, 1, 2, 3))
extras = st.integers(0, 3)
keep_kernels_inside = st.sampled_from((True, True, True, False))
few_extras = st.integers(0, 2)
long_extras = st.integers(28, 40)
yes_no = st.booleans()
channels = st.integers(1, 3)
wide_channels = st.sampled_from((8, 15, 16, 17, 31, 32, 33))
batches = st.sampled_from((None, 1, 2, 3, 0))
batches_with_elements = st.sampled_from((1, None, 2))
DEFAULTS: Mapping[str, Any] = {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False}


@dataclass(frozen=True)
class Window:
    """One spatial dimension.

    Args:
        stride: None = the kernel's size.
        length: length of the input.
        ceil: the last window may exceed the input.
        skips_input: no tap is in the input.
    """

    kernel: int = 1
    stride: int | None = None
    padding: int = 0
    dilation: int = 1
    length: int = 1
    ceil: bool = False
    skips_input: bool = False

    @property
    def step(self) -> int:
        """Distance from a window to the next."""
        return self.kernel if self.stride is None else self.stride

    def fit_input(self, *, ceil: bool) -> Window:
        """Set `ceil`, and lengthen the input until it has an output."""
        reach = self.dilation * (self.kernel - 1) + 1
        min_length = max(reach - 2 * self.padding - (self.step - 1 if ceil else 0), 1)
        # At least as long as the dilation: then some tap is in the input.
        return replace(
            self,
            ceil=ceil,
            length=max(self.length, min_length, 0 if self.skips_input else self.dilation),
        )


def _draw_window(
    draw: Draw, profile: str, dims: int, last: bool, has_padding: bool, has_dilation: bool
) -> Window:
    """Draw a window and, from the number of outputs backwards, an input length that fits it."""
    output_extras = extras if dims < 3 else few_extras
    if profile == "plain":
        kernel = draw(kernels)
        length = kernel * (1 + draw(output_extras)) + draw(st.integers(0, kernel - 1))
        return Window(kernel, length=length)
    if profile == "hopping" and last and has_dilation:
        dilation = draw(st.integers(2, 3))
        return Window(2, draw(strides), 1, dilation, dilation - 1, skips_input=True)
    long = profile == "long" and last
    own_kernels = {"thin": thin_kernels, "heavy": heavy_kernels[dims]}.get(profile, kernels)
    kernel = draw(long_kernels if long else own_kernels)
    stride = draw(overhanging_strides if profile == "overhang" else strides)
    padding = draw(st.integers(0, kernel // 2)) if has_padding else 0
    dilation = draw(dilations) if has_dilation else 1
    ceil = profile == "overhang" or (profile != "heavy" and draw(yes_no))
    count = 0 if profile == "thin" else draw(long_extras if long else output_extras)
    window = Window(kernel, stride, padding, dilation, ceil=ceil)
    slack = draw(st.integers(0, window.step - 1))
    length = count * window.step + dilation * (kernel - 1) + 1 - 2 * padding
    return replace(window, length=length - slack if ceil else length + slack)


def draw_windows(
    draw: Draw, profile: str, dims: int, *, has_padding: bool = True, has_dilation: bool = True
) -> list[Window]:
    """Draw a window for each of `dims` dimensions, with an input that has an output.

    Args:
        profile: one of `summing_profiles`.
        has_padding, has_dilation: the layer has the argument padding, dilation.
    """
    count = 1 if profile in ONE_WINDOW else dims
    windows_drawn = [
        _draw_window(draw, profile, dims, k == count - 1, has_padding, has_dilation)
        for k in range(count)
    ]
    ceil = windows_drawn[0].ceil
    fitted = [window.fit_input(ceil=ceil) for window in windows_drawn * (dims // count)]
    if dims == 3 and draw(keep_kernels_inside):
        # In three dimensions one is often shorter than its window, which some backends refuse.
        fitted = [
            w if w.skips_input else replace(w, length=max(w.length, w.kernel)) for w in fitted
        ]
    return fitted


def draw_leading(draw: Draw, profile: str) -> tuple[int, ...]:
    """Draw the sizes of the axes before the spatial ones: perhaps a batch, and channels."""
    batch = draw(batches_with_elements if profile == "heavy" else batches)
    depth = draw(wide_channels if profile == "wide" else channels)
    return (depth,) if batch is None else (batch, depth)


def window_arguments(
    writer: ArgumentWriter, windows: Sequence[Window], *names: str
) -> dict[str, Any]:
    """The arguments of the windows that are listed in `names`, each a key of `DEFAULTS`.

    Args:
        writer: decides whether a size is one number or a tuple.
        windows: one for each dimension.
    """
    values: dict[str, Any] = {
        "stride": writer.size_argument([w.step for w in windows]),
        "padding": writer.size_argument([w.padding for w in windows]),
        "dilation": writer.size_argument([w.dilation for w in windows]),
        "ceil_mode": windows[0].ceil,
    }
    if all(window.stride is None for window in windows):
        values["stride"] = None
    return {name: values[name] for name in names}
