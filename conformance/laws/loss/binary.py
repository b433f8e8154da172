"""Laws of binary cross entropies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.laws.loss.pointwise import map_elements, pointwise, weighted
from conformance.laws.loss.reductions import call_on, form_law, with_reduction
from conformance.model.case import is_function
from conformance.model.formats import round_to
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    in_float64,
    law,
    outputs_with_bounds,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_BCE = ("BCELoss", "functional.binary_cross_entropy")
_LOGITS = ("BCEWithLogitsLoss", "functional.binary_cross_entropy_with_logits")


def _operands(trial: Trial) -> tuple[np.ndarray, np.ndarray]:
    x, y = trial.case.inputs[:2]
    assert x is not None
    assert y is not None
    return x, y


def _weight_tensor(trial: Trial, name: str) -> np.ndarray | None:
    """A weight by name: an input of a function, a buffer of a module."""
    names = trial.spec.signature.input_names
    if name in names:
        return trial.case.inputs[int(names.index(name))]
    return trial.case.call.state.get(name)


def _exact_complement(x: np.ndarray, dtype: str) -> np.ndarray | None:
    """1 − x, or None if the dtype cannot represent it exactly."""
    complement = 1.0 - x
    exact = np.array_equal(round_to(complement, dtype), complement) and np.array_equal(
        1.0 - complement, x
    )
    return complement if exact else None


@law("complement", "1 − x and 1 − y lose what x and y lose", WITHIN_SUM_OF_BOUNDS)
def complement(trial: Trial, generator: Generator) -> Claims:
    """The call on 1 − x and 1 − y, where the dtype can represent both."""
    x, y = _operands(trial)
    complements = [_exact_complement(array, trial.case.call.dtype) for array in (x, y)]
    if complements[0] is not None and complements[1] is not None:
        other = call_on(trial, (*complements, *trial.case.inputs[2:]))
        yield claim(
            other, outputs_with_bounds(other), Side(trial.text(), outputs_with_bounds(trial), trial)
        )


@law(
    "mirrored",
    "−x and 1 − y lose what x and y lose, without weights of positives",
    WITHIN_SUM_OF_BOUNDS,
)
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """The call on −x and 1 − y, where the dtype can represent 1 − y."""
    x, y = _operands(trial)
    complement = _exact_complement(y, trial.case.call.dtype)
    if complement is not None and _weight_tensor(trial, "pos_weight") is None:
        other = call_on(trial, (-x, complement, *trial.case.inputs[2:]))
        yield claim(
            other, outputs_with_bounds(other), Side(trial.text(), outputs_with_bounds(trial), trial)
        )


@law("certain", "what is certain and right loses nothing, what is certain and wrong 100", "equal")
def certain(trial: Trial, generator: Generator) -> Claims:
    """Probabilities of 0 and 1, without weights."""
    x, _ = _operands(trial)
    probabilities, is_right = (
        generator.integers(0, 2, x.shape).astype(np.float64) for _ in range(2)
    )
    operands = (probabilities, np.where(is_right == 1, probabilities, 1.0 - probabilities))
    inputs = (*operands, *(None for _ in trial.case.inputs[2:]))
    other = call_on(trial, inputs, state={}, reduction="none")
    wanted = exact_operand(np.where(is_right == 1, 0.0, 100.0), trial.precision)
    yield claim(other, outputs_with_bounds(other), Side("0 or 100", (wanted,)))


@law("mixture", "a loss is that of 1 and that of 0, mixed by the target", WITHIN_SUM_OF_BOUNDS)
def mixture(trial: Trial, generator: Generator) -> Claims:
    """y times the loss for targets of 1, plus 1 − y times the loss for targets of 0."""
    x, y = _operands(trial)
    weights = trial.case.inputs[2:]
    ones, zeros = (
        call_on(trial, (x, np.full(y.shape, label), *weights), reduction="none")
        for label in (1.0, 0.0)
    )
    (one,), (zero,) = outputs_with_bounds(ones), outputs_with_bounds(zeros)
    wide = in_float64(one)
    with np.errstate(all="ignore"):
        weight_of_ones = exact_operand(y, wide.precision)
        mixed = in_float64(one) * weight_of_ones + in_float64(zero) * exact_operand(
            1.0 - y, wide.precision
        )
    # The mixture is undefined where one of both is infinite.
    is_infinite = ~(np.isfinite(one.value) & np.isfinite(zero.value))
    mixed = mixed.with_error(np.where(is_infinite | np.isnan(mixed.error), np.inf, mixed.error))
    single = with_reduction(trial, "none")
    text = f"y · {ones.text()} + (1 - y) · {zeros.text()}"
    yield claim(single, outputs_with_bounds(single), Side(text, (mixed,)))


@law("positives", "weights of positives of 1 are none", WITHIN_SUM_OF_BOUNDS)
def positives(trial: Trial, generator: Generator) -> Claims:
    """The calls with a pos_weight of 1 and without one, whatever the case's."""
    (x, y), weight = _operands(trial), _weight_tensor(trial, "weight")
    ones = np.ones(x.shape[-1:])

    def call(pos_weight: np.ndarray | None) -> Trial:
        weights = {"weight": weight, "pos_weight": pos_weight}
        if is_function(trial.case.call.layer):
            return call_on(trial, (x, y, *weights.values()))
        return call_on(trial, (x, y), state={k: w for k, w in weights.items() if w is not None})

    with_ones, without = call(ones), call(None)
    yield claim(
        with_ones,
        outputs_with_bounds(with_ones),
        Side(without.text(), outputs_with_bounds(without), without),
    )


