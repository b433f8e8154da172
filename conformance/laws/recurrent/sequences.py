"""Laws of recurrent layers over time: parts of a sequence, directions, stacked layers, packing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.rounded import Rounded
from conformance.laws.recurrent.calls import Form, RecurrentCall
from conformance.laws.recurrent.layers import common, stepped
from conformance.spec.law import (
    SUMMED,
    Claim,
    Claims,
    Generator,
    Side,
    bounded,
    law,
    measured,
    moved,
    same,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_CELLS = ("input_size", "hidden_size", "bias", "nonlinearity")


def _pieced(names: Sequence[str], text: str, arrays: Sequence[np.ndarray], whole: Side) -> Claim:
    """The claim that an output computed piece by piece equals the whole.

    Computing pieces is one correct way to compute the whole, so the whole's bound holds for both.
    """
    return Claim(tuple(names), Side(text, bounded(arrays, whole.outputs)), whole)


def _side(trial: Trial, outputs: Sequence[Rounded]) -> Side:
    return Side(trial.text(), tuple(outputs))


def _whole(trial: Trial) -> Side:
    """The case's own answer in `RecurrentCall`'s form."""
    return _side(trial, moved(measured(trial), common(trial)))


@law("batch_first", "batch_first exchanges the first two axes of input and output, nothing else")
def batch_first(trial: Trial, generator: Generator) -> Claims:
    """The call with batch_first inverted."""
    run, form = RecurrentCall.of(trial), Form.of(trial)
    if not form.batched:
        return
    if form.batch_first:
        yield same(run.run(batch_first=False), trial, wanted_moves=common(trial))
        return
    other = replace(run, x=run.x.swapaxes(0, 1).copy()).run(batch_first=True)
    kept = (lambda h: h,) * (len(trial.shapes) - 1)
    yield same(other, trial, got_moves=(lambda y: y.swapaxes(0, 1), *kept))


@law("packed", "a packed sequence is the sequence alone, and zeros after it")
def packed(trial: Trial, generator: Generator) -> Claims:
    """Each packed row alone, cut to its length; or an unpacked batch packed at full length."""
    run = RecurrentCall.of(trial)
    length = run.x.shape[0]
    if run.lengths is None:
        if Form.of(trial).batched and run.batch:
            full = replace(run, lengths=(length,) * run.batch)
            yield same(full.run(), trial, wanted_moves=common(trial))
        return
    whole = _whole(trial)
    for row in generator.permutation(run.batch):
        one, own = slice(row, row + 1), run.lengths[row]
        alone = run.states(lambda h, one=one: h[:, one])  # type: ignore[misc]
        call = replace(alone, x=run.x[:own, one], lengths=None).run()
        output, *finals = call.answer
        after = np.zeros((length - own, *output.shape[1:]))
        part = Side(f"row {row} of {whole.text}", tuple(y[:, one] for y in whole.outputs))
        yield _pieced(trial.names, call.text(), [np.concatenate([output, after]), *finals], part)


@law("stacked", "stacked layers are layers one after the other")
def stacked(trial: Trial, generator: Generator) -> Claims:
    """Each layer, with all its directions, in a call of its own."""
    run = RecurrentCall.of(trial)
    if run.layers == 1:
        return
    x, finals, texts = run.x, [], []
    for layer in range(run.layers):
        call = _layer(run, layer, x).run()
        x, *final = call.answer
        finals.append(final)
        texts.append(call.text())
    joined = [np.concatenate(final) for final in zip(*finals, strict=True)]
    yield _pieced(trial.names, " then ".join(texts), [x, *joined], _whole(trial))


def _layer(run: RecurrentCall, layer: int, x: np.ndarray) -> RecurrentCall:
    """One of several layers, with all its directions."""
    parts = [run.single(layer, suffix, x) for suffix in run.directions]
    state: dict[str, np.ndarray] = {}
    for suffix, part in zip(run.directions, parts, strict=True):
        state |= {name + suffix: array for name, array in part.state.items()}
    count = len(parts)
    own = slice(layer * count, (layer + 1) * count)
    one = replace(run.states(lambda h: h[own]), x=x, state=state)
    return one.having(num_layers=1, input_size=x.shape[-1])


@law("directions", "a bidirectional layer is one layer, and another on the time turned round")
def directions(trial: Trial, generator: Generator) -> Claims:
    """The first layer's two directions as separate layers; a sequence is reversed in its length."""
    run = RecurrentCall.of(trial)
    if len(run.directions) == 1:
        return
    if run.layers == 1:
        whole = _whole(trial)
    else:
        first = _layer(run, 0, run.x).run()
        whole = _side(first, measured(first))
    turned = _turned(run.x, run.lengths)
    ahead, back = run.single(0, "", run.x).run(), run.single(0, "_reverse", turned).run()
    output = np.concatenate([ahead.answer[0], _turned(back.answer[0], run.lengths)], -1)
    finals = [np.concatenate(both) for both in zip(ahead.answer[1:], back.answer[1:], strict=True)]
    text = f"{ahead.text()} and {back.text()} with time turned round"
    yield _pieced(trial.names, text, [output, *finals], whole)


