"""Laws of the dropout between stacked recurrent layers: when it acts, its rate and its scale."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from conformance.model.formats import format_of
from conformance.oracles.recurrent.state import GATES, layer_shapes
from conformance.spec.draws import Draws, Masked
from conformance.spec.law import Generator, same
from conformance.spec.trial_protocol import TrialLike

_EVERY = 16  # one case in this many tests the rates


def draws(trial: TrialLike, generator: Generator) -> Draws:
    """No dropout for one layer or p = 0; nothing passes for p = 1; else rates and scale."""
    arguments = trial.case.call.arguments

    def training(p: float) -> TrialLike:
        return _with(trial, arguments={**arguments, "dropout": p}, training=True)

    if arguments.get("num_layers", 1) == 1:
        yield same(training(0.5), trial)
    else:
        yield same(training(0.0), trial)
        # p = 1 equals weights of 0 for the inputs of the upper layers.
        blind = {
            name: np.zeros_like(array)
            if name.startswith("weight_ih_l") and not name.startswith("weight_ih_l0")
            else array
            for name, array in trial.case.call.state.items()
        }
        yield same(training(1.0), _with(trial, state=blind))
    if generator.integers(_EVERY) == 0:
        yield from _rates(trial, generator)


def _with(trial: TrialLike, **changes: Any) -> TrialLike:
    inner = {k: changes.pop(k) for k in ("arguments", "state", "training") if k in changes}
    call = replace(trial.case.call, layouts={}, **inner)
    return trial.other(replace(trial.case, call=call, **{"layouts": (), **changes}))


def _rates(trial: TrialLike, generator: Generator) -> Draws:
    """Each element is dropped independently with probability p, else multiplied by 1/(1 − p).

    In the probe every output depends on one element of each dropout's input. It is 0, or the output
    without dropout for weights times 1/(1 − p).
    """
    call = trial.case.call
    p = (0.5, 0.75)[generator.integers(2)]  # 1/(1 − p) is a power of two
    layers = max(2, call.arguments.get("num_layers", 1))
    arguments = {**call.arguments, "bias": True, "dropout": p, "num_layers": layers}
    x, state, scaled = probe(call.layer, arguments, 1 / (1 - p))
    facts: dict[str, Any] = {"arguments": arguments, "inputs": (x,), "keywords": {}}
    expected = _with(trial, state=scaled, **facts).expected
    first = _with(trial, state=state, training=True, **facts)
    second = first.repeated()
    directions = 2 if arguments.get("bidirectional", False) else 1
    what = f"in train mode with dropout={p} and num_layers={layers}"
    # A closed gate passes less than the smallest normal number.
    shut = 2 * format_of(call.dtype).normal
    for k, (name, got, kept) in enumerate(zip(first.names, first.answer, expected, strict=True)):
        droppable = np.ones(got.shape, bool)
        if k:
            droppable[:directions] = False  # final states of the first layer
        rate = None if k else (1 - p) ** (layers - 1)
        again = None if k else second.answer[0]
        yield Masked(what, name, got, kept, shut, droppable, rate, again=again)


def probe(
    kind: str, arguments: dict[str, Any], scale: float
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """A stacked layer in which output j depends only on element j of each layer's input.

    Time steps are independent: weight_hh is 0, and the forget and update gates are closed. The
    first layer's output is a positive constant.

    Args:
        kind: `"RNN"`, `"LSTM"` or `"GRU"`.
        arguments: the call's, bias included.
        scale: factor of the weights between layers.

    Returns:
        An input of ones with at least 1024 outputs; the state; the state with scaled weights
            between layers.
    """
    hidden = int(arguments["hidden_size"])
    output = int(arguments.get("proj_size", 0) or hidden)
    state = {name: np.zeros(s) for name, s in layer_shapes(GATES[kind], **arguments).items()}
    signal = hidden * (GATES[kind] - 1) if kind != "LSTM" else 2 * hidden
    for name, array in state.items():
        if name.startswith("weight_ih_l0"):
            array[signal : signal + hidden, 0] = 1
        elif name.startswith("weight_ih"):
            shift = output if name.endswith("_reverse") else 0
            rows = np.arange(output)
            array[signal + rows, shift + rows] = 1
        elif name.startswith("weight_hr"):
            array[:, :output] = np.eye(output)
        elif name.startswith("bias_ih") and kind != "RNN":
            array[hidden : 2 * hidden] = -1000
    lengthened = {
        name: array * scale if name.startswith("weight_ih") and "_l0" not in name else array
        for name, array in state.items()
    }
    width = output * (2 if arguments.get("bidirectional", False) else 1)
    length, batch = 4, -(-256 // width)
    leading = (batch, length) if arguments.get("batch_first", False) else (length, batch)
    return np.ones((*leading, int(arguments["input_size"]))), state, lengthened
