"""What torch gets worst is drawn: each structure of an audit within ten seeds, by default."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from conformance.backends.numpy_layouts import swapped_axes
from conformance.checks.layout_choice import Layouts, choose_layouts
from conformance.generation.drawing import draw_cases
from conformance.model.case import Case
from conformance.oracles.convolution import per_dimension

SEEDS, EXAMPLES = range(10), 200


@dataclass(frozen=True)
class _Conv:
    """A call by dimension; the input and output of a transposed convolution change places.

    Args:
        inner, outer: channels of a group, in and out.
        groups: as torch's argument.
        kernel, stride, padding, dilation: by dimension.
        lengths, outputs: of the input, of the output.
        batch: examples.
    """

    inner: int
    outer: int
    groups: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    lengths: tuple[int, ...]
    outputs: tuple[int, ...]
    batch: int

    @classmethod
    def of(cls, case: Case) -> _Conv | None:
        """None where the padding is none of zeros by a number, or the batch empty or missing."""
        arguments = case.call.arguments
        functional = case.call.layer.startswith("functional.")
        x = case.inputs[0]
        w = case.inputs[1] if functional else case.call.state["weight"]
        assert x is not None
        assert w is not None
        dims = w.ndim - 2
        padding = arguments.get("padding", 0)
        if arguments.get("padding_mode", "zeros") != "zeros" or isinstance(padding, str):
            return None
        if x.ndim == dims + 1 or not x.size:
            return None
        stride, pads, dilation = (
            per_dimension(arguments.get(name, default), dims)
            for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))
        )
        groups = arguments.get("groups", 1)
        kernel, lengths = w.shape[2:], x.shape[2:]
        spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        sizes = zip(lengths, spans, stride, pads, strict=True)
        if "ranspose" in case.call.layer:
            extra = per_dimension(arguments.get("output_padding", 0), dims)
            unpadded = [(n - 1) * s + r - 2 * p for n, r, s, p in sizes]
            outputs, lengths = lengths, tuple(n + e for n, e in zip(unpadded, extra, strict=True))
        else:
            outputs = tuple((n + 2 * p - r) // s + 1 for n, r, s, p in sizes)
        return cls(
            w.shape[1], w.shape[0] // groups, groups, kernel, stride, pads, dilation, lengths,
            outputs, x.shape[0],
        )  # fmt: skip

    @property
    def windows_on_input(self) -> tuple[int, ...]:
        """How many windows meet the input, by dimension."""
        counts = []
        for k, s, p, d, n, m in zip(
            self.kernel, self.stride, self.padding, self.dilation, self.lengths, self.outputs,
            strict=True,
        ):  # fmt: skip
            taps = np.arange(m)[:, np.newaxis] * s + np.arange(k) * d - p
            counts.append(int(((taps >= 0) & (taps < n)).any(1).sum()))
        return tuple(counts)


# The case as laid out anew, its call by dimension, and its layouts.
Condition = Callable[[Case, _Conv, Layouts], bool]


def _is_thin(case: Case, conv: _Conv, layouts: Layouts) -> bool:
    """`Conv3d(64, 64, 3, padding=1)` on (1, 64, 2, 7, 7): a depth below the kernel's."""
    return (
        min(conv.inner, conv.outer) >= 8
        and min(conv.kernel) > 2
        and max(conv.stride) == max(conv.dilation) == 1
        and min(conv.padding) > 0
        and 2 <= conv.lengths[0] <= conv.kernel[0]
        and min(conv.lengths[1:]) >= min(conv.kernel[1:])
    )


def _reads_padding_only(case: Case, conv: _Conv, layouts: Layouts) -> bool:
    """`Conv2d(64, 128, 3, stride=2, padding=1)` on (8, 64, 1, 1): taps that see padding only."""
    return (
        min(conv.inner, conv.outer) >= 8
        and set(conv.kernel) == {3}
        and set(conv.stride) == {2}
        and set(conv.padding) == set(conv.dilation) == set(conv.lengths) == {1}
    )


def _is_long_depthwise(case: Case, conv: _Conv, layouts: Layouts) -> bool:
    """`conv1d` of (1, 2, 76) and (2, 1, 18) with groups=2."""
    return (
        conv.groups > 1
        and conv.inner == conv.outer == 1
        and conv.kernel[-1] >= 15
        and conv.outputs[-1] >= 31
        and max(conv.stride) == max(conv.dilation) == 1
    )


