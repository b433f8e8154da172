"""Laws of padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.batches import among_many, each_alone
from conformance.laws.linear import EXACT
from conformance.model.case import is_function
from conformance.model.formats import round_to
from conformance.spec.law import Claims, Generator, equality_claim, get_input, law, trial_with

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_STEMS = {"Reflection": "reflect", "Replication": "replicate", "Circular": "circular"}
_PAD = "functional.pad"


def _mode(trial: Trial) -> str:
    """The padding mode by torch's name."""
    if is_function(trial.spec.name):
        return str(trial.case.call.arguments.get("mode", "constant"))
    return _STEMS.get(trial.spec.name.partition("Pad")[0], "constant")


def _side_paddings(trial: Trial) -> tuple[int, ...]:
    """The padding as (left, right, top, bottom, …)."""
    arguments: Any = trial.case.call.arguments
    if is_function(trial.spec.name):
        return tuple(arguments["pad"])
    number = arguments["padding"]
    return (number,) * (2 * trial.spec.signature.dims) if isinstance(number, int) else tuple(number)


def _call_padded(trial: Trial, x: np.ndarray, numbers: Sequence[int]) -> Trial:
    """The call on another input with another padding."""
    changes: dict[str, Any] = {"pad" if is_function(trial.spec.name) else "padding": tuple(numbers)}
    return trial_with(trial, x, **changes)


def _call_pad(trial: Trial, x: np.ndarray, numbers: Sequence[int]) -> Trial:
    """functional.pad of the same backend, in the case's mode."""
    arguments: dict[str, Any] = {"pad": tuple(numbers), "mode": _mode(trial)}
    if "value" in trial.case.call.arguments:
        arguments["value"] = trial.case.call.arguments["value"]
    return trial_with(trial, x, layer=_PAD, arguments=arguments)


@law("rows", "each plane of a large batch is that plane of a small one", EXACT)
def planes(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 channels, drawn from the case's."""
    x, axis = get_input(trial), get_input(trial).ndim - len(_side_paddings(trial)) // 2 - 1
    if axis < 0 or not x.shape[axis] or x.size > 1 << 13:
        return
    yield among_many(trial, generator, axis)


@law("singles", "a batch is the stack of its samples, each taken alone without its axis", EXACT)
def singles(trial: Trial, generator: Generator) -> Claims:
    """At most two samples; an unbatched case as a batch of one."""
    leading = get_input(trial).ndim - len(_side_paddings(trial)) // 2
    if leading in (1, 2):
        yield from each_alone(trial, generator, batched=leading == 2, max_samples=2)


@law("function", "the module is `pad` of the same backend in its mode", EXACT)
def function(trial: Trial, generator: Generator) -> Claims:
    """functional.pad with one number for each side."""
    yield equality_claim(_call_pad(trial, get_input(trial), _side_paddings(trial)), trial)


@law("modules", "`pad` of one to three dimensions is a module of the same backend", EXACT)
def modules(trial: Trial, generator: Generator) -> Claims:
    """The module of the mode, where the input is unbatched or has one batch axis."""
    x, numbers = get_input(trial), _side_paddings(trial)
    dims = len(numbers) // 2
    if dims not in (1, 2, 3) or x.ndim - dims not in (1, 2):
        return
    stems = {mode: stem for stem, mode in _STEMS.items()} | {"constant": "Constant"}
    arguments: dict[str, Any] = {"padding": numbers}
    if _mode(trial) == "constant":
        value = trial.case.call.arguments.get("value")
        arguments["value"] = 0.0 if value is None else value
    name = f"{stems[_mode(trial)]}Pad{dims}d"
    yield equality_claim(trial_with(trial, x, layer=name, arguments=arguments), trial)


@law("apart", "dimensions are padded one after the other as well as at once", EXACT)
def apart(trial: Trial, generator: Generator) -> Claims:
    """Each dimension in a call of its own, in random order."""
    numbers = _side_paddings(trial)
    dims = len(numbers) // 2
    if dims < 2:
        return
    y = get_input(trial)
    for k in generator.permutation(dims):
        single_dimension = [n if index // 2 == k else 0 for index, n in enumerate(numbers)]
        step = _call_padded(trial, y, single_dimension)
        y = step.answer[0]
    yield equality_claim(step, trial)


@law("cropped", "what is padded and then cropped by as much is the input", EXACT)
def cropped(trial: Trial, generator: Generator) -> Claims:
    """The output cropped by negative padding, where the case's padding is not negative."""
    x, numbers = get_input(trial), _side_paddings(trial)
    if numbers and min(numbers) >= 0:
        back = _call_padded(trial, trial.answer[0], [-n for n in numbers])
        yield equality_claim(back, _call_padded(trial, x, [0] * len(numbers)))


@law("slices", "negative padding is a slice", EXACT)
def slices(trial: Trial, generator: Generator) -> Claims:
    """Negative padding of at most two elements at each end, while one element remains."""
    x = get_input(trial)
    dims = len(_side_paddings(trial)) // 2
    crops = [(0, 0)] * (x.ndim - dims)
    for length in x.shape[x.ndim - dims :]:
        before = int(generator.integers(0, min(2, max(length - 1, 0)), endpoint=True))
        after = int(generator.integers(0, min(2, max(length - 1 - before, 0)), endpoint=True))
        crops.append((before, after))
    numbers = [-n for side in reversed(crops[x.ndim - dims :]) for n in side]
    remaining = tuple(slice(b, n - a) for n, (b, a) in zip(x.shape, crops, strict=True))
    by_number = _call_padded(trial, x, numbers)
    by_hand = _call_padded(trial, np.ascontiguousarray(x[remaining]), [0] * len(numbers))
    yield equality_claim(by_number, by_hand)


@law("mirrored", "mirroring the input and exchanging the sides mirrors the output", EXACT)
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """All padded dimensions flipped, with their sides exchanged."""
    x, numbers = get_input(trial), _side_paddings(trial)
    padded_axes = tuple(range(x.ndim - len(numbers) // 2, x.ndim))
    swapped = [numbers[k ^ 1] for k in range(len(numbers))]
    other = _call_padded(trial, np.flip(x, padded_axes).copy(), swapped)
    yield equality_claim(other, trial, got_moves=lambda y: np.flip(y, padded_axes))


@law("negated", "padding of −x is that of x, negated: signs, infinities and all", EXACT)
def negated(trial: Trial, generator: Generator) -> Claims:
    """Input and constant negated; not for integers."""
    x, value = get_input(trial), trial.case.call.arguments.get("value")
    if x.dtype.kind == "i" or not np.array_equal(round_to(-x, trial.case.call.dtype), -x):
        return
    changes = {} if value is None else {"value": -value}
    yield equality_claim(trial_with(trial, -x, **changes), trial, got_moves=lambda y: -y)


_COMMON_LAWS = (planes, singles, cropped, slices, mirrored, negated)
LINE_LAWS = (*_COMMON_LAWS, function)
MODULE_LAWS = (*LINE_LAWS, apart)
FUNCTION_LAWS = (*_COMMON_LAWS, apart, modules)
