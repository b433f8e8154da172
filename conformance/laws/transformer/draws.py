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

from conformance.arithmetic.rounded import exactly
from conformance.laws.transformer.calls import changed, named
from conformance.oracles.dropout import kept
from conformance.spec.draws import Draws, Masked
from conformance.spec.law import Generator, same

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_RATES = (0.5, 0.1, 0.75)
_BATCH, _LENGTH, _SIZE = 64, 3, 8


def layer_draws(trial: Trial, generator: Generator) -> Draws:
    """Without dropout train mode equals eval mode; with it each sublayer drops as documented."""
    yield from without(trial, generator)
    p = _RATES[generator.integers(3)]
    given = [name for name in ("memory",) if name in named(trial)]
    parts = ("self_attn", *(("multihead_attn",) if given else ()), "feed_forward")
    name, inner = parts[generator.integers(len(parts))], bool(generator.integers(2))
    attention = name != "feed_forward"
    length = 1 if attention and inner else _LENGTH
    kind = {
        "d_model": _SIZE,
        "nhead": _SIZE,
        "dim_feedforward": _SIZE,
        "dropout": p,
        "norm_first": True,
    }
    call = trial.case.call
    arguments = changed(call.arguments, kind, plain=True)
    shape = (_SIZE,)
    state = {k: np.zeros(s) for k, s in trial.row.state_shapes(arguments, shape).items()}
    start = "layers.0." if "linear1.weight" not in state else ""
    ones, eye = np.ones(_SIZE), np.eye(_SIZE)
    if not attention:
        state[f"{start}linear1.bias"] = ones * inner
        state[f"{start}linear2.weight"] = eye * inner
        state[f"{start}linear2.bias"] = ones * (not inner)
    else:
        state[f"{start}{name}.in_proj_bias"] = np.concatenate([0 * ones, 0 * ones, ones * inner])
        state[f"{start}{name}.out_proj.weight"] = eye * inner
        state[f"{start}{name}.out_proj.bias"] = ones * (not inner)
    inputs = [np.zeros((length, _BATCH, _SIZE)) for _ in range(1 + len(given))]
    call = replace(call, arguments=arguments, state=state, layouts={}, training=True)
    case = replace(trial.case, call=call, inputs=tuple(inputs), layouts=(), keywords={})
    first = trial.other(case)
    got, again = (x.answer[0] for x in (first, first.repeated()))
    whole = kept(exactly(np.ones(got.shape), trial.precision), p)
    rate = 1 - p
    if inner:
        whole, rate = kept(whole, p), (1 - p) ** 2
    what = f"in train mode with dropout={p:g}, {'within ' if inner else ''}{name}"
    yield Masked(what, first.names[0], got, whole, 0.0, np.ones(got.shape, bool), rate, (), again)


def without(trial: Trial, generator: Generator) -> Draws:
    """Without dropout train mode equals eval mode."""
    if not all(x is None or x.size for x in trial.case.inputs):
        return
    call = trial.case.call
    arguments = changed(call.arguments, {"dropout": 0.0})
    plain = trial.other(replace(trial.case, call=replace(call, arguments=arguments, training=True)))
    yield same(plain, trial)
