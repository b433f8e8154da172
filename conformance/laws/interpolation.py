"""Laws of interpolation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.choices import enclosed
from conformance.arithmetic.rounded import Rounded, exactly
from conformance.laws.batches import among_many
from conformance.model.formats import round_to
from conformance.oracles.interpolation.interpolate import Resize
from conformance.spec.law import (
    SUMMED,
    Claims,
    Generator,
    Side,
    called,
    claim,
    input_of,
    law,
    measured,
    same,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

SELECTING = ("nearest", "nearest-exact")
FUNCTION = "functional.interpolate"
_HIGHER = {"linear": "bilinear", "bilinear": "trilinear"}
# Modes in the documentation of the module.
_OF_MODULE = ("nearest", "linear", "bilinear", "bicubic", "trilinear")


def _given(trial: Trial) -> dict[str, Any]:
    """All arguments as those of interpolate, defaults included."""
    given = {**trial.row.signature.defaults, **trial.case.call.arguments}
    if trial.row.name == "UpsamplingBilinear2d":
        given |= {"mode": "bilinear", "align_corners": True}
    return {"mode": "nearest", "align_corners": None, "antialias": False, **given}


def _written(trial: Trial) -> dict[str, Any]:
    return dict(trial.case.call.arguments)


def _sized(trial: Trial, size: Any, **changes: Any) -> Mapping[str, Any]:
    """The written arguments with a size instead of a scale factor."""
    given = _written(trial)
    for name in ("scale_factor", "recompute_scale_factor"):
        given.pop(name, None)
    return {**given, "size": size, **changes}


def _resize(trial: Trial) -> Resize:
    given = _given(trial)
    return Resize.of(
        input_of(trial).shape[2:],
        given["size"],
        given["scale_factor"],
        given["align_corners"],
        given.get("recompute_scale_factor") or given["mode"] == "area",
    )


def _as_by_size(trial: Trial) -> bool:
    """Whether the step is the quotient of the lengths, as it is for a given size."""
    found = _resize(trial)
    return found.corners or all(
        Fraction(scale.above, scale.below) == Fraction(n, o) for o, n, scale in found.rows
    )


@law("rows", "each plane of a large batch is that plane of a small one")
def planes(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 channels, drawn from the case's."""
    x = input_of(trial)
    if x.size and x.size <= 1 << 13:
        yield among_many(trial, generator, 1)


@law("function", "the module is the function of the same backend")
def function(trial: Trial, generator: Generator) -> Claims:
    """The function for a module; Upsample for the function, in the modes that it has."""
    given = _given(trial)
    arguments = {k: v for k, v in given.items() if v is not None and k != "antialias"}
    if trial.row.name != FUNCTION:
        yield same(called(trial, input_of(trial), layer=FUNCTION, arguments=arguments), trial)
    elif given["mode"] in _OF_MODULE and not given["antialias"]:
        if isinstance(arguments.get("scale_factor"), list):
            arguments["scale_factor"] = tuple(arguments["scale_factor"])
        yield same(called(trial, input_of(trial), layer="Upsample", arguments=arguments), trial)


@law("size", "a factor is the size that it comes to, where their steps are the same", SUMMED)
def size(trial: Trial, generator: Generator) -> Claims:
    """A size instead of a factor; or a factor with recompute_scale_factor instead of a size."""
    x, given = input_of(trial), _written(trial)
    lengths = trial.shapes[0][2:]
    if given.get("size") is None:
        if not _as_by_size(trial):
            return
        other = called(trial, x, arguments=_sized(trial, lengths))
    else:
        if "recompute_scale_factor" not in trial.row.signature.defaults:
            return
        given.pop("size")
        factors = tuple((o + 0.5) / n for o, n in zip(lengths, x.shape[2:], strict=True))
        given |= {"scale_factor": factors, "recompute_scale_factor": True}
        other = called(trial, x, arguments=given)
    yield claim(other, measured(other), Side(trial.text(), measured(trial), trial))


@law("itself", "resized to its own size, an input is itself", SUMMED)
def itself(trial: Trial, generator: Generator) -> Claims:
    """The call with the input's own size."""
    x = input_of(trial)
    if x.size:
        other = called(trial, x, arguments=_sized(trial, x.shape[2:]))
        yield claim(other, measured(other), Side("the input", (exactly(x, trial.precision),)))


@law("constant", "an input of one number becomes an output of that number", SUMMED)
def constant(trial: Trial, generator: Generator) -> Claims:
    """An input filled with a power of two, which weights scale without rounding."""
    x = input_of(trial)
    if not x.size:
        return
    number = float(np.ldexp(1.0, int(generator.integers(-3, 4))))
    other = called(trial, np.full_like(x, number))
    wanted = exactly(np.full(trial.shapes[0], number), trial.precision)
    yield claim(other, measured(other), Side(f"{number:g} everywhere", (wanted,)))


