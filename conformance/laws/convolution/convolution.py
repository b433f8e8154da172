"""Laws of convolutions and transposed convolutions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.convolution.calls import Operands
from conformance.laws.multilinear import counterpart
from conformance.oracles.convolution import PAD_MODES
from conformance.spec.law import (
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    inner_product,
    large_size,
    law,
    outputs_with_bounds,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

# Largest number of inputs and outputs of a layer's copies: a call holds several copies of them.
_MOST = 1 << 21


@law("groups", "a grouped layer is its groups side by side, each a layer of its own")
def groups(trial: Trial, generator: Generator) -> Claims:
    """At most four groups, each compared with its channels of the case's output."""
    op, axis = Operands.of(trial), Operands.of(trial).leading_axes
    if op.groups == 1:
        return
    channels_per_group = trial.shapes[0][axis] // op.groups
    weights = np.split(op.weight, op.groups)
    biases = [None] * op.groups if op.bias is None else np.split(op.bias, op.groups)
    parts = np.split(op.x, op.groups, axis)
    for g in range(min(op.groups, 4)):
        group = replace(op, inputs=(parts[g],), weight=weights[g], bias=biases[g]).with_arguments(
            groups=1
        )
        channels = (slice(None),) * axis + (
            slice(g * channels_per_group, (g + 1) * channels_per_group),
        )
        yield equality_claim(group.call(), trial, wanted_moves=lambda y, at=channels: y[at])  # type: ignore[misc]