def _differ_in_width_only(conv: _Conv, *names: str) -> bool:
    """Whether arguments differ from their defaults in the last dimension, and there only."""
    defaults = {"stride": 1, "padding": 0, "dilation": 1}
    values = [(getattr(conv, name), defaults[name]) for name in names]
    return all(v[-1] != default and set(v[:-1]) == {default} for v, default in values)


def _has_one_channel(case: Case, conv: _Conv, layouts: Layouts) -> bool:
    """`Conv2d(1, 16, 3, stride=(1, 2), padding=1)` on (2, 1, 100, 2)."""
    return (
        conv.inner == conv.groups == 1
        and layouts[0] == "channels_last"
        and _differ_in_width_only(conv, "stride")
        and conv.outputs[-1] == 1
        and min(conv.kernel) > 1
        and conv.outputs[0] > 1
    )


def _steps_over_input(case: Case, conv: _Conv, layouts: Layouts) -> bool:
    """conv2d of (2, 2, 2, 1) and (1, 2, 1, 1): stride, padding, dilation in the width only."""
    return (
        conv.inner > 1
        and conv.batch > 1
        and conv.groups == 1
        and layouts[0] == "channels_last"
        and conv.lengths[-1] == conv.kernel[-1] == 1
        and _differ_in_width_only(conv, "stride", "padding", "dilation")
        and conv.windows_on_input[-1] == 0
    )


def _has_transposed_weight(case: Case, conv: _Conv, layouts: Layouts) -> bool:
    """conv2d of (1, 4, 6, 6) and (2, 2, 1, 3), the weight's axes 1 and 3 swapped in memory."""
    key = 1 if case.call.layer.startswith("functional.") else "weight"
    w = case.inputs[1] if key == 1 else case.call.state["weight"]
    assert w is not None
    if conv.groups == 1 or layouts[0] != "channels_last" or layouts[key] != "transposed":
        return False
    pair = swapped_axes(w)
    return pair in ((1, 2), (1, 3)) and w.shape[5 - pair[1]] == 1


# The audit's numbers; 4 is below. Three dimensions of 9 are one case for all, as the structure is.
STRUCTURES: dict[tuple[str, str], dict[str, Condition]] = {
    ("functional.conv1d", "float16"): {"9": _is_long_depthwise},
    ("functional.conv2d", "float32"): {
        "2": _reads_padding_only,
        "3": _has_one_channel,
        "5": _has_transposed_weight,
        "6": _steps_over_input,
        "9": _is_long_depthwise,
    },
    ("functional.conv3d", "bfloat16"): {"1": _is_thin, "8": _is_long_depthwise},
    ("functional.conv_transpose2d", "float16"): {"2": _reads_padding_only, "9": _is_long_depthwise},
    ("functional.conv_transpose3d", "bfloat16"): {"1": _is_thin},
}


@pytest.mark.parametrize(("layer", "dtype"), STRUCTURES)
def test_every_structure_is_drawn(layer: str, dtype: str) -> None:
    missing = dict(STRUCTURES[layer, dtype])
    for seed in SEEDS:
        for case in draw_cases(layer, dtype, EXAMPLES, seed):
            conv = _Conv.of(case)
            if conv is None:
                continue
            layouts, relaid = choose_layouts(case)
            for number in [
                n for n, condition in missing.items() if condition(relaid, conv, layouts)
            ]:
                del missing[number]
        if not missing:
            return
    pytest.fail(f"none of {EXAMPLES} cases at {len(SEEDS)} seeds: {', '.join(missing)}")


def test_packed_input_of_another_feature_size_is_drawn() -> None:
    """Number 4: the LSTM reads out of bounds."""
    assert any(
        case.labels["broken"] == "input of another input_size" and "lengths" in case.keywords
        for seed in SEEDS
        for case in draw_cases("LSTM", "float32", EXAMPLES, seed, invalid=True)
    )


def test_a_model_is_converted_to_channels_last_as_a_whole() -> None:
    cases = [case for seed in range(3) for case in draw_cases("Conv2d", "float32", EXAMPLES, seed)]
    converted = [
        case
        for case in cases
        if (layouts := choose_layouts(case)[0])[0] == layouts["weight"] == "channels_last"
    ]
    assert len(converted) >= len(cases) // 10