@law("mirrored", "mirroring the input mirrors the output", SUMMED)
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """The input flipped in all dimensions; not in modes that take the first of two neighbours."""
    if _given(trial)["mode"] in SELECTING or not _as_by_size(trial):
        return
    x, found = input_of(trial), _resize(trial)
    if found.corners and any(o == 1 < n for o, n, _ in found.rows):
        return  # an output of 1 lies on the first element
    space = tuple(range(2, x.ndim))
    other = called(trial, np.flip(x, space).copy())
    back = tuple(y.map(lambda array: np.flip(array, space)) for y in measured(other))
    yield claim(other, back, Side(trial.text(), measured(trial), trial))


@law("scaled", "a multiple of the input is that multiple of the output")
def scaled(trial: Trial, generator: Generator) -> Claims:
    """The input times a power of two, within the dtype's range."""
    x, factor = input_of(trial), float(generator.choice([0.5, -2.0, 8.0]))
    there = round_to(x * factor, trial.case.call.dtype)
    normal = trial.precision.normal
    low = np.abs(there[there != 0]).min(initial=np.inf) * 2.0**-20 < normal
    if low or not np.array_equal(there / factor, x) or not np.isfinite(there).all():
        return
    yield same(called(trial, there), trial, got_moves=lambda y: y / factor)


@law("apart", "dimensions are resized one after the other as well as all at once", SUMMED)
def apart(trial: Trial, generator: Generator) -> Claims:
    """One dimension in a first call, the others in a second."""
    x = input_of(trial)
    if x.ndim < 4 or not x.size or not _as_by_size(trial):
        return
    lengths, outputs = x.shape[2:], trial.shapes[0][2:]
    first = int(generator.integers(len(lengths)))
    between = (*lengths[:first], outputs[first], *lengths[first + 1 :])
    one = called(trial, x, arguments=_sized(trial, between))
    two = called(trial, one.answer[0], arguments=_sized(trial, outputs))
    # The first call's error propagates through the second call.
    (whole,) = two.evaluate({}, measured(one))
    bound = Rounded(two.answer[0], enclosed(whole).error, trial.precision)
    side = Side(trial.text(), measured(trial), trial)
    yield replace(claim(two, (bound,), side), got=Side(two.text(), (bound,)))


@law("grown", "every k-th output of an input grown k-fold is the input", SUMMED)
def grown(trial: Trial, generator: Generator) -> Claims:
    """For modes that select, and where the centres of corner pixels coincide."""
    x, given, times = input_of(trial), _given(trial), int(generator.integers(2, 6))
    selects = given["mode"] in SELECTING
    if not x.size or x.size > 1 << 12 or given["antialias"]:
        return
    if not (selects or given["align_corners"]):
        return
    many_times = tuple(n * times if selects else (n - 1) * times + 1 for n in x.shape[2:])
    other = called(trial, x, arguments=_sized(trial, many_times))
    each = (slice(None), slice(None), *(slice(None, None, times),) * (x.ndim - 2))
    found = tuple(y.map(lambda array: array[each]) for y in measured(other))
    if min(x.shape[2:]) == 1 and not selects:
        return  # an output of 1 lies on the first element, whatever the scale
    yield claim(other, found, Side("the input", (exactly(x, trial.precision),)))


@law("thin", "a dimension of 1 more changes nothing", SUMMED)
def thin(trial: Trial, generator: Generator) -> Claims:
    """A first dimension of size 1, in the same mode or its variant of one dimension more."""
    x, given = input_of(trial), _written(trial)
    mode = _given(trial)["mode"]
    if x.ndim > 4 or _given(trial)["antialias"]:
        return
    other_mode = mode if mode in (*SELECTING, "area") else _HIGHER.get(mode)
    if other_mode is None:
        return
    given["mode"] = other_mode
    for name in ("size", "scale_factor"):
        value = given.get(name)
        if value is not None:
            one = 1 if name == "size" else 1.0
            several = value if isinstance(value, (tuple, list)) else (value,) * (x.ndim - 2)
            given[name] = (one, *several)
    other = called(trial, x[:, :, np.newaxis], arguments=given)
    found = tuple(y.map(lambda array: array[:, :, 0]) for y in measured(other))
    yield claim(other, found, Side(trial.text(), measured(trial), trial))


_EVERY = (planes, function, size, itself, constant)
LAWS = (*_EVERY, mirrored, scaled, apart, grown, thin)
"""Laws of interpolate and Upsample."""
NEAREST = (*_EVERY, scaled, apart, grown)
"""Laws of UpsamplingNearest2d."""
BILINEAR = (*_EVERY, mirrored, scaled, apart, grown)
"""Laws of UpsamplingBilinear2d."""
