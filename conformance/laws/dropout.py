"""Laws of dropout: the rate, the elements that share a draw, and when nothing is dropped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import OWN, Rounded, exactly
from conformance.model.case import is_function
from conformance.oracles.dropout import alpha_dropped, alpha_kept, alpha_scale, kept
from conformance.spec.draws import Draws, Masked
from conformance.spec.law import Claims, Generator, law, same

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

# One case in this many has a probe that measures a rate to within 0.02, of channels 0.04.
_EVERY = 8
_MANY = 64  # one case in this many has a probe of 2²⁰ draws, which distinguishes 0.1 and 25/256
# The probability that none of n draws is dropped is (1 − p)ⁿ < e⁻ⁿᵖ. Below 1e-10 / 2 that is a
# finding: where n·p is at least ln(2e10) = 23.7.
_FEW = 24
_SOMETIMES = 4  # one case in this many checks each element over many calls,
_MOST = 160  # unless it needs more calls than this
EXACT = "always equal: nothing is computed"

# Module → function.
FORMS = {
    "Dropout": "functional.dropout",
    "Dropout1d": "functional.dropout1d",
    "Dropout2d": "functional.dropout2d",
    "Dropout3d": "functional.dropout3d",
    "AlphaDropout": "functional.alpha_dropout",
    "FeatureAlphaDropout": "functional.feature_alpha_dropout",
}
_MODULES = {function: module for module, function in FORMS.items()}
_ALPHA = ("AlphaDropout", "FeatureAlphaDropout")
_BY_ELEMENT = ("Dropout", "AlphaDropout")


def _batched(trial: Trial) -> bool:
    return trial.row.batch_axis(trial.case, 0) is not None


def shared(trial: Trial) -> tuple[int, ...]:
    """The axes along which all elements share a draw: those after the channels, or none."""
    layer, (x,) = trial.case.call.layer, trial.case.inputs
    assert x is not None
    if _MODULES.get(layer, layer) in _BY_ELEMENT:
        return ()
    return tuple(range(1 + _batched(trial), x.ndim))


def _with(trial: Trial, *, training: bool, layer: str | None = None, **arguments: Any) -> Trial:
    """The call, or its other form, in train or eval mode and with changed arguments."""
    case = trial.case
    name = layer or case.call.layer
    given = {k: v for k, v in case.call.arguments.items() if k not in ("training", "inplace")}
    given |= arguments
    function = is_function(name)
    if function:
        given["training"] = training
    call = replace(case.call, layer=name, arguments=given, training=training and not function)
    return trial.other(replace(case, call=call, layouts=()))


def _probe(trial: Trial, generator: Generator, p: float) -> np.ndarray:
    """Input without zeros, with enough draws to measure a rate and as many axes as the case's."""
    large, huge = generator.integers(_EVERY) == 0, generator.integers(_MANY) == 0
    together = shared(trial)
    large |= (128 if together else 2048) * min(p, 1 - p) < _FEW
    if together:
        space = generator.integers(2, 4, len(together)).tolist()
        space = [1] * len(together) if huge else space
        one, many = (128, 8192) if large else (8, 128)
        one, many = (4096, 2**20) if huge else (one, many)
        wide = 256 if huge else 64 if large else 16
        first = [one + int(generator.integers(4)), wide]
        alone = [many + int(generator.integers(4))]
        shape = [*(first if _batched(trial) else alone), *space]
    else:
        more = 22 if huge else 4 if large else 1
        odd = 16 + int(generator.integers(-1, 4))
        shape = [8 * more + int(generator.integers(4)), 16 * more, odd]
    return np.asarray(generator.integers(1, 4, shape) * generator.choice([-1.0, 1.0], shape))


def draws(trial: Trial, generator: Generator) -> Draws:
    """Each element, or channel, is dropped independently with probability p, anew in each call.

    The gradient is dropped with it. The probe has the case's p and dtype and its own input without
    zeros.
    """
    case = trial.case
    p = float(case.call.arguments.get("p", 0.5))
    if not 0 < p < 1:
        return
    x = _probe(trial, generator, p)
    inplace = bool(case.call.arguments.get("inplace", False))
    source = trial.other(replace(case, inputs=(x,), layouts=()))
    first, second, third = (_with(source, training=True, inplace=inplace) for _ in range(3))
    answers = first.answer[0], second.answer[0]
    yield from _places(trial, generator, p)
    made, (gradient,) = third.together(np.ones(x.shape))
    yield from _held(trial, x, p, answers, gradient, None if made is None else made[0])


