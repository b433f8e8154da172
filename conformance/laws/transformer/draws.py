"""Laws of the dropouts of a transformer's layers, each separately: its rate and kept values.

The inputs are 0, and norms come first: a sublayer that adds 1 to each number shows its dropout. An
attention to one key gives it the weight 1 or drops it. With as many heads as features each number
has its own draw. The sublayer's dropout follows, as it follows the inner dropout of the
feed-forward network.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.rounded import exact_operand
from conformance.laws.transformer.calls import change_layer, inputs_by_name
from conformance.oracles.dropout import kept_value
from conformance.spec.draws import Draws, MaskedOutput
from conformance.spec.law import Generator, equality_claim

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_RATES = (0.5, 0.1, 0.75)
_BATCH, _LENGTH, _SIZE = 64, 3, 8


def layer_draws(trial: Trial, generator: Generator) -> Draws:
    """Without dropout train mode equals eval mode; with it each sublayer drops as documented."""
    yield from without_dropout(trial, generator)
    p = _RATES[generator.integers(3)]
    memories = [name for name in ("memory",) if name in inputs_by_name(trial)]
    sublayers = ("self_attn", *(("multihead_attn",) if memories else ()), "feed_forward")
    name, is_inner = sublayers[generator.integers(len(sublayers))], bool(generator.integers(2))
    attention = name != "feed_forward"
    length = 1 if attention and is_inner else _LENGTH
    layer_changes = {
        "d_model": _SIZE,
        "nhead": _SIZE,
        "dim_feedforward": _SIZE,
        "dropout": p,
        "norm_first": True,
    }
    call = trial.case.call
    arguments = change_layer(call.arguments, layer_changes, minimal=True)
    shape = (_SIZE,)
    state = {k: np.zeros(s) for k, s in trial.spec.state_shapes(arguments, shape).items()}
    prefix = "layers.0." if "linear1.weight" not in state else ""
    ones, eye = np.ones(_SIZE), np.eye(_SIZE)
    if not attention:
        state[f"{prefix}linear1.bias"] = ones * is_inner
        state[f"{prefix}linear2.weight"] = eye * is_inner
        state[f"{prefix}linear2.bias"] = ones * (not is_inner)
    else:
        state[f"{prefix}{name}.in_proj_bias"] = np.concatenate(
            [0 * ones, 0 * ones, ones * is_inner]
        )
        state[f"{prefix}{name}.out_proj.weight"] = eye * is_inner
        state[f"{prefix}{name}.out_proj.bias"] = ones * (not is_inner)
    inputs = [np.zeros((length, _BATCH, _SIZE)) for _ in range(1 + len(memories))]
    call = replace(call, arguments=arguments, state=state, layouts={}, training=True)
    case = replace(trial.case, call=call, inputs=tuple(inputs), layouts=(), keywords={})
    first = trial.trial_of(case)
    got, again = (x.answer[0] for x in (first, first.on_same_layer()))
    undropped = kept_value(exact_operand(np.ones(got.shape), trial.precision), p)
    rate = 1 - p
    if is_inner:
        undropped, rate = kept_value(undropped, p), (1 - p) ** 2
    description = f"in train mode with dropout={p:g}, {'within ' if is_inner else ''}{name}"
    yield MaskedOutput(
        description, first.names[0], got, undropped, 0.0, np.ones(got.shape, bool), rate, (), again
    )


def without_dropout(trial: Trial, generator: Generator) -> Draws:
    """Without dropout train mode equals eval mode."""
    if not all(x is None or x.size for x in trial.case.inputs):
        return
    call = trial.case.call
    arguments = change_layer(call.arguments, {"dropout": 0.0})
    undropped = trial.trial_of(
        replace(trial.case, call=replace(call, arguments=arguments, training=True))
    )
    yield equality_claim(undropped, trial)
