"""Laws of binary cross entropies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import Rounded, exactly
from conformance.laws.loss.pointwise import each, pointwise, weighted
from conformance.laws.loss.reductions import form, on, reduced_by
from conformance.model.case import is_function
from conformance.model.formats import round_to
from conformance.spec.law import (
    SUMMED,
    Claims,
    Generator,
    Side,
    claim,
    law,
    measured,
    on_host,
    same,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_BCE = ("BCELoss", "functional.binary_cross_entropy")
_LOGITS = ("BCEWithLogitsLoss", "functional.binary_cross_entropy_with_logits")


def _pair(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    x, y = trial.case.inputs[:2]
    assert x is not None
    assert y is not None
    return x, y


def _tensor(trial: Trial, name: str) -> np.ndarray | None:
    """A weight by name: an input of a function, a buffer of a module."""
    names = trial.row.signature.input_names
    if name in names:
        return trial.case.inputs[int(names.index(name))]
    return trial.case.call.state.get(name)


def _rest(x: np.ndarray, dtype: str) -> np.ndarray | None:
    """1 − x, or None if the dtype cannot represent it exactly."""
    rest = 1.0 - x
    exact = np.array_equal(round_to(rest, dtype), rest) and np.array_equal(1.0 - rest, x)
    return rest if exact else None


@law("complement", "1 − x and 1 − y lose what x and y lose", SUMMED)
def complement(trial: Trial, generator: Generator) -> Claims:
    """The call on 1 − x and 1 − y, where the dtype can represent both."""
    x, y = _pair(trial)
    rest = [_rest(array, trial.case.call.dtype) for array in (x, y)]
    if rest[0] is not None and rest[1] is not None:
        other = on(trial, (*rest, *trial.case.inputs[2:]))
        yield claim(other, measured(other), Side(trial.text(), measured(trial), trial))


@law("mirrored", "−x and 1 − y lose what x and y lose, without weights of positives", SUMMED)
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """The call on −x and 1 − y, where the dtype can represent 1 − y."""
    x, y = _pair(trial)
    rest = _rest(y, trial.case.call.dtype)
    if rest is not None and _tensor(trial, "pos_weight") is None:
        other = on(trial, (-x, rest, *trial.case.inputs[2:]))
        yield claim(other, measured(other), Side(trial.text(), measured(trial), trial))


@law("certain", "what is certain and right loses nothing, what is certain and wrong 100", "equal")
def certain(trial: Trial, generator: Generator) -> Claims:
    """Probabilities of 0 and 1, without weights."""
    x, _ = _pair(trial)
    hot, right = (generator.integers(0, 2, x.shape).astype(np.float64) for _ in range(2))
    only = (hot, np.where(right == 1, hot, 1.0 - hot))
    inputs = (*only, *(None for _ in trial.case.inputs[2:]))
    other = on(trial, inputs, state={}, reduction="none")
    wanted = exactly(np.where(right == 1, 0.0, 100.0), trial.precision)
    yield claim(other, measured(other), Side("0 or 100", (wanted,)))


@law("mixture", "a loss is that of 1 and that of 0, mixed by the target", SUMMED)
def mixture(trial: Trial, generator: Generator) -> Claims:
    """y times the loss for targets of 1, plus 1 − y times the loss for targets of 0."""
    x, y = _pair(trial)
    rest = trial.case.inputs[2:]
    ones, zeros = (
        on(trial, (x, np.full(y.shape, end), *rest), reduction="none") for end in (1.0, 0.0)
    )
    (one,), (zero,) = measured(ones), measured(zeros)
    wide = on_host(one)
    with np.errstate(all="ignore"):
        share = exactly(y, wide.precision)
        mixed = on_host(one) * share + on_host(zero) * exactly(1.0 - y, wide.precision)
    # The mixture is undefined where one of both is infinite.
    lost = ~(np.isfinite(one.value) & np.isfinite(zero.value))
    mixed = mixed.with_error(np.where(lost | np.isnan(mixed.error), np.inf, mixed.error))
    single = reduced_by(trial, "none")
    text = f"y · {ones.text()} + (1 - y) · {zeros.text()}"
    yield claim(single, measured(single), Side(text, (mixed,)))


@law("positives", "weights of positives of 1 are none", SUMMED)
def positives(trial: Trial, generator: Generator) -> Claims:
    """The calls with a pos_weight of 1 and without one, whatever the case's."""
    (x, y), weight = _pair(trial), _tensor(trial, "weight")
    ones = np.ones(x.shape[-1:])

    def call(pos_weight: np.ndarray | None) -> Trial:
        given = {"weight": weight, "pos_weight": pos_weight}
        if is_function(trial.case.call.layer):
            return on(trial, (x, y, *given.values()))
        return on(trial, (x, y), state={k: w for k, w in given.items() if w is not None})

    with_ones, without = call(ones), call(None)
    yield claim(with_ones, measured(with_ones), Side(without.text(), measured(without), without))


@law("probabilities", "it is the binary cross entropy of probabilities of a sigmoid", SUMMED)
def probabilities(trial: Trial, generator: Generator) -> Claims:
    """BCELoss of the rounded p = σ(x), whose exact logit log p/(1 − p) differs slightly from x.

    The loss changes by at most that difference, because no slope exceeds 1. The law computes the
    logit to within a few roundings of float64.
    """
    function = is_function(trial.case.call.layer)
    x, y = (array.reshape(-1) for array in _pair(trial))
    plain: dict[str, Any] = {"state": {}, "only": {}}
    gate = on(trial, (x,), layer="functional.sigmoid" if function else "Sigmoid", **plain)
    p = gate.answer[0]
    inside = (p > 2.0**-140) & (p < 1)  # no logarithm is clamped there
    if not inside.any():
        return
    x, y, p = x[inside], y[inside], p[inside]
    none = (None, None) if function else ()
    mine = on(trial, (x, y, *none), reduction="none", **plain)
    theirs = on(
        trial, (p, y, *none[:1]), layer=_BCE[1 if function else 0], reduction="none", **plain
    )
    (got,), (wanted,) = measured(mine), measured(theirs)
    apart = np.abs(np.log(p) - np.log1p(-p) - x) + 2.0**-46 * (1 + np.abs(x))
    side = Rounded(wanted.value, wanted.error + apart, wanted.precision)
    yield claim(mine, (on_host(got),), Side(theirs.text(), (on_host(side),)))


@law("ones", "weights of 1 are none")
def ones(trial: Trial, generator: Generator) -> Claims:
    """The call with a weight of ones."""
    inputs, state = each(trial, lambda x: x)
    if _tensor(trial, "weight") is not None or _tensor(trial, "pos_weight") is not None:
        return
    first = inputs[0]
    assert first is not None
    last = np.ones(first.shape[-1:])
    if is_function(trial.case.call.layer):
        yield same(on(trial, (*inputs[:2], last, *inputs[3:])), trial)
    else:
        yield same(on(trial, inputs, state={**state, "weight": last}), trial)


PROBABILITIES = (
    form(*_BCE, ("weight",)),
    *pointwise(),
    complement,
    certain,
    mixture,
    weighted,
    ones,
)
LOGITS = (
    form(*_LOGITS, ("weight", "pos_weight")),
    *pointwise(),
    mirrored,
    mixture,
    weighted,
    ones,
    positives,
    probabilities,
)
