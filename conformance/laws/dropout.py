"""What dropout drops, how often, and when it does nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import exactly
from conformance.laws.draws import Draws, Masked
from conformance.laws.law import Claims, Generator, law, same
from conformance.model.case import is_function
from conformance.oracles.dropout import kept

if TYPE_CHECKING:
    from conformance.model.protocols import TrialLike as Trial

_EVERY = 8  # of so many cases one has a probe that tells a rate to within 0.02
EXACT = "always equal: nothing is computed"


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


def draws(trial: Trial, generator: Generator) -> Draws:
    """Each element is dropped by itself with probability p, anew in each call, as its gradient is.

    The probe has the case's own p and dtype and numbers none of which is 0, whatever its input.
    """
    case = trial.case
    p = float(case.call.arguments.get("p", 0.5))
    large = 4 if generator.integers(_EVERY) == 0 else 1
    shape = (
        8 * large + int(generator.integers(4)),
        16 * large,
        16 + int(generator.integers(-1, 4)),
    )
    x = generator.integers(1, 4, shape) * generator.choice([-1.0, 1.0], shape)
    inplace = bool(case.call.arguments.get("inplace", False))
    source = trial.other(replace(case, inputs=(x,), layouts=()))
    first, second = (_with(source, training=True, inplace=inplace) for _ in range(2))
    what = f"in training with p={p:g}"
    if 0 < p < 1:
        wanted = kept(exactly(x, trial.precision), p)
        droppable = np.ones(shape, bool)
        got, again = first.answer[0], second.answer[0]
        yield Masked(what, "output", got, wanted, 0.0, droppable, 1 - p, again=again)
        ones = np.ones(shape)
        (gradient,) = _with(source, training=True, inplace=inplace).pulled(ones)
        if gradient is not None:
            slope = kept(exactly(ones, trial.precision), p)
            yield Masked(what, "gradient of input", gradient, slope, 0.0, droppable, 1 - p)


def _of_zeros(trial: Trial) -> Trial:
    (x,) = trial.case.inputs
    assert x is not None
    return trial.other(replace(trial.case, inputs=(np.zeros(x.shape),), layouts=()))


@law("form", "the module in eval mode and the function without training are one", EXACT)
def form(trial: Trial, generator: Generator) -> Claims:
    """The other form."""
    function = is_function(trial.case.call.layer)
    other = "Dropout" if function else "functional.dropout"
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
