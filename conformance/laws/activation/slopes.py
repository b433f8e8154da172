"""Laws of PReLU, whose slopes are learned, and of RReLU, whose slopes are drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.arithmetic.rounded import exact_operand
from conformance.laws.activation.elementwise import doubled
from conformance.model.case import is_function
from conformance.spec.draws import Draws, MaskedOutput
from conformance.spec.law import Claims, Generator, equality_claim, large_size, law

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_LARGE_PROBE_PERIOD = 8  # one case in this many has a probe that measures a rate to within 0.02
_THRESHOLD_FRACTIONS = (
    0.5,
    0.9,
)  # fractions of the way from lower to upper, with known rates above them


@law("mean_slope", "without training it is LeakyReLU with a slope of (lower + upper)/2")
def mean_slope(trial: Trial, generator: Generator) -> Claims:
    """Both on the same input."""
    lower, upper = _slope_range(trial)
    function = is_function(trial.case.call.layer)
    name = "functional.leaky_relu" if function else "LeakyReLU"
    arguments = {"negative_slope": (lower + upper) / 2}
    call = replace(trial.case.call, layer=name, arguments=arguments, training=False)
    leaky = trial.trial_of(replace(trial.case, call=call, layouts=()))
    yield equality_claim(leaky, _in_mode(trial, training=False))


def _slope_range(trial: Trial) -> tuple[float, float]:
    written, defaults = trial.case.call.arguments, trial.spec.signature.defaults
    lower, upper = (float(written.get(name, defaults[name])) for name in ("lower", "upper"))
    return lower, upper


def _in_mode(trial: Trial, *, training: bool) -> Trial:
    """The call in train or eval mode, never in place."""
    call = trial.case.call
    arguments = {k: v for k, v in call.arguments.items() if k not in ("training", "inplace")}
    function = is_function(call.layer)
    if function:
        arguments["training"] = training
    call = replace(call, arguments=arguments, training=training and not function)
    return trial.trial_of(replace(trial.case, call=call, layouts=()))


def draws(trial: Trial, generator: Generator) -> Draws:
    """Each element's slope is drawn independently and uniformly, and anew in each call.

    For an input of −1 the output is minus the slope, and the gradient is the slope. Both are
    compared with two thresholds between lower and upper, above which they must lie at a known rate.
    """
    lower, upper = _slope_range(trial)
    if not lower < upper:
        return
    size_factor = 4 if generator.integers(_LARGE_PROBE_PERIOD) == 0 else 1
    shape = (
        8 * size_factor + int(generator.integers(4)),
        16 * size_factor,
        16 + int(generator.integers(-1, 4)),
    )
    case = trial.case
    source = trial.trial_of(replace(case, inputs=(np.full(shape, -1.0),), layouts=()))
    first, second = (_in_mode(source, training=True) for _ in range(2))
    slopes, repeated_slopes = -first.answer[0], -second.answer[0]
    (gradient,) = _in_mode(source, training=True).input_gradients(np.ones(shape))
    ones, everywhere = exact_operand(np.ones(shape), trial.precision), np.ones(shape, bool)
    for fraction in _THRESHOLD_FRACTIONS:
        # The threshold is no number of the dtype, so that rounding alone moves no slope across it.
        threshold = lower + fraction * (upper - lower)
        for name, numbers in (("slope", slopes), ("gradient of input", gradient)):
            if numbers is not None:
                above = (numbers > threshold).astype(float)
                repeated = (repeated_slopes > threshold).astype(float) if name == "slope" else None
                description = (
                    f"in training with lower={lower:g}, upper={upper:g}: 1 above {threshold:g}"
                )
                yield MaskedOutput(
                    description,
                    name,
                    above,
                    ones,
                    0.0,
                    everywhere,
                    1 - fraction,
                    second_call=repeated,
                )


@law("form", "the module and the function are one")
def form(trial: Trial, generator: Generator) -> Claims:
    """The other form: a module has its slopes in its state, a function among its inputs."""
    case = trial.case
    call, x = case.call, case.inputs[0]
    if is_function(call.layer):
        weight = case.inputs[1]
        assert weight is not None
        slopes = weight.reshape(-1)
        other_arguments, state = {"num_parameters": slopes.size}, {"weight": slopes}
        other = replace(call, layer="PReLU", arguments=other_arguments, state=state, layouts={})
        inputs: tuple[np.ndarray | None, ...] = (x,)
    else:
        slopes = call.state.get("weight", np.full(1, 0.25))
        other = replace(call, layer="functional.prelu", arguments={}, state={}, layouts={})
        inputs = (x, slopes)
    yield equality_claim(
        trial.trial_of(replace(case, call=other, inputs=inputs, layouts=())), trial
    )


@law("one_slope", "with one slope it is LeakyReLU")
def one_slope(trial: Trial, generator: Generator) -> Claims:
    """LeakyReLU with the slope as its argument."""
    case = trial.case
    weight = case.inputs[1] if is_function(case.call.layer) else case.call.state.get("weight")
    if weight is not None and weight.size == 1:
        name = "functional.leaky_relu" if is_function(case.call.layer) else "LeakyReLU"
        arguments = {"negative_slope": float(weight.reshape(()))}
        call = replace(case.call, layer=name, arguments=arguments, state={}, layouts={})
        yield equality_claim(
            trial.trial_of(replace(case, call=call, inputs=case.inputs[:1], layouts=())), trial
        )


@law("rows", "each row of a large batch is that row of a small one")
def rows(trial: Trial, generator: Generator) -> Claims:
    """Rows drawn from the case's: several blocks of vector code, and a tail."""
    x = trial.case.inputs[0]
    assert x is not None
    if x.ndim > 1 and x.shape[0]:
        chosen = generator.integers(x.shape[0], size=large_size(generator, cost=float(x.size)))
        inputs = (x[chosen], *trial.case.inputs[1:])
        other = trial.trial_of(replace(trial.case, inputs=inputs, layouts=()))
        yield equality_claim(other, trial, wanted_moves=lambda y: y[chosen])


PRELU = (form, one_slope, rows, doubled)
