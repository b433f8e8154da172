"""Laws of padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.batches import among_many, each_alone
from conformance.laws.linear import EXACT
from conformance.model.case import is_function
from conformance.model.formats import round_to
from conformance.spec.law import Claims, Generator, called, input_of, law, same

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

_STEMS = {"Reflection": "reflect", "Replication": "replicate", "Circular": "circular"}
_PAD = "functional.pad"


def _mode(trial: Trial) -> str:
    """The padding mode by torch's name."""
    if is_function(trial.row.name):
        return str(trial.case.call.arguments.get("mode", "constant"))
    return _STEMS.get(trial.row.name.partition("Pad")[0], "constant")


def _numbers(trial: Trial) -> tuple[int, ...]:
    """The padding as (left, right, top, bottom, …)."""
    given: Any = trial.case.call.arguments
    if is_function(trial.row.name):
        return tuple(given["pad"])
    number = given["padding"]
    return (number,) * (2 * trial.row.signature.dims) if isinstance(number, int) else tuple(number)


def _padded(trial: Trial, x: np.ndarray, numbers: Sequence[int]) -> Trial:
    """The call on another input with another padding."""
    changes: dict[str, Any] = {"pad" if is_function(trial.row.name) else "padding": tuple(numbers)}
    return called(trial, x, **changes)


def _as_pad(trial: Trial, x: np.ndarray, numbers: Sequence[int]) -> Trial:
    """functional.pad of the same backend, in the case's mode."""
    given: dict[str, Any] = {"pad": tuple(numbers), "mode": _mode(trial)}
    if "value" in trial.case.call.arguments:
        given["value"] = trial.case.call.arguments["value"]
    return called(trial, x, layer=_PAD, arguments=given)


@law("rows", "each plane of a large batch is that plane of a small one", EXACT)
def planes(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 channels, drawn from the case's."""
    x, axis = input_of(trial), input_of(trial).ndim - len(_numbers(trial)) // 2 - 1
    if axis < 0 or not x.shape[axis] or x.size > 1 << 13:
        return
    yield among_many(trial, generator, axis)


@law("singles", "a batch is the stack of its samples, each taken alone without its axis", EXACT)
def singles(trial: Trial, generator: Generator) -> Claims:
    """At most two samples; an unbatched case as a batch of one."""
    leading = input_of(trial).ndim - len(_numbers(trial)) // 2
    if leading in (1, 2):
        yield from each_alone(trial, generator, batched=leading == 2, most=2)


@law("function", "the module is `pad` of the same backend in its mode", EXACT)
def function(trial: Trial, generator: Generator) -> Claims:
    """functional.pad with one number for each side."""
    yield same(_as_pad(trial, input_of(trial), _numbers(trial)), trial)


@law("modules", "`pad` of one to three dimensions is a module of the same backend", EXACT)
def modules(trial: Trial, generator: Generator) -> Claims:
    """The module of the mode, where the input is unbatched or has one batch axis."""
    x, numbers = input_of(trial), _numbers(trial)
    dims = len(numbers) // 2
    if dims not in (1, 2, 3) or x.ndim - dims not in (1, 2):
        return
    stems = {mode: stem for stem, mode in _STEMS.items()} | {"constant": "Constant"}
    given: dict[str, Any] = {"padding": numbers}
    if _mode(trial) == "constant":
        value = trial.case.call.arguments.get("value")
        given["value"] = 0.0 if value is None else value
    name = f"{stems[_mode(trial)]}Pad{dims}d"
    yield same(called(trial, x, layer=name, arguments=given), trial)


@law("apart", "dimensions are padded one after the other as well as at once", EXACT)
def apart(trial: Trial, generator: Generator) -> Claims:
    """Each dimension in a call of its own, in random order."""
    numbers = _numbers(trial)
    dims = len(numbers) // 2
    if dims < 2:
        return
    y = input_of(trial)
    for k in generator.permutation(dims):
        one = [n if place // 2 == k else 0 for place, n in enumerate(numbers)]
        step = _padded(trial, y, one)
        y = step.answer[0]
    yield same(step, trial)


@law("cropped", "what is padded and then cropped by as much is the input", EXACT)
def cropped(trial: Trial, generator: Generator) -> Claims:
    """The output cropped by negative padding, where the case's padding is not negative."""
    x, numbers = input_of(trial), _numbers(trial)
    if numbers and min(numbers) >= 0:
        back = _padded(trial, trial.answer[0], [-n for n in numbers])
        yield same(back, _padded(trial, x, [0] * len(numbers)))


@law("slices", "negative padding is a slice", EXACT)
def slices(trial: Trial, generator: Generator) -> Claims:
    """Negative padding of at most two elements at each end, while one element remains."""
    x = input_of(trial)
    dims = len(_numbers(trial)) // 2
    crops = [(0, 0)] * (x.ndim - dims)
    for length in x.shape[x.ndim - dims :]:
        before = int(generator.integers(0, min(2, max(length - 1, 0)), endpoint=True))
        after = int(generator.integers(0, min(2, max(length - 1 - before, 0)), endpoint=True))
        crops.append((before, after))
    numbers = [-n for side in reversed(crops[x.ndim - dims :]) for n in side]
    inner = tuple(slice(b, n - a) for n, (b, a) in zip(x.shape, crops, strict=True))
    by_number = _padded(trial, x, numbers)
    by_hand = _padded(trial, np.ascontiguousarray(x[inner]), [0] * len(numbers))
    yield same(by_number, by_hand)


@law("mirrored", "mirroring the input and exchanging the sides mirrors the output", EXACT)
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """All padded dimensions flipped, with their sides exchanged."""
    x, numbers = input_of(trial), _numbers(trial)
    back = tuple(range(x.ndim - len(numbers) // 2, x.ndim))
    swapped = [numbers[k ^ 1] for k in range(len(numbers))]
    other = _padded(trial, np.flip(x, back).copy(), swapped)
    yield same(other, trial, got_moves=lambda y: np.flip(y, back))


@law("negated", "padding of −x is that of x, negated: signs, infinities and all", EXACT)
def negated(trial: Trial, generator: Generator) -> Claims:
    """Input and constant negated; not for integers."""
    x, value = input_of(trial), trial.case.call.arguments.get("value")
    if x.dtype.kind == "i" or not np.array_equal(round_to(-x, trial.case.call.dtype), -x):
        return
    changes = {} if value is None else {"value": -value}
    yield same(called(trial, -x, **changes), trial, got_moves=lambda y: -y)


_LAWS = (planes, singles, cropped, slices, mirrored, negated)
LINE = (*_LAWS, function)
MODULE = (*LINE, apart)
FUNCTION = (*_LAWS, apart, modules)
