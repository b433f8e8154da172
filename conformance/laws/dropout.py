"""What dropout drops, how often, what together, and when it does nothing."""

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

_EVERY = 8  # of so many cases one has a probe that tells a rate to within 0.02, of channels 0.04
_MANY = 64  # of so many cases one has a probe of 2²⁰ draws, which tells 0.1 from 25/256
# Of n draws none is dropped by a chance of (1 - p)ⁿ < e⁻ⁿᵖ. Below 1e-10 / 2 that is a finding:
# where n·p is at least ln(2e10) = 23.7.
_FEW = 24
_SOMETIMES = 4  # of so many cases one looks at each place in many calls,
_MOST = 160  # unless that takes more
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
    """The axes along which all elements are dropped together: those after the channel's."""
    layer, (x,) = trial.case.call.layer, trial.case.inputs
    assert x is not None
    if _MODULES.get(layer, layer) in _BY_ELEMENT:
        return ()
    return tuple(range(1 + _batched(trial), x.ndim))


def _with(trial: Trial, *, training: bool, layer: str | None = None, **arguments: Any) -> Trial:
    """A call of either form, in a mode and with other arguments; never in place."""
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
    """Numbers none of which is 0: as many draws as tell a rate, along as many axes as the case."""
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
    """Each element, or channel, is dropped by itself with probability p, anew in each call.

    So is its gradient. The probe has the case's own p and dtype and numbers none of which is 0,
    whatever its input.
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
    """In many calls each element, or channel, is dropped as often as the others.

    A few that never are, as those past the last whole vector, do not show in the rate of all.
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
        # The differences round here, and those of what is dropped do not: they are near 0.
        own = 2 * OWN * (wanted.reach + abs(low))
        wanted = Rounded(wanted.value - low, wanted.error + own, wanted.precision)
        slopes = Rounded(ones.value * slope.value, ones.value * slope.error, slope.precision)
        text = f"{what}, {-low:.6g} added"
        alike = None if made is None else (made - low, float(gone.error))
        yield Masked(
            text, "output", got - low, wanted, float(gone.error), droppable, 1 - p, groups,
            again - low,
        )  # fmt: skip
    else:
        wanted, slopes = kept(input, p), kept(ones, p)
        alike = None if made is None else (made, 0.0)
        yield Masked(what, "output", got, wanted, 0.0, droppable, 1 - p, groups, again)
    if gradient is not None:
        yield Masked(
            what, "gradient of input", gradient, slopes, 0.0, droppable, 1 - p, groups, None, alike
        )  # fmt: skip


def _of_zeros(trial: Trial) -> Trial:
    (x,) = trial.case.inputs
    assert x is not None
    return trial.other(replace(trial.case, inputs=(np.zeros(x.shape),), layouts=()))


@law("form", "the module in eval mode and the function without training are one", EXACT)
def form(trial: Trial, generator: Generator) -> Claims:
    """The other form."""
    layer = trial.case.call.layer
    other = {**FORMS, **_MODULES}[layer]
    yield same(_with(trial, training=False, layer=other), _with(trial, training=False))


@law("probability", "without training p means nothing", EXACT)
def probability(trial: Trial, generator: Generator) -> Claims:
    """Another p."""
    p = float(generator.choice([0.0, 0.3, 1.0]))
    yield same(_with(trial, training=False, p=p), _with(trial, training=False))


@law("nothing", "with p = 0 training changes nothing", EXACT)
def nothing(trial: Trial, generator: Generator) -> Claims:
    """In training and without."""
    yield same(_with(trial, training=True, p=0.0), _with(trial, training=False))


@law("everything", "with p = 1 nothing is left", EXACT)
def everything(trial: Trial, generator: Generator) -> Claims:
    """As if the input were 0."""
    yield same(_with(trial, training=True, p=1.0), _with(_of_zeros(trial), training=False))


LAWS = (form, probability, nothing, everything)
