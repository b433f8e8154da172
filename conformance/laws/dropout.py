"""Laws of dropout: the rate, the elements that share a draw, and when nothing is dropped."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.rounded import ORACLE_UNIT, Rounded, exact_operand
from conformance.model.case import is_function
from conformance.oracles.dropout import (
    alpha_dropped_value,
    alpha_kept_value,
    alpha_scale,
    kept_value,
)
from conformance.spec.draws import Draws, MaskedOutput
from conformance.spec.law import Claims, Generator, equality_claim, law

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

# One case in this many has a probe that measures a rate to within 0.02, of channels 0.04.
_LARGE_PROBE_PERIOD = 8
_HUGE_PROBE_PERIOD = (
    64  # one case in this many has a probe of 2²⁰ draws, which distinguishes 0.1 and 25/256
)
# The probability that none of n draws is dropped is (1 − p)ⁿ < e⁻ⁿᵖ. Below 1e-10 / 2 that is a
# finding: where n·p is at least ln(2e10) = 23.7.
_MIN_EXPECTED_DROPS = 24
_PLACES_PERIOD = 4  # one case in this many checks each element over many calls,
_MAX_CALLS = 160  # unless it needs more calls than this
_BATCH_PERIOD, _SLICES = 4, 3  # one case in this many is called under vmap, over so many slices
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


def _is_batched(trial: Trial) -> bool:
    return trial.spec.batch_axis(trial.case, 0) is not None


def shared_axes(trial: Trial) -> tuple[int, ...]:
    """The axes along which all elements share a draw: those after the channels, or none."""
    layer, (x,) = trial.case.call.layer, trial.case.inputs
    assert x is not None
    if _MODULES.get(layer, layer) in _BY_ELEMENT:
        return ()
    return tuple(range(1 + _is_batched(trial), x.ndim))


def _in_mode(trial: Trial, *, training: bool, layer: str | None = None, **arguments: Any) -> Trial:
    """The call, or its other form, in train or eval mode and with changed arguments."""
    case = trial.case
    name = layer or case.call.layer
    all_arguments = {
        k: v for k, v in case.call.arguments.items() if k not in ("training", "inplace")
    }
    all_arguments |= arguments
    function = is_function(name)
    if function:
        all_arguments["training"] = training
    call = replace(
        case.call, layer=name, arguments=all_arguments, training=training and not function
    )
    return trial.trial_of(replace(case, call=call, layouts=()))


def _probe_input(trial: Trial, generator: Generator, p: float) -> np.ndarray:
    """Input without zeros, with enough draws to measure a rate and as many axes as the case's."""
    large, huge = (
        generator.integers(_LARGE_PROBE_PERIOD) == 0,
        generator.integers(_HUGE_PROBE_PERIOD) == 0,
    )
    channel_axes = shared_axes(trial)
    large |= (128 if channel_axes else 2048) * min(p, 1 - p) < _MIN_EXPECTED_DROPS
    if channel_axes:
        spatial = generator.integers(2, 4, len(channel_axes)).tolist()
        spatial = [1] * len(channel_axes) if huge else spatial
        samples, channels_alone = (128, 8192) if large else (8, 128)
        samples, channels_alone = (4096, 2**20) if huge else (samples, channels_alone)
        channels = 256 if huge else 64 if large else 16
        batched_shape = [samples + int(generator.integers(4)), channels]
        unbatched_shape = [channels_alone + int(generator.integers(4))]
        shape = [*(batched_shape if _is_batched(trial) else unbatched_shape), *spatial]
    else:
        size_factor = 22 if huge else 4 if large else 1
        last_size = 16 + int(generator.integers(-1, 4))
        shape = [8 * size_factor + int(generator.integers(4)), 16 * size_factor, last_size]
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
    x = _probe_input(trial, generator, p)
    inplace = bool(case.call.arguments.get("inplace", False))
    source = trial.trial_of(replace(case, inputs=(x,), layouts=()))
    first, second, third = (_in_mode(source, training=True, inplace=inplace) for _ in range(3))
    answers = first.answer[0], second.answer[0]
    yield from _check_places(trial, generator, p)
    yield from _check_batch(trial, generator, p)
    output_with_gradient, (gradient,) = third.outputs_and_gradients(np.ones(x.shape))
    yield from _check_draws(
        trial,
        x,
        p,
        answers,
        gradient,
        None if output_with_gradient is None else output_with_gradient[0],
    )


def _check_places(trial: Trial, generator: Generator, p: float) -> Iterator[MaskedOutput]:
    """Over many calls each element, or channel, is dropped at the same rate.

    A few that are never dropped, such as those after the last full vector, would not change the
    overall rate.
    """
    layer = trial.case.call.layer
    calls = math.ceil(_MIN_EXPECTED_DROPS / min(p, 1 - p))
    if (
        generator.integers(_PLACES_PERIOD)
        or calls > _MAX_CALLS
        or _MODULES.get(layer, layer) in _ALPHA
    ):
        return
    channel_axes, count = shared_axes(trial), int(generator.integers(3, 10))
    spatial = [2] * len(channel_axes)
    sample = [2] if channel_axes and _is_batched(trial) else []
    x = np.ones([*sample, count, *spatial])
    call = _in_mode(trial.trial_of(replace(trial.case, inputs=(x,), layouts=())), training=True)
    outputs = [call.answer[0]]
    while len(outputs) < calls:
        call.drop_outputs()
        outputs.append(call.arrays[0])
    scale = kept_value(exact_operand(np.ones(calls), trial.precision), p)
    for k in range(count):
        values_at_place = np.array(
            [y[(*[0] * len(sample), k, *[0] * len(spatial))] for y in outputs]
        )
        description = f"in training with p={p:g}, place {k} of {count} in {calls} calls"
        yield MaskedOutput(
            description, "output", values_at_place, scale, 0.0, np.ones(calls, bool), 1 - p
        )


