"""The table of timed calls: every layer, at sizes that people run.

Sizes of ResNet-50 after K. He et al., *Deep residual learning for image recognition* (2016), of
MobileNetV2 after M. Sandler et al. (2018), of the U-Net after O. Ronneberger et al. (2015), of
wav2vec 2.0 after A. Baevski et al. (2020), of HiFi-GAN after J. Kong et al. (2020), of BERT-base
after J. Devlin et al. (2019).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, ...]
SETS = ("none", "small", "full")
PASSES = ("forward", "forward+backward")


@dataclass(frozen=True)
class Workload:
    """One call to be timed.

    Args:
        layer: a name of the catalogue.
        name: what it is part of, unique for the layer.
        arguments: of the call; all of them, defaults as well where they are left out.
        inputs: shapes, in torch's order; a functional layer's weight and bias are among them.
        small: belongs to the set that takes seconds; the other set has every call.
    """

    layer: str
    name: str
    arguments: Mapping[str, Any]
    inputs: tuple[Shape, ...]
    small: bool = False


@dataclass(frozen=True)
class Timed:
    """What one benchmark line is about.

    Args:
        layer, name: of the workload.
        direction: one of `PASSES`.
        dtype, device: names.
    """

    layer: str
    name: str
    direction: str
    dtype: str
    device: str

    @property
    def id(self) -> str:
        """`"Conv2d-resnet_stem-forward-float32-cpu"`."""
        facts = (self.layer, self.name, self.direction, self.dtype, self.device)
        return "-".join(facts).replace(" ", "_")


@dataclass(frozen=True)
class _Window:
    """A convolution, from which module, lazy module and function are derived."""

    name: str
    channels: tuple[int, int]
    kernel: int
    input: Shape
    more: Mapping[str, Any] = field(default_factory=dict)
    small: bool = False


_CONVOLUTIONS = {
    1: (
        _Window("audio stem 16 kHz", (1, 512), 10, (1, 1, 4000), {"stride": 5}, small=True),
        _Window("wav2vec 512 kernel 3", (512, 512), 3, (1, 512, 800), {"stride": 2}),
        _Window("mel 80 kernel 3", (80, 384), 3, (4, 80, 500), {"padding": 1}),
    ),
    2: (
        _Window("resnet 128 3x3", (128, 128), 3, (1, 128, 28, 28), {"padding": 1}, small=True),
        _Window("mobilenet depthwise 144", (144, 144), 3, (1, 144, 28, 28),
                {"padding": 1, "groups": 144, "bias": False}, small=True),
        _Window("resnet stem", (3, 64), 7, (1, 3, 224, 224), {"stride": 2, "padding": 3}),
        _Window("resnet 64 to 256 1x1", (64, 256), 1, (8, 64, 56, 56), {"bias": False}),
        _Window("resnet 64 3x3", (64, 64), 3, (8, 64, 56, 56), {"padding": 1, "bias": False}),
        _Window("resnet 128 3x3 stride 2", (128, 128), 3, (8, 128, 56, 56),
                {"stride": 2, "padding": 1, "bias": False}),
        _Window("resnet 1024 to 256 1x1", (1024, 256), 1, (8, 1024, 14, 14), {"bias": False}),
        _Window("resnet 512 3x3", (512, 512), 3, (8, 512, 7, 7), {"padding": 1, "bias": False}),
        _Window("unet decoder 128 to 64", (128, 64), 3, (1, 128, 112, 112), {"padding": 1}),
        _Window("mobilenet depthwise 960", (960, 960), 3, (8, 960, 7, 7),
                {"padding": 1, "groups": 960, "bias": False}),
        _Window("dilated 256 rate 6", (256, 256), 3, (1, 256, 33, 33),
                {"padding": 6, "dilation": 6}),
    ),
    3: (
        _Window("video 16 3x3x3", (16, 16), 3, (1, 16, 8, 16, 16), {"padding": 1}, small=True),
        _Window("video 64 3x3x3", (64, 64), 3, (1, 64, 8, 28, 28), {"padding": 1}),
    ),
}  # fmt: skip
_TRANSPOSED = {
    1: (
        _Window("vocoder 64 to 32", (64, 32), 16, (1, 64, 100), {"stride": 8, "padding": 4},
                small=True),
        _Window("vocoder 256 to 128", (256, 128), 16, (1, 256, 200), {"stride": 8, "padding": 4}),
    ),
    2: (
        _Window("unet up 64 to 32", (64, 32), 2, (1, 64, 28, 28), {"stride": 2}, small=True),
        _Window("unet up 512 to 256", (512, 256), 2, (1, 512, 28, 28), {"stride": 2}),
        _Window("dcgan 256 to 128", (256, 128), 4, (8, 256, 8, 8), {"stride": 2, "padding": 1}),
    ),
    3: (
        _Window("unet up 32 to 16", (32, 16), 2, (1, 32, 8, 8, 8), {"stride": 2}, small=True),
        _Window("unet up 128 to 64", (128, 64), 2, (1, 128, 8, 14, 14), {"stride": 2}),
    ),
}  # fmt: skip
# Batch, steps, width, more arguments; the width is also that of the input.
_RECURRENT: tuple[tuple[int, int, int, Mapping[str, Any]], ...] = (
    (8, 12, 128, {}),
    (16, 12, 256, {"bidirectional": True}),
    (16, 10, 512, {"batch_first": True}),
    (8, 5, 1024, {}),
)
_CELLS = ((16, 128), (32, 512), (32, 1024))
_LINEARS = (
    ("bert 768 to 768", (1, 64, 768), 768),
    ("bert 768 to 3072", (4, 128, 768), 3072),
    ("bert 3072 to 768", (4, 128, 3072), 768),
    ("decoding 4096 to 4096", (1, 4096), 4096),
)
_BILINEARS = (("pairs of 64", 16, 64, 32), ("pairs of 128", 64, 128, 128))


def _convolutions() -> Iterator[Workload]:
    for table, kind in ((_CONVOLUTIONS, "Conv"), (_TRANSPOSED, "ConvTranspose")):
        for d, windows in table.items():
            for w in windows:
                yield from _of_window(w, f"{kind}{d}d", d)


def _of_window(w: _Window, name: str, d: int) -> Iterator[Workload]:
    arguments = {"out_channels": w.channels[1], "kernel_size": w.kernel, **w.more}
    whole = {"in_channels": w.channels[0], **arguments}
    yield Workload(name, w.name, whole, (w.input,), w.small)
    if not w.small or "groups" in w.more:
        return
    # Lazy module and function are the same work: one of each says what they add.
    yield Workload(f"Lazy{name}", w.name, arguments, (w.input,), small=True)
    transposed = name.startswith("ConvTranspose")
    outer, inner = w.channels if transposed else w.channels[::-1]
    inputs = (w.input, (outer, inner, *(w.kernel,) * d), (w.channels[1],))
    function = "functional.conv_transpose" if transposed else "functional.conv"
    more = {k: v for k, v in w.more.items() if k != "bias"}
    yield Workload(f"{function}{d}d", w.name, more, inputs, small=True)


def _recurrent() -> Iterator[Workload]:
    for layer in ("RNN", "LSTM", "GRU"):
        for batch, steps, width, more in _RECURRENT:
            name = f"batch {batch}, {steps} steps, width {width}"
            leading = (batch, steps) if more.get("batch_first") else (steps, batch)
            arguments = {"input_size": width, "hidden_size": width, **more}
            yield Workload(layer, name, arguments, ((*leading, width),), width == 128)
        for batch, width in _CELLS:
            arguments = {"input_size": width, "hidden_size": width}
            shapes = ((batch, width),) * (3 if layer == "LSTM" else 2)
            name = f"batch {batch}, width {width}"
            yield Workload(f"{layer}Cell", name, arguments, shapes, width == 128)


def _linear() -> Iterator[Workload]:
    yield Workload("Identity", "64 by 768", {}, ((64, 768),), small=True)
    for k, (name, shape, width) in enumerate(_LINEARS):
        arguments = {"in_features": shape[-1], "out_features": width}
        yield Workload("Linear", name, arguments, (shape,), k == 0)
        if k == 0:
            yield Workload("LazyLinear", name, {"out_features": width}, (shape,), small=True)
            inputs: tuple[Shape, ...] = (shape, (width, shape[-1]), (width,))
            yield Workload("functional.linear", name, {}, inputs, small=True)
    for k, (name, batch, width, out) in enumerate(_BILINEARS):
        arguments = {"in1_features": width, "in2_features": width, "out_features": out}
        pair = ((batch, width), (batch, width))
        yield Workload("Bilinear", name, arguments, pair, k == 0)
        if k == 0:
            inputs = (*pair, (out, width, width), (out,))
            yield Workload("functional.bilinear", name, {}, inputs, small=True)


WORKLOADS: dict[tuple[str, str], Workload] = {
    (w.layer, w.name): w for w in (*_convolutions(), *_recurrent(), *_linear())
}


def plan(
    which: str, *, layers: Sequence[str], dtypes: Sequence[str], devices: Sequence[str]
) -> tuple[Timed, ...]:
    """The calls of a set.

    Args:
        which: one of `SETS`.
        layers, dtypes, devices: what to combine.
    """
    chosen = [w for w in WORKLOADS.values() if which == "full" or (which == "small" and w.small)]
    return tuple(
        Timed(w.layer, w.name, direction, dtype, device)
        for layer in layers
        for w in chosen
        if w.layer == layer
        for device in devices
        for dtype in dtypes
        for direction in PASSES
    )