@law("copies", "copies of a layer side by side as groups do what it does, each by itself")
def copies(trial: Trial, generator: Generator) -> Claims:
    """16 to 33 groups; each copy has its weight and bias negated or not."""
    op = Operands.of(trial)
    count = -(-int(generator.integers(16, 33, endpoint=True)) // op.groups)
    if count * max(op.x.shape[op.leading_axes], trial.shapes[0][op.leading_axes]) > 200:
        return
    # From a batch of large rows only as many as fit.
    rows_that_fit = slice(
        max(1, int(_MOST / (count * max(op.numbers_per_row, 1.0)))) if op.leading_axes else None
    )
    signs = generator.choice([-1.0, 1.0], count)
    stacked = np.concatenate([op.weight * sign for sign in signs])
    bias = None if op.bias is None else np.concatenate([op.bias * sign for sign in signs])
    x = np.concatenate([op.x[rows_that_fit]] * count, op.leading_axes)
    grouped = replace(op, inputs=(x,), weight=stacked, bias=bias).with_arguments(
        groups=count * op.groups
    )

    def undo_signs(y: np.ndarray) -> np.ndarray:
        channels = np.repeat(signs, y.shape[op.leading_axes] // count)
        return np.asarray(y * channels.reshape(-1, *(1,) * op.dims))

    def repeat_rows(y: np.ndarray) -> np.ndarray:
        return np.concatenate([y[rows_that_fit]] * count, op.leading_axes)

    yield equality_claim(grouped.call(), trial, got_moves=undo_signs, wanted_moves=repeat_rows)


@law("stride", "a stride takes every s-th output of stride 1, or sets the input s apart")
def stride(trial: Trial, generator: Generator) -> Claims:
    """With stride 1: thin out the outputs; of a transposed convolution, spread the inputs."""
    op = Operands.of(trial)
    if max(op.stride) == 1:
        return
    if not op.transposed:
        lengths = trial.shapes[0][-op.dims :]
        # The slices hold for an empty batch, too.
        steps: tuple[Any, ...] = tuple(
            slice(0, (n - 1) * s + 1, s) for n, s in zip(lengths, op.stride, strict=True)
        )
        yield equality_claim(
            op.with_arguments(stride=1).call(), trial, got_moves=lambda y: y[(..., *steps)]
        )
        return
    sizes = [
        (n - 1) * s + 1 + extra
        for n, s, extra in zip(op.x.shape[-op.dims :], op.stride, op.output_padding, strict=True)
    ]
    spread = np.zeros((*op.x.shape[: -op.dims], *sizes), op.x.dtype)
    # output_padding adds the same positions as more zeros at the end.
    positions: tuple[Any, ...] = tuple(
        slice(0, (n - 1) * s + 1, s) for n, s in zip(op.x.shape[-op.dims :], op.stride, strict=True)
    )
    spread[(..., *positions)] = op.x
    yield equality_claim(
        replace(op, inputs=(spread,)).with_arguments(stride=1, output_padding=0).call(), trial
    )


@law(
    "adjoint",
    "⟨conv x, y⟩ = ⟨x, convᵀ y⟩ for the backend's own convolution and transposed convolution",
    "equal where all sums are exact, else within both calls' bounds summed over the elements",
)
def adjoint(trial: Trial, generator: Generator) -> Claims:
    """Without a bias, sample by sample, for a y of −1, 0 and 1."""
    op = replace(Operands.of(trial), bias=None)
    if op.padding_mode != "zeros" or any(before != after for before, after in op.pads):
        return
    is_unbatched = not op.leading_axes
    op = replace(op, inputs=(op.x[np.newaxis],)) if is_unbatched else op
    forward = op.call()
    y = generator.integers(-1, 1, forward.shapes[0], endpoint=True).astype(op.x.dtype)
    if op.transposed:
        common_arguments: dict[str, Any] = {"padding": op.padding}
    else:
        pads = tuple(before for before, _ in op.pads)
        covered = (
            n + 2 * p - r for n, p, r in zip(op.x.shape[2:], pads, op.window_extent, strict=True)
        )
        leftover = tuple(n % s for n, s in zip(covered, op.stride, strict=True))
        common_arguments = {"padding": pads, "output_padding": leftover}
    common_arguments |= {"stride": op.stride, "dilation": op.dilation, "groups": op.groups}
    back = replace(op, layer=counterpart(op), inputs=(y,), arguments=common_arguments).call()
    (forward_output,), (backward_output,) = outputs_with_bounds(forward), outputs_with_bounds(back)
    # An output_padding of a step or more lets the convolution see more windows.
    input_range: tuple[Any, ...] = tuple(slice(n) for n in op.x.shape[2:])
    left, right = (
        inner_product(forward_output, y),
        inner_product(backward_output[(..., *input_range)], op.x),
    )
    yield claim(forward, (left,), Side(f"⟨x, ·⟩ of {back.text()}", (right,)))


@law("padding", "padding is what is put around the input; of a transposed layer, what is cut off")
def padding(trial: Trial, generator: Generator) -> Claims:
    """The input padded by NumPy in the case's mode, and the call without padding."""
    op = Operands.of(trial)
    if op.transposed:
        if not any(op.padding):
            return
        inside: tuple[Any, ...] = tuple(
            slice(p, p + n) for p, n in zip(op.padding, trial.shapes[0][-op.dims :], strict=True)
        )
        yield equality_claim(
            op.with_arguments(padding=0).call(), trial, got_moves=lambda y: y[(..., *inside)]
        )
        return
    if not any(map(any, op.pads)) and not isinstance(op.arguments.get("padding"), str):
        return
    pad_widths = ((0, 0),) * (op.leading_axes + 1) + op.pads
    mode = PAD_MODES.get(op.padding_mode, "constant")
    # np.pad cannot copy from an empty batch: pad it with zeros.
    x = np.pad(op.x, pad_widths, mode=mode) if op.x.size else np.pad(op.x, pad_widths)  # type: ignore[call-overload]
    arguments = {k: v for k, v in op.arguments.items() if k not in ("padding", "padding_mode")}
    yield equality_claim(replace(op, inputs=(x,), arguments=arguments).call(), trial)


@law("translation", "an input that recurs along an axis gives an output that recurs")
def translation(trial: Trial, generator: Generator) -> Claims:
    """The input repeated along an axis of 17 to 65 positions; compares windows within one copy."""
    op = Operands.of(trial)
    axis = int(generator.integers(op.dims))
    array_axis = op.leading_axes + 1 + axis
    length, step, reach = op.x.shape[array_axis], op.stride[axis], op.window_extent[axis]
    size = trial.shapes[0][array_axis]
    if op.transposed:
        # The period keeps outputs of neighbouring copies, and those after the last one, apart.
        period = length + (reach + op.padding[axis] + op.output_padding[axis]) // step + 1
        pitch, first, last = period * step, 0, size
    else:
        before = op.pads[axis][0]
        period = -(-length // step) * step
        pitch = period // step
        first, last = -(-before // step), (length + before - reach) // step + 1
    target_length = large_size(generator, op.cost * op.batch_size / length * period)
    count = max(2, target_length // period)
    if first >= last:
        return
    gap = np.zeros(
        (*op.x.shape[:array_axis], period - length, *op.x.shape[array_axis + 1 :]), op.x.dtype
    )
    x = np.concatenate([op.x, gap] * (count - 1) + [op.x], array_axis)

    def take_windows(y: np.ndarray) -> np.ndarray:
        parts = [
            y.take(range(c * pitch + first, c * pitch + last), array_axis) for c in range(count)
        ]
        return np.concatenate(parts, array_axis)

    def repeat_windows(y: np.ndarray) -> np.ndarray:
        return np.concatenate([y.take(range(first, last), array_axis)] * count, array_axis)

    yield equality_claim(
        replace(op, inputs=(x,)).call(), trial, got_moves=take_windows, wanted_moves=repeat_windows
    )


@law("flip", "input and kernel turned round turn the output round, if the padding is symmetric")
def flip(trial: Trial, generator: Generator) -> Claims:
    """Flip input and kernel along one axis where the windows end with the input."""
    op = Operands.of(trial)
    axis = int(generator.integers(op.dims))
    if op.transposed:
        is_symmetric = op.output_padding[axis] == 0
    else:
        before, after = op.pads[axis]
        covered = op.x.shape[op.leading_axes + 1 + axis] + before + after - op.window_extent[axis]
        is_symmetric = before == after and covered % op.stride[axis] == 0
    if not is_symmetric:
        return
    array_axis = axis - op.dims
    turned = replace(
        op, inputs=(np.flip(op.x, array_axis).copy(),), weight=np.flip(op.weight, array_axis).copy()
    )
    yield equality_claim(turned.call(), trial, got_moves=lambda y: np.flip(y, array_axis))