def _check_batch(trial: Trial, generator: Generator, p: float) -> Iterator[MaskedOutput]:
    """Under vmap slices draw the same numbers, or different ones, as told."""
    layer = trial.case.call.layer
    if generator.integers(_BATCH_PERIOD) or _MODULES.get(layer, layer) in _ALPHA:
        return
    randomness = str(generator.choice(["same", "different"]))
    channel_axes = shared_axes(trial)
    sample = [2] if channel_axes and _is_batched(trial) else []
    size = math.ceil(_MIN_EXPECTED_DROPS / min(p, 1 - p))
    x = np.ones([*sample, size, *[2] * len(channel_axes)])
    source = trial.trial_of(replace(trial.case, inputs=(x,), layouts=()))
    got = _in_mode(source, training=True).answer_of_batch(np.stack([x] * _SLICES), randomness)
    if got is None:
        return
    scale = kept_value(exact_operand(np.ones(got.shape), trial.precision), p)
    axes = tuple(1 + axis for axis in channel_axes)
    yield MaskedOutput(
        f"in training with p={p:g}, under vmap with {randomness} random numbers",
        "output", got, scale, 0.0, np.ones(got.shape, bool), 1 - p,
        (0, *axes) if randomness == "same" else axes,
    )  # fmt: skip


def _check_draws(
    trial: Trial,
    x: np.ndarray,
    p: float,
    answers: tuple[np.ndarray, np.ndarray],
    gradient: np.ndarray | None,
    output_with_gradient: np.ndarray | None,
) -> Iterator[MaskedOutput]:
    layer, description = trial.case.call.layer, f"in training with p={p:g}"
    droppable, groups = np.ones(x.shape, bool), shared_axes(trial)
    input, ones = (exact_operand(array, trial.precision) for array in (x, np.ones(x.shape)))
    got, again = answers
    if _MODULES.get(layer, layer) in _ALPHA:
        dropped = alpha_dropped_value(input, p)
        wanted, slope = alpha_kept_value(input, p), alpha_scale(input, p)
        dropped_value = float(dropped.value)
        # Subtracting rounds for kept elements; dropped ones give a difference near 0.
        rounding_error = 2 * ORACLE_UNIT * (wanted.abs_bound + abs(dropped_value))
        wanted = Rounded(
            wanted.value - dropped_value, wanted.error + rounding_error, wanted.precision
        )
        slopes = Rounded(ones.value * slope.value, ones.value * slope.error, slope.precision)
        text = f"{description}, {-dropped_value:.6g} added"
        paired_output = (
            None
            if output_with_gradient is None
            else (output_with_gradient - dropped_value, float(dropped.error))
        )
        yield MaskedOutput(
            text,
            "output",
            got - dropped_value,
            wanted,
            float(dropped.error),
            droppable,
            1 - p,
            groups,
            again - dropped_value,
        )
    else:
        wanted, slopes = kept_value(input, p), kept_value(ones, p)
        paired_output = None if output_with_gradient is None else (output_with_gradient, 0.0)
        yield MaskedOutput(description, "output", got, wanted, 0.0, droppable, 1 - p, groups, again)
    if gradient is not None:
        yield MaskedOutput(
            description,
            "gradient of input",
            gradient,
            slopes,
            0.0,
            droppable,
            1 - p,
            groups,
            None,
            paired_output,
        )


def _on_zeros(trial: Trial) -> Trial:
    (x,) = trial.case.inputs
    assert x is not None
    return trial.trial_of(replace(trial.case, inputs=(np.zeros(x.shape),), layouts=()))


@law("form", "the module in eval mode and the function without training are one", EXACT)
def form(trial: Trial, generator: Generator) -> Claims:
    """The function for a module, or the reverse, without training."""
    layer = trial.case.call.layer
    other = {**FORMS, **_MODULES}[layer]
    yield equality_claim(
        _in_mode(trial, training=False, layer=other), _in_mode(trial, training=False)
    )


@law("probability", "without training p means nothing", EXACT)
def probability(trial: Trial, generator: Generator) -> Claims:
    """The call with another p, without training."""
    p = float(generator.choice([0.0, 0.3, 1.0]))
    yield equality_claim(_in_mode(trial, training=False, p=p), _in_mode(trial, training=False))


@law("nothing", "with p = 0 training changes nothing", EXACT)
def nothing(trial: Trial, generator: Generator) -> Claims:
    """The call with p = 0 in training, compared with the one without training."""
    yield equality_claim(_in_mode(trial, training=True, p=0.0), _in_mode(trial, training=False))


@law("everything", "with p = 1 nothing is left", EXACT)
def everything(trial: Trial, generator: Generator) -> Claims:
    """The call with p = 1 in training, compared with an input of zeros."""
    yield equality_claim(
        _in_mode(trial, training=True, p=1.0), _in_mode(_on_zeros(trial), training=False)
    )


LAWS = (form, probability, nothing, everything)
