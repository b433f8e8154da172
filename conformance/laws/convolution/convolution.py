"""Laws of convolutions and transposed convolutions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.convolution.calls import Operands
from conformance.laws.multilinear import counterpart
from conformance.oracles.convolution import PAD_MODES
from conformance.spec.law import Claims, Generator, Side, claim, law, many, measured, paired, same

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

# Largest number of inputs and outputs of a layer's copies: a call holds several copies of them.
_MOST = 1 << 21


@law("groups", "a grouped layer is its groups side by side, each a layer of its own")
def groups(trial: Trial, generator: Generator) -> Claims:
    """At most four groups, each compared with its channels of the case's output."""
    op, axis = Operands.of(trial), Operands.of(trial).leading
    if op.groups == 1:
        return
    share = trial.shapes[0][axis] // op.groups
    weights = np.split(op.weight, op.groups)
    biases = [None] * op.groups if op.bias is None else np.split(op.bias, op.groups)
    parts = np.split(op.x, op.groups, axis)
    for g in range(min(op.groups, 4)):
        one = replace(op, inputs=(parts[g],), weight=weights[g], bias=biases[g]).having(groups=1)
        channels = (slice(None),) * axis + (slice(g * share, (g + 1) * share),)
        yield same(one.run(), trial, wanted_moves=lambda y, at=channels: y[at])  # type: ignore[misc]


