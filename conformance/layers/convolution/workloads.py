"""Timed calls of convolutions, with the sizes of well-known networks.

ResNet-50: K. He et al., *Deep residual learning for image recognition* (2016). MobileNetV2:
M. Sandler et al. (2018). U-Net: O. Ronneberger et al. (2015). wav2vec 2.0: A. Baevski et al.
(2020). HiFi-GAN: J. Kong et al. (2020).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conformance.spec.workload import Shape, Workload


@dataclass(frozen=True)
class _Timed:
    """One convolution, timed as a module and, if small, as lazy module and function."""

    name: str
    channels: tuple[int, int]
    kernel: int
    input: Shape
    arguments: Mapping[str, Any] = field(default_factory=dict)
    small: bool = False


_CONVOLUTIONS = {
    1: (
        _Timed("audio stem 16 kHz", (1, 512), 10, (1, 1, 4000), {"stride": 5}, small=True),
        _Timed("wav2vec 512 kernel 3", (512, 512), 3, (1, 512, 800), {"stride": 2}),
        _Timed("mel 80 kernel 3", (80, 384), 3, (4, 80, 500), {"padding": 1}),
    ),
    2: (
        _Timed("resnet 128 3x3", (128, 128), 3, (1, 128, 28, 28), {"padding": 1}, small=True),
        _Timed("mobilenet depthwise 144", (144, 144), 3, (1, 144, 28, 28),
               {"padding": 1, "groups": 144, "bias": False}, small=True),
        _Timed("resnet stem", (3, 64), 7, (1, 3, 224, 224), {"stride": 2, "padding": 3}),
        _Timed("resnet 64 to 256 1x1", (64, 256), 1, (8, 64, 56, 56), {"bias": False}),
        _Timed("resnet 64 3x3", (64, 64), 3, (8, 64, 56, 56), {"padding": 1, "bias": False}),
        _Timed("resnet 128 3x3 stride 2", (128, 128), 3, (8, 128, 56, 56),
               {"stride": 2, "padding": 1, "bias": False}),
        _Timed("resnet 1024 to 256 1x1", (1024, 256), 1, (8, 1024, 14, 14), {"bias": False}),
        _Timed("resnet 512 3x3", (512, 512), 3, (8, 512, 7, 7), {"padding": 1, "bias": False}),
        _Timed("unet decoder 128 to 64", (128, 64), 3, (1, 128, 112, 112), {"padding": 1}),
        _Timed("mobilenet depthwise 960", (960, 960), 3, (8, 960, 7, 7),
               {"padding": 1, "groups": 960, "bias": False}),
        _Timed("dilated 256 rate 6", (256, 256), 3, (1, 256, 33, 33),
               {"padding": 6, "dilation": 6}),
    ),
    3: (
        _Timed("video 16 3x3x3", (16, 16), 3, (1, 16, 8, 16, 16), {"padding": 1}, small=True),
        _Timed("video 64 3x3x3", (64, 64), 3, (1, 64, 8, 28, 28), {"padding": 1}),
    ),
}  # fmt: skip
_TRANSPOSED = {
    1: (
        _Timed("vocoder 64 to 32", (64, 32), 16, (1, 64, 100), {"stride": 8, "padding": 4},
               small=True),
        _Timed("vocoder 256 to 128", (256, 128), 16, (1, 256, 200), {"stride": 8, "padding": 4}),
    ),
    2: (
        _Timed("unet up 64 to 32", (64, 32), 2, (1, 64, 28, 28), {"stride": 2}, small=True),
        _Timed("unet up 512 to 256", (512, 256), 2, (1, 512, 28, 28), {"stride": 2}),
        _Timed("dcgan 256 to 128", (256, 128), 4, (8, 256, 8, 8), {"stride": 2, "padding": 1}),
    ),
    3: (
        _Timed("unet up 32 to 16", (32, 16), 2, (1, 32, 8, 8, 8), {"stride": 2}, small=True),
        _Timed("unet up 128 to 64", (128, 64), 2, (1, 128, 8, 14, 14), {"stride": 2}),
    ),
}  # fmt: skip


def workloads(name: str, dims: int, *, transposed: bool) -> tuple[Workload, ...]:
    """The timed calls of the layer `name`, in `dims` spatial dimensions."""
    table, class_stem = (_TRANSPOSED, "ConvTranspose") if transposed else (_CONVOLUTIONS, "Conv")
    all_workloads = (
        w
        for convolution in table[dims]
        for w in _workloads_of(convolution, f"{class_stem}{dims}d", dims)
    )
    return tuple(w for w in all_workloads if w.layer == name)


def flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Operations of a convolution: two for each weight at each position of the output."""
    dims = len(weights[0]) - 2
    return 2 * math.prod(weights[0]) * outputs[0][0] * math.prod(outputs[0][-dims:])


def transposed_flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Operations of a transposed one: two for each weight at each position of the input."""
    (x, *_), dims = workload.inputs, len(weights[0]) - 2
    return 2 * math.prod(weights[0]) * x[0] * math.prod(x[-dims:])


def _workloads_of(convolution: _Timed, name: str, dims: int) -> Iterator[Workload]:
    arguments = {
        "out_channels": convolution.channels[1],
        "kernel_size": convolution.kernel,
        **convolution.arguments,
    }
    module_arguments = {"in_channels": convolution.channels[0], **arguments}
    yield Workload(
        name, convolution.name, module_arguments, (convolution.input,), convolution.small
    )
    if not convolution.small or "groups" in convolution.arguments:
        return
    # Lazy module and function do the same work: one timed call of each shows their overhead.
    yield Workload(f"Lazy{name}", convolution.name, arguments, (convolution.input,), small=True)
    transposed = name.startswith("ConvTranspose")
    outer, inner = convolution.channels if transposed else convolution.channels[::-1]
    inputs = (
        convolution.input,
        (outer, inner, *(convolution.kernel,) * dims),
        (convolution.channels[1],),
    )
    function = "functional.conv_transpose" if transposed else "functional.conv"
    function_arguments = {k: v for k, v in convolution.arguments.items() if k != "bias"}
    yield Workload(f"{function}{dims}d", convolution.name, function_arguments, inputs, small=True)