def _places(trial: Trial, generator: Generator, p: float) -> Iterator[Masked]:
    """Over many calls each element, or channel, is dropped at the same rate.

    A few that are never dropped, such as those after the last full vector, would not change the
    overall rate.
    """
    layer = trial.case.call.layer
    calls = math.ceil(_FEW / min(p, 1 - p))
    if generator.integers(_SOMETIMES) or calls > _MOST or _MODULES.get(layer, layer) in _ALPHA:
        return
    together, count = shared(trial), int(generator.integers(3, 10))
    space = [2] * len(together)
    sample = [2] if together and _batched(trial) else []
    x = np.ones([*sample, count, *space])
    call = _with(trial.other(replace(trial.case, inputs=(x,), layouts=())), training=True)
    found = [call.answer[0]]
    while len(found) < calls:
        call.forget()
        found.append(call.arrays[0])
    scale = kept(exactly(np.ones(calls), trial.precision), p)
    for k in range(count):
        one = np.array([y[(*[0] * len(sample), k, *[0] * len(space))] for y in found])
        what = f"in training with p={p:g}, place {k} of {count} in {calls} calls"
        yield Masked(what, "output", one, scale, 0.0, np.ones(calls, bool), 1 - p)


def _held(
    trial: Trial,
    x: np.ndarray,
    p: float,
    answers: tuple[np.ndarray, np.ndarray],
    gradient: np.ndarray | None,
    made: np.ndarray | None,
) -> Iterator[Masked]:
    layer, what = trial.case.call.layer, f"in training with p={p:g}"
    droppable, groups = np.ones(x.shape, bool), shared(trial)
    input, ones = (exactly(array, trial.precision) for array in (x, np.ones(x.shape)))
    got, again = answers
    if _MODULES.get(layer, layer) in _ALPHA:
        gone = alpha_dropped(input, p)
        wanted, slope = alpha_kept(input, p), alpha_scale(input, p)
        low = float(gone.value)
        # Subtracting rounds for kept elements; dropped ones give a difference near 0.
        own = 2 * OWN * (wanted.reach + abs(low))
        wanted = Rounded(wanted.value - low, wanted.error + own, wanted.precision)
        slopes = Rounded(ones.value * slope.value, ones.value * slope.error, slope.precision)
        text = f"{what}, {-low:.6g} added"
        alike = None if made is None else (made - low, float(gone.error))
        yield Masked(
            text,
            "output",
            got - low,
            wanted,
            float(gone.error),
            droppable,
            1 - p,
            groups,
            again - low,
        )
    else:
        wanted, slopes = kept(input, p), kept(ones, p)
        alike = None if made is None else (made, 0.0)
        yield Masked(what, "output", got, wanted, 0.0, droppable, 1 - p, groups, again)
    if gradient is not None:
        yield Masked(
            what, "gradient of input", gradient, slopes, 0.0, droppable, 1 - p, groups, None, alike
        )


def _of_zeros(trial: Trial) -> Trial:
    (x,) = trial.case.inputs
    assert x is not None
    return trial.other(replace(trial.case, inputs=(np.zeros(x.shape),), layouts=()))


@law("form", "the module in eval mode and the function without training are one", EXACT)
def form(trial: Trial, generator: Generator) -> Claims:
    """The function for a module, or the reverse, without training."""
    layer = trial.case.call.layer
    other = {**FORMS, **_MODULES}[layer]
    yield same(_with(trial, training=False, layer=other), _with(trial, training=False))


@law("probability", "without training p means nothing", EXACT)
def probability(trial: Trial, generator: Generator) -> Claims:
    """The call with another p, without training."""
    p = float(generator.choice([0.0, 0.3, 1.0]))
    yield same(_with(trial, training=False, p=p), _with(trial, training=False))


@law("nothing", "with p = 0 training changes nothing", EXACT)
def nothing(trial: Trial, generator: Generator) -> Claims:
    """The call with p = 0 in training, compared with the one without training."""
    yield same(_with(trial, training=True, p=0.0), _with(trial, training=False))


@law("everything", "with p = 1 nothing is left", EXACT)
def everything(trial: Trial, generator: Generator) -> Claims:
    """The call with p = 1 in training, compared with an input of zeros."""
    yield same(_with(trial, training=True, p=1.0), _with(_of_zeros(trial), training=False))


LAWS = (form, probability, nothing, everything)
