"""Laws of the dropout between stacked recurrent layers: when it acts, its rate and its scale."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from conformance.model.formats import format_of
from conformance.oracles.recurrent.state import GATES, layer_shapes
from conformance.spec.draws import Draws, MaskedOutput
from conformance.spec.law import Generator, equality_claim
from conformance.spec.trial_protocol import TrialLike

_RATES_PERIOD = 16  # one case in this many tests the rates


def draws(trial: TrialLike, generator: Generator) -> Draws:
    """No dropout for one layer or p = 0; nothing passes for p = 1; else rates and scale."""
    arguments = trial.case.call.arguments

    def in_training(p: float) -> TrialLike:
        return _call_with(trial, arguments={**arguments, "dropout": p}, training=True)

    if arguments.get("num_layers", 1) == 1:
        yield equality_claim(in_training(0.5), trial)
    else:
        yield equality_claim(in_training(0.0), trial)
        # p = 1 equals weights of 0 for the inputs of the upper layers.
        blinded_state = {
            name: np.zeros_like(array)
            if name.startswith("weight_ih_l") and not name.startswith("weight_ih_l0")
            else array
            for name, array in trial.case.call.state.items()
        }
        yield equality_claim(in_training(1.0), _call_with(trial, state=blinded_state))
    if generator.integers(_RATES_PERIOD) == 0:
        yield from _rates(trial, generator)


def _call_with(trial: TrialLike, **changes: Any) -> TrialLike:
    call_changes = {k: changes.pop(k) for k in ("arguments", "state", "training") if k in changes}
    call = replace(trial.case.call, layouts={}, **call_changes)
    return trial.trial_of(replace(trial.case, call=call, **{"layouts": (), **changes}))


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
    changes: dict[str, Any] = {"arguments": arguments, "inputs": (x,), "keywords": {}}
    expected = _call_with(trial, state=scaled, **changes).expected
    first = _call_with(trial, state=state, training=True, **changes)
    second = first.on_same_layer()
    directions = 2 if arguments.get("bidirectional", False) else 1
    description = f"in train mode with dropout={p} and num_layers={layers}"
    # A closed gate passes less than the smallest normal number.
    shut_gate = 2 * format_of(call.dtype).normal
    for k, (name, got, undropped) in enumerate(
        zip(first.names, first.answer, expected, strict=True)
    ):
        droppable = np.ones(got.shape, bool)
        if k:
            droppable[:directions] = False  # final states of the first layer
        rate = None if k else (1 - p) ** (layers - 1)
        again = None if k else second.answer[0]
        yield MaskedOutput(
            description, name, got, undropped, shut_gate, droppable, rate, second_call=again
        )


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
    scaled_state = {
        name: array * scale if name.startswith("weight_ih") and "_l0" not in name else array
        for name, array in state.items()
    }
    width = output * (2 if arguments.get("bidirectional", False) else 1)
    length, batch = 4, -(-256 // width)
    leading = (batch, length) if arguments.get("batch_first", False) else (length, batch)
    return np.ones((*leading, int(arguments["input_size"]))), state, scaled_state