def _turned(x: np.ndarray, lengths: Sequence[int] | None) -> np.ndarray:
    """Reverse each sequence in time; padding after it stays."""
    turned = x.copy()
    for row in range(x.shape[1]):
        own = x.shape[0] if lengths is None else lengths[row]
        turned[:own, row] = x[:own, row][::-1]
    return turned


@law("cell", "a layer is its cell stepped over time", SUMMED)
def as_cell(trial: Trial, generator: Generator) -> Claims:
    """The forward direction of the first layer."""
    run = RecurrentCall.of(trial)
    if run.projected:
        return  # cells have no projection
    if run.layers == len(run.directions) == 1 and run.lengths is None:
        whole = _whole(trial)
    else:
        first = replace(run.single(0, "", run.x), lengths=None).run()
        whole = _side(first, measured(first))
    cell = replace(
        run,
        layer=f"{run.kind}Cell",
        hidden=tuple(None if h is None else h[0] for h in run.hidden),
        state=run.weights(0, ""),
        arguments={k: v for k, v in run.arguments.items() if k in _CELLS},
        lengths=None,
    )
    output, finals = stepped(cell, list(run.x))
    arrays = [output, *(final[np.newaxis] for final in finals)]
    yield _pieced(trial.names, f"{len(run.x)} steps of {cell.layer}", arrays, whole)


@law("carried", "a long run is two shorter ones, the second starting where the first ends", SUMMED)
def carried(trial: Trial, generator: Generator) -> Claims:
    """20 to 40 of the case's steps through the forward first layer, cut at a random step.

    The recurrent weights are divided by a power of two until no step enlarges an error. Then the
    bound of the last step is as tight as that of the first.
    """
    run = RecurrentCall.of(trial)
    length = int(generator.integers(20, 40, endpoint=True))
    cut = int(generator.integers(1, length))
    single = run.single(0, "", run.x[generator.integers(len(run.x), size=length)])
    state = dict(single.state)
    recurrent = state["weight_hh_l0"]
    gain = np.abs(recurrent).sum(1).max()
    if run.projected:
        gain *= max(1.0, np.abs(state["weight_hr_l0"]).sum(1).max())
    # A power of two keeps every weight a number of the dtype.
    state["weight_hh_l0"] = recurrent * 2.0 ** -max(0.0, np.ceil(np.log2(max(gain, 1e-300))) + 3)
    single = replace(single, state=state, lengths=None)
    long = single.run()
    whole = _side(long, measured(long))
    first = replace(single, x=single.x[:cut]).run()
    second = replace(single, x=single.x[cut:], hidden=first.answer[1:]).run()
    output = np.concatenate([first.answer[0], second.answer[0]])
    text = f"its first {cut} steps, then {second.text()}"
    yield _pieced(trial.names, text, [output, *second.answer[1:]], whole)
