"""Laws of Flatten, Unflatten and the shuffle of channels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from conformance.laws.linear import EXACT
from conformance.model.case import is_function
from conformance.spec.law import (
    Claims,
    Generator,
    equality_claim,
    get_input,
    large_size,
    law,
    trial_with,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


def _arguments(trial: Trial) -> dict[str, Any]:
    return {**trial.spec.signature.defaults, **trial.case.call.arguments}


def _axis_range(trial: Trial) -> tuple[int, int]:
    """start_dim and end_dim, counted from the front."""
    axes, arguments = max(get_input(trial).ndim, 1), _arguments(trial)
    return arguments["start_dim"] % axes, arguments["end_dim"] % axes


@law("rows", "each row of a large batch is that row of a small one", EXACT)
def rows(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 rows, drawn from the case's."""
    x = get_input(trial)
    if trial.spec.batch_axis(trial.case, 0) is None or not len(x):
        return
    chosen = generator.integers(len(x), size=large_size(generator))
    large = trial_with(trial, x[chosen])
    yield equality_claim(large, trial, wanted_moves=lambda y: y[chosen])


@law("ends", "an axis may be counted from either end", EXACT)
def ends(trial: Trial, generator: Generator) -> Claims:
    """Both axes counted from the other end."""
    x, arguments = get_input(trial), _arguments(trial)
    axes = max(x.ndim, 1)
    other = {name: k - axes if k >= 0 else k + axes for name, k in arguments.items()}
    yield equality_claim(trial_with(trial, x, **other), trial)


@law("again", "what is flat stays so", EXACT)
def again(trial: Trial, generator: Generator) -> Claims:
    """The output flattened again, from the new axis to itself."""
    start, _ = _axis_range(trial)
    yield equality_claim(trial_with(trial, trial.answer[0], start_dim=start, end_dim=start), trial)


@law("pairs", "axes become one two by two as well as all at once", EXACT)
def pairs(trial: Trial, generator: Generator) -> Claims:
    """Flatten the first two axes, then the rest."""
    start, end = _axis_range(trial)
    if start < end:
        first_pair = trial_with(trial, get_input(trial), start_dim=start, end_dim=start + 1)
        rest = trial_with(trial, first_pair.answer[0], start_dim=start, end_dim=end - 1)
        yield equality_claim(rest, trial)


@law("undone", "Unflatten of the same backend undoes it", EXACT)
def undone(trial: Trial, generator: Generator) -> Claims:
    """Unflatten of the output to the original sizes."""
    (start, end), x = _axis_range(trial), get_input(trial)
    if x.ndim:
        sizes = x.shape[start : end + 1]
        arguments = {"dim": start, "unflattened_size": sizes}
        unflattened = trial_with(trial, trial.answer[0], layer="Unflatten", arguments=arguments)
        yield equality_claim(unflattened, trial, wanted_moves=lambda y: y.reshape(x.shape))


FLATTEN = (rows, ends, again, pairs, undone)


@law("axis", "the axis may be counted from either end", EXACT)
def axis(trial: Trial, generator: Generator) -> Claims:
    """`dim` counted from the other end."""
    x, arguments = get_input(trial), _arguments(trial)
    arguments["dim"] += -x.ndim if arguments["dim"] >= 0 else x.ndim
    yield equality_claim(trial_with(trial, x, **arguments), trial)


@law("inferred", "a size may be left to be inferred", EXACT)
def inferred(trial: Trial, generator: Generator) -> Claims:
    """The inferred size written out, and possibly another one left to be inferred."""
    x, arguments = get_input(trial), _arguments(trial)
    axis_index, sizes = arguments["dim"] % x.ndim, list(arguments["unflattened_size"])
    output_sizes = list(trial.shapes[0] or ())[axis_index : axis_index + len(sizes)]
    index = int(generator.integers(len(sizes)))
    if sizes[index] != -1 and math.prod((*output_sizes[:index], *output_sizes[index + 1 :])):
        output_sizes[index] = -1
    yield equality_claim(
        trial_with(trial, x, dim=arguments["dim"], unflattened_size=tuple(output_sizes)), trial
    )


@law("flattened", "Flatten of the same backend undoes it", EXACT)
def flattened(trial: Trial, generator: Generator) -> Claims:
    """Flatten of the new axes of the output."""
    x, arguments = get_input(trial), _arguments(trial)
    axis_index, count = arguments["dim"] % x.ndim, len(arguments["unflattened_size"])
    ends = {"start_dim": axis_index, "end_dim": axis_index + count - 1}
    flat = trial_with(trial, trial.answer[0], layer="Flatten", arguments=ends)
    yield equality_claim(flat, trial, wanted_moves=lambda y: y.reshape(x.shape))


UNFLATTEN = (rows, axis, inferred, flattened)
_FORMS = ("ChannelShuffle", "functional.channel_shuffle", "functional.native_channel_shuffle")


@law("form", "the module and the two functions are one", EXACT)
def form(trial: Trial, generator: Generator) -> Claims:
    """One of the other two forms."""
    others = [name for name in _FORMS if name != trial.case.call.layer]
    name = others[int(generator.integers(2))] if is_function(trial.case.call.layer) else others[0]
    yield equality_claim(trial_with(trial, get_input(trial), layer=name), trial)


@law("dealt", "as many groups as a group had channels bring them back", EXACT)
def dealt(trial: Trial, generator: Generator) -> Claims:
    """The output shuffled with C/g groups, compared with a shuffle of one group: the input."""
    x, groups = get_input(trial), _arguments(trial)["groups"]
    if x.shape[1]:
        dealt_back = trial_with(trial, trial.answer[0], groups=x.shape[1] // groups)
        yield equality_claim(dealt_back, trial_with(trial, x, groups=1))


@law("places", "places in space mean nothing", EXACT)
def places(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 spatial positions drawn from the case's, in one row."""
    x = get_input(trial)
    flat = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
    if flat.shape[2]:
        chosen = generator.integers(flat.shape[2], size=large_size(generator))
        other = trial_with(trial, flat[:, :, chosen])
        yield equality_claim(
            other, trial, wanted_moves=lambda y: y.reshape(flat.shape)[:, :, chosen]
        )


SHUFFLE = (rows, form, dealt, places)