@law("copies", "copies of a layer side by side as groups do what it does, each by itself")
def copies(trial: Trial, generator: Generator) -> Claims:
    """16 to 33 groups; each copy has its weight and bias negated or not."""
    op = Operands.of(trial)
    count = -(-int(generator.integers(16, 33, endpoint=True)) // op.groups)
    if count * max(op.x.shape[op.leading], trial.shapes[0][op.leading]) > 200:
        return
    # From a batch of large rows only as many as fit.
    fit = slice(max(1, int(_MOST / (count * max(op.numbers, 1.0)))) if op.leading else None)
    signs = generator.choice([-1.0, 1.0], count)
    stacked = np.concatenate([op.weight * sign for sign in signs])
    bias = None if op.bias is None else np.concatenate([op.bias * sign for sign in signs])
    x = np.concatenate([op.x[fit]] * count, op.leading)
    wide = replace(op, inputs=(x,), weight=stacked, bias=bias).having(groups=count * op.groups)

    def one_by_one(y: np.ndarray) -> np.ndarray:
        channels = np.repeat(signs, y.shape[op.leading] // count)
        return np.asarray(y * channels.reshape(-1, *(1,) * op.dims))

    def repeated(y: np.ndarray) -> np.ndarray:
        return np.concatenate([y[fit]] * count, op.leading)

    yield same(wide.run(), trial, got_moves=one_by_one, wanted_moves=repeated)


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
        yield same(op.having(stride=1).run(), trial, got_moves=lambda y: y[(..., *steps)])
        return
    sizes = [
        (n - 1) * s + 1 + extra
        for n, s, extra in zip(op.x.shape[-op.dims :], op.stride, op.output_padding, strict=True)
    ]
    spread = np.zeros((*op.x.shape[: -op.dims], *sizes), op.x.dtype)
    # output_padding adds the same positions as more zeros at the end.
    places: tuple[Any, ...] = tuple(
        slice(0, (n - 1) * s + 1, s) for n, s in zip(op.x.shape[-op.dims :], op.stride, strict=True)
    )
    spread[(..., *places)] = op.x
    yield same(replace(op, inputs=(spread,)).having(stride=1, output_padding=0).run(), trial)


@law(
    "adjoint",
    "⟨conv x, y⟩ = ⟨x, convᵀ y⟩ for the backend's own convolution and transposed convolution",
    "equal where all sums are exact, else within both calls' bounds summed over the elements",
)
def adjoint(trial: Trial, generator: Generator) -> Claims:
    """Without a bias, sample by sample, for a y of −1, 0 and 1."""
    op = replace(Operands.of(trial), bias=None)
    if op.mode != "zeros" or any(before != after for before, after in op.pads):
        return
    lone = not op.leading
    op = replace(op, inputs=(op.x[np.newaxis],)) if lone else op
    forward = op.run()
    y = generator.integers(-1, 1, forward.shapes[0], endpoint=True).astype(op.x.dtype)
    if op.transposed:
        shared: dict[str, Any] = {"padding": op.padding}
    else:
        pads = tuple(before for before, _ in op.pads)
        seen = (n + 2 * p - r for n, p, r in zip(op.x.shape[2:], pads, op.reach, strict=True))
        rest = tuple(n % s for n, s in zip(seen, op.stride, strict=True))
        shared = {"padding": pads, "output_padding": rest}
    shared |= {"stride": op.stride, "dilation": op.dilation, "groups": op.groups}
    back = replace(op, layer=counterpart(op), inputs=(y,), arguments=shared).run()
    (ahead,), (pulled,) = measured(forward), measured(back)
    # An output_padding of a step or more lets the convolution see more windows.
    kept: tuple[Any, ...] = tuple(slice(n) for n in op.x.shape[2:])
    left, right = paired(ahead, y), paired(pulled[(..., *kept)], op.x)
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
        yield same(op.having(padding=0).run(), trial, got_moves=lambda y: y[(..., *inside)])
        return
    if not any(map(any, op.pads)) and not isinstance(op.arguments.get("padding"), str):
        return
    around = ((0, 0),) * (op.leading + 1) + op.pads
    mode = PAD_MODES.get(op.mode, "constant")
    # np.pad cannot copy from an empty batch: pad it with zeros.
    x = np.pad(op.x, around, mode=mode) if op.x.size else np.pad(op.x, around)  # type: ignore[call-overload]
    arguments = {k: v for k, v in op.arguments.items() if k not in ("padding", "padding_mode")}
    yield same(replace(op, inputs=(x,), arguments=arguments).run(), trial)


@law("translation", "an input that recurs along an axis gives an output that recurs")
def translation(trial: Trial, generator: Generator) -> Claims:
    """The input repeated along an axis of 17 to 65 positions; compares windows within one copy."""
    op = Operands.of(trial)
    axis = int(generator.integers(op.dims))
    at = op.leading + 1 + axis
    length, step, reach = op.x.shape[at], op.stride[axis], op.reach[axis]
    size = trial.shapes[0][at]
    if op.transposed:
        # The period keeps outputs of neighbouring copies, and those after the last one, apart.
        period = length + (reach + op.padding[axis] + op.output_padding[axis]) // step + 1
        pitch, first, last = period * step, 0, size
    else:
        before = op.pads[axis][0]
        period = -(-length // step) * step
        pitch = period // step
        first, last = -(-before // step), (length + before - reach) // step + 1
    wanted = many(generator, op.cost * op.rows / length * period)
    count = max(2, wanted // period)
    if first >= last:
        return
    gap = np.zeros((*op.x.shape[:at], period - length, *op.x.shape[at + 1 :]), op.x.dtype)
    x = np.concatenate([op.x, gap] * (count - 1) + [op.x], at)

    def each(y: np.ndarray) -> np.ndarray:
        parts = [y.take(range(c * pitch + first, c * pitch + last), at) for c in range(count)]
        return np.concatenate(parts, at)

    def again(y: np.ndarray) -> np.ndarray:
        return np.concatenate([y.take(range(first, last), at)] * count, at)

    yield same(replace(op, inputs=(x,)).run(), trial, got_moves=each, wanted_moves=again)


@law("flip", "input and kernel turned round turn the output round, if the padding is symmetric")
def flip(trial: Trial, generator: Generator) -> Claims:
    """Flip input and kernel along one axis where the windows end with the input."""
    op = Operands.of(trial)
    axis = int(generator.integers(op.dims))
    if op.transposed:
        even = op.output_padding[axis] == 0
    else:
        before, after = op.pads[axis]
        seen = op.x.shape[op.leading + 1 + axis] + before + after - op.reach[axis]
        even = before == after and seen % op.stride[axis] == 0
    if not even:
        return
    at = axis - op.dims
    turned = replace(op, inputs=(np.flip(op.x, at).copy(),), weight=np.flip(op.weight, at).copy())
    yield same(turned.run(), trial, got_moves=lambda y: np.flip(y, at))