@law(
    "probabilities",
    "it is the binary cross entropy of probabilities of a sigmoid",
    WITHIN_SUM_OF_BOUNDS,
)
def probabilities(trial: Trial, generator: Generator) -> Claims:
    """BCELoss of the rounded p = σ(x), whose exact logit log p/(1 − p) differs slightly from x.

    The loss changes by at most that difference, because no slope exceeds 1. The law computes the
    logit to within a few roundings of float64.
    """
    function = is_function(trial.case.call.layer)
    x, y = (array.reshape(-1) for array in _operands(trial))
    unweighted: dict[str, Any] = {"state": {}, "only": {}}
    sigmoid_call = call_on(
        trial, (x,), layer="functional.sigmoid" if function else "Sigmoid", **unweighted
    )
    p = sigmoid_call.answer[0]
    inside = (p > 2.0**-140) & (p < 1)  # no logarithm is clamped there
    if not inside.any():
        return
    x, y, p = x[inside], y[inside], p[inside]
    no_weights = (None, None) if function else ()
    logits_call = call_on(trial, (x, y, *no_weights), reduction="none", **unweighted)
    probabilities_call = call_on(
        trial,
        (p, y, *no_weights[:1]),
        layer=_BCE[1 if function else 0],
        reduction="none",
        **unweighted,
    )
    (got,), (wanted,) = outputs_with_bounds(logits_call), outputs_with_bounds(probabilities_call)
    logit_error = np.abs(np.log(p) - np.log1p(-p) - x) + 2.0**-46 * (1 + np.abs(x))
    side = Rounded(wanted.value, wanted.error + logit_error, wanted.precision)
    yield claim(
        logits_call,
        (in_float64(got),),
        Side(probabilities_call.text(), (in_float64(side),), probabilities_call),
    )


@law("ones", "weights of 1 are none")
def ones(trial: Trial, generator: Generator) -> Claims:
    """The call with a weight of ones."""
    inputs, state = map_elements(trial, lambda x: x)
    if (
        _weight_tensor(trial, "weight") is not None
        or _weight_tensor(trial, "pos_weight") is not None
    ):
        return
    first = inputs[0]
    assert first is not None
    weight = np.ones(first.shape[-1:])
    if is_function(trial.case.call.layer):
        yield equality_claim(call_on(trial, (*inputs[:2], weight, *inputs[3:])), trial)
    else:
        yield equality_claim(call_on(trial, inputs, state={**state, "weight": weight}), trial)


PROBABILITIES = (
    form_law(*_BCE, ("weight",)),
    *pointwise(),
    complement,
    certain,
    mixture,
    weighted,
    ones,
)
LOGITS = (
    form_law(*_LOGITS, ("weight", "pos_weight")),
    *pointwise(),
    mirrored,
    mixture,
    weighted,
    ones,
    positives,
    probabilities,
)
