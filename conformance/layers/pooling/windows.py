"""Parts that poolings by windows share: arguments, derived facts, workloads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.model.case import Case
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument
from conformance.spec.sizes import as_size_tuple, per_dimension
from conformance.spec.state import Shape
from conformance.spec.trial_protocol import FactsLike as Facts
from conformance.spec.workload import Workload

KERNEL = Argument("kernel_size", simplest=1, per_dimension=True, window=True)
STRIDE = Argument("stride", None, alternative=2, per_dimension=True, window=True)
PADDING = Argument("padding", 0, alternative=1, per_dimension=True, window=True)
DILATION = Argument("dilation", 1, alternative=2, per_dimension=True, window=True)
CEIL = Argument("ceil_mode", False, alternative=True, window=True)
INDICES = Argument("return_indices", False, alternative=True)


@dataclass(frozen=True)
class Space:
    """The spatial dimensions of a layer.

    Args:
        dims: their number.
        axes: the documentation's names of their sizes, `"HW"`.
        indices: names of a position in each, `"hw"`.
    """

    dims: int
    axes: str
    indices: str


_AXES = "batch? channels *{}"
POOLED = Shapes(
    {
        "input": _AXES.format("space"),
        "output": _AXES.format("out"),
        "indices": _AXES.format("out") + " if return_indices",
    }
)
"""Shapes with indices; `Oracle.shapes` gives the lengths of the output."""
POOLED_ONLY = Shapes({name: POOLED.texts[name] for name in ("input", "output")})

SPACES = (Space(1, "L", "l"), Space(2, "HW", "hw"), Space(3, "DHW", "dhw"))


def int64(case: Case) -> str:
    """The dtype of indices, which no case changes."""
    return "int64"


def stride_readback(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The module stores the kernel's size as the stride if that is left out."""
    return {"stride": arguments["kernel_size"]} if arguments["stride"] is None else {}


def input_length(facts: Facts) -> tuple[int, ...] | None:
    """Length of the input in each spatial dimension."""
    first = facts.case.inputs[0]
    return None if first is None else first.shape[-facts.spec.signature.dims :]


def output_length(facts: Facts) -> tuple[int, ...] | None:
    """Length of the output in each spatial dimension."""
    try:
        return tuple(facts.spec.output_shapes(facts.case)[0][-facts.spec.signature.dims :])
    except (ValueError, TypeError, IndexError, KeyError, ZeroDivisionError):
        return None


def overhang(facts: Facts) -> tuple[int, ...] | None:
    """How far the last window exceeds the padded input, in each dimension; negative if it fits."""
    outputs, first = output_length(facts), facts.case.inputs[0]
    if outputs is None or first is None:
        return None
    dims, kernel = facts.spec.signature.dims, facts.get("kernel_size")
    stride = kernel if facts.get("stride") is None else facts.get("stride")
    window_arguments = (kernel, stride, facts.get("padding") or 0, facts.get("dilation") or 1)
    dimensions = zip(
        outputs,
        first.shape[-dims:],
        *(per_dimension(x, dims) for x in window_arguments),
        strict=True,
    )
    return tuple((n - 1) * s + d * (k - 1) + 1 - 2 * p - m for n, m, k, s, p, d in dimensions)


def allows(spec: LayerSpec, case: Case) -> bool:
    """Whether the output is not empty, and the padding is at most half the kernel."""
    arguments, dims = case.call.arguments, spec.signature.dims
    kernel = per_dimension(arguments["kernel_size"], dims)
    padding = per_dimension(arguments.get("padding", 0), dims)
    (output, *_) = spec.output_shapes(case)
    has_output = output is not None and min(output[-dims:]) > 0
    if not has_output or any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        return False
    first = case.inputs[0]
    # A dilated window whose taps all miss a short input is left out.
    dilation = max(as_size_tuple(arguments.get("dilation", 1)))
    return first is None or min(first.shape[-dims:]) >= dilation


def tap_flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Operations: one comparison or addition per tap."""
    kernel = per_dimension(workload.arguments["kernel_size"], len(workload.inputs[0]) - 2)
    return math.prod(outputs[0]) * math.prod(kernel)


_PLANES = {1: ((50, 3136), (64, 12544)), 2: ((16, 56, 56), (64, 112, 112)),
           3: ((4, 8, 56, 56), (16, 16, 56, 56))}  # fmt: skip


def workloads(layer: str, dims: int) -> tuple[Workload, ...]:
    """Timed calls, sized as ResNet's stem (K. He et al., 2015) and VGG's first stage (2014).

    In one and three dimensions the arrays have about as many numbers as in two.
    """
    few_channels, many_channels = ((1, *plane) for plane in _PLANES[dims])
    stem = {"kernel_size": 3, "stride": 2, "padding": 1}
    return (
        Workload(layer, "resnet stem, 16 channels", stem, (few_channels,), small=True),
        Workload(layer, "resnet stem", stem, (many_channels,)),
        Workload(layer, "vgg 64 channels", {"kernel_size": 2}, (many_channels,)),
    )
