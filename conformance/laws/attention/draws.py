"""The dropout of attention weights: its rate, its independence, and the kept weights.

The values are two identity matrices side by side, so that the output shows the weights twice, with
the same weights dropped in both halves. An implementation that drops elements of the output instead
drops different ones in each half.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.oracles.dropout import kept_value
from conformance.spec.draws import Draws, MaskedOutput
from conformance.spec.law import Generator, equality_claim

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_LARGE_PROBE_PERIOD = 8  # one case in this many has a probe that measures a rate to within 0.04
_QUERIES, _KEYS, _WIDTH = 8, 16, 4
_RATES = (0.5, 0.1, 0.75)


def sdpa_draws(trial: Trial, generator: Generator) -> Draws:
    """Each weight is dropped with probability dropout_p, else multiplied by 1/(1 − dropout_p)."""
    p, batch = _RATES[generator.integers(3)], _batch_size(generator)
    query, key = (
        generator.integers(-1, 2, (batch, 2, length, _WIDTH)).astype(float)
        for length in (_QUERIES, _KEYS)
    )
    inputs = (query, key, np.broadcast_to(_two_identities(), (batch, 2, _KEYS, 2 * _KEYS)).copy())
    first = _call_with(trial, {"dropout_p": p}, inputs)
    undropped = _call_with(trial, {}, inputs).expected[0]
    shape = (batch, 2, _QUERIES, 2, _KEYS)
    yield _masked_draws(f"with dropout_p={p:g}", first, kept_value(undropped, p), p, shape, (3,))


def multihead_draws(trial: Trial, generator: Generator) -> Draws:
    """Without dropout train mode equals eval mode; with it weights are dropped as documented."""
    arguments = {**trial.case.call.arguments, "dropout": 0.0}
    if all(x is None or x.size for x in trial.case.inputs):
        yield equality_claim(_call_with(trial, arguments, trial.case.inputs, training=True), trial)
    p, batch, heads = (
        _RATES[generator.integers(3)],
        _batch_size(generator),
        int(generator.integers(1, 3)),
    )
    embed = 2 * _KEYS
    query, key = (
        generator.integers(-1, 2, (length, batch, embed)).astype(float)
        for length in (_QUERIES, _KEYS)
    )
    inputs = (query, key, np.broadcast_to(_two_identities()[:, np.newaxis], key.shape).copy())
    changes: dict[str, Any] = {
        "state": {
            "in_proj_weight": np.tile(np.eye(embed), (3, 1)),
            "in_proj_bias": np.zeros(3 * embed),
            "out_proj.weight": np.eye(embed),
            "out_proj.bias": np.zeros(embed),
        },
        "keywords": {"need_weights": bool(generator.integers(2))},
    }
    arguments = {"embed_dim": embed, "num_heads": heads, "dropout": p}
    first = _call_with(trial, arguments, inputs, training=True, **changes)
    undropped = _call_with(trial, {**arguments, "dropout": 0.0}, inputs, **changes).expected[0]
    description = f"in train mode with dropout={p:g} and num_heads={heads}"
    # With one head for each half the halves have separate weights and draws.
    groups = (2,) if heads == 1 else ()
    yield _masked_draws(
        description, first, kept_value(undropped, p), p, (_QUERIES, batch, 2, _KEYS), groups
    )


def _batch_size(generator: Generator) -> int:
    return 32 if generator.integers(_LARGE_PROBE_PERIOD) == 0 else 4


def _two_identities() -> np.ndarray:
    return np.tile(np.eye(_KEYS), (1, 2))


def _call_with(trial: Trial, arguments: dict[str, Any], inputs: Any, **changes: Any) -> Trial:
    call_changes = {name: changes.pop(name) for name in ("state", "training") if name in changes}
    call = replace(trial.case.call, arguments=arguments, layouts={}, **call_changes)
    return trial.trial_of(replace(trial.case, call=call, inputs=inputs, layouts=(), **changes))


def _masked_draws(
    description: str,
    first: Trial,
    wanted: Any,
    p: float,
    shape: tuple[int, ...],
    groups: tuple[int, ...],
) -> MaskedOutput:
    def split(array: np.ndarray) -> np.ndarray:
        return np.asarray(array.reshape(shape))

    got, again = (split(x.answer[0]) for x in (first, first.on_same_layer()))
    droppable = np.ones(shape, bool)
    return MaskedOutput(
        description, first.names[0], got, wanted.map(split), 0.0, droppable, 1 - p, groups, again
    )
