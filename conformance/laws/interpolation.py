"""Laws of interpolation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.arithmetic.choices import enclose
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.laws.batches import among_many
from conformance.model.formats import round_to
from conformance.oracles.interpolation.interpolate import Resize
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Side,
    claim,
    equality_claim,
    get_input,
    law,
    outputs_with_bounds,
    trial_with,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial

SELECTING = ("nearest", "nearest-exact")
FUNCTION = "functional.interpolate"
_NEXT_DIMENSION = {"linear": "bilinear", "bilinear": "trilinear"}
# Modes in the documentation of the module.
_OF_MODULE = ("nearest", "linear", "bilinear", "bicubic", "trilinear")


def _arguments(trial: Trial) -> dict[str, Any]:
    """All arguments as those of interpolate, defaults included."""
    arguments = {**trial.spec.signature.defaults, **trial.case.call.arguments}
    if trial.spec.name == "UpsamplingBilinear2d":
        arguments |= {"mode": "bilinear", "align_corners": True}
    return {"mode": "nearest", "align_corners": None, "antialias": False, **arguments}


def _written_arguments(trial: Trial) -> dict[str, Any]:
    return dict(trial.case.call.arguments)


def _arguments_for_size(trial: Trial, size: Any, **changes: Any) -> Mapping[str, Any]:
    """The written arguments with a size instead of a scale factor."""
    arguments = _written_arguments(trial)
    for name in ("scale_factor", "recompute_scale_factor"):
        arguments.pop(name, None)
    return {**arguments, "size": size, **changes}


def _resize(trial: Trial) -> Resize:
    arguments = _arguments(trial)
    return Resize.of(
        get_input(trial).shape[2:],
        arguments["size"],
        arguments["scale_factor"],
        arguments["align_corners"],
        arguments.get("recompute_scale_factor") or arguments["mode"] == "area",
    )


def _has_step_of_size(trial: Trial) -> bool:
    """Whether the step is the quotient of the lengths, as it is for a given size."""
    resize = _resize(trial)
    return resize.corners or all(
        Fraction(scale.numerator, scale.denominator) == Fraction(n, o)
        for o, n, scale in resize.dimensions
    )


@law("rows", "each plane of a large batch is that plane of a small one")
def planes(trial: Trial, generator: Generator) -> Claims:
    """17 to 65 channels, drawn from the case's."""
    x = get_input(trial)
    if x.size and x.size <= 1 << 13:
        yield among_many(trial, generator, 1)


@law("function", "the module is the function of the same backend")
def function(trial: Trial, generator: Generator) -> Claims:
    """The function for a module; Upsample for the function, in the modes that it has."""
    all_arguments = _arguments(trial)
    arguments = {k: v for k, v in all_arguments.items() if v is not None and k != "antialias"}
    if trial.spec.name != FUNCTION:
        yield equality_claim(
            trial_with(trial, get_input(trial), layer=FUNCTION, arguments=arguments), trial
        )
    elif all_arguments["mode"] in _OF_MODULE and not all_arguments["antialias"]:
        if isinstance(arguments.get("scale_factor"), list):
            arguments["scale_factor"] = tuple(arguments["scale_factor"])
        yield equality_claim(
            trial_with(trial, get_input(trial), layer="Upsample", arguments=arguments), trial
        )


@law(
    "size",
    "a factor is the size that it comes to, where their steps are the same",
    WITHIN_SUM_OF_BOUNDS,
)
def size(trial: Trial, generator: Generator) -> Claims:
    """A size instead of a factor; or a factor with recompute_scale_factor instead of a size."""
    x, arguments = get_input(trial), _written_arguments(trial)
    lengths = trial.shapes[0][2:]
    if arguments.get("size") is None:
        if not _has_step_of_size(trial):
            return
        other = trial_with(trial, x, arguments=_arguments_for_size(trial, lengths))
    else:
        if "recompute_scale_factor" not in trial.spec.signature.defaults:
            return
        arguments.pop("size")
        factors = tuple((o + 0.5) / n for o, n in zip(lengths, x.shape[2:], strict=True))
        arguments |= {"scale_factor": factors, "recompute_scale_factor": True}
        other = trial_with(trial, x, arguments=arguments)
    yield claim(
        other, outputs_with_bounds(other), Side(trial.text(), outputs_with_bounds(trial), trial)
    )


@law("itself", "resized to its own size, an input is itself", WITHIN_SUM_OF_BOUNDS)
def itself(trial: Trial, generator: Generator) -> Claims:
    """The call with the input's own size."""
    x = get_input(trial)
    if x.size:
        other = trial_with(trial, x, arguments=_arguments_for_size(trial, x.shape[2:]))
        yield claim(
            other,
            outputs_with_bounds(other),
            Side("the input", (exact_operand(x, trial.precision),)),
        )


@law("constant", "an input of one number becomes an output of that number", WITHIN_SUM_OF_BOUNDS)
def constant(trial: Trial, generator: Generator) -> Claims:
    """An input filled with a power of two, which weights scale without rounding."""
    x = get_input(trial)
    if not x.size:
        return
    number = float(np.ldexp(1.0, int(generator.integers(-3, 4))))
    other = trial_with(trial, np.full_like(x, number))
    wanted = exact_operand(np.full(trial.shapes[0], number), trial.precision)
    yield claim(other, outputs_with_bounds(other), Side(f"{number:g} everywhere", (wanted,)))


@law("mirrored", "mirroring the input mirrors the output", WITHIN_SUM_OF_BOUNDS)
def mirrored(trial: Trial, generator: Generator) -> Claims:
    """The input flipped in all dimensions; not in modes that take the first of two neighbours."""
    if _arguments(trial)["mode"] in SELECTING or not _has_step_of_size(trial):
        return
    x, resize = get_input(trial), _resize(trial)
    if resize.corners and any(o == 1 < n for o, n, _ in resize.dimensions):
        return  # an output of 1 lies on the first element
    spatial_axes = tuple(range(2, x.ndim))
    other = trial_with(trial, np.flip(x, spatial_axes).copy())
    unmirrored = tuple(
        y.map(lambda array: np.flip(array, spatial_axes)) for y in outputs_with_bounds(other)
    )
    yield claim(other, unmirrored, Side(trial.text(), outputs_with_bounds(trial), trial))


@law("scaled", "a multiple of the input is that multiple of the output")
def scaled(trial: Trial, generator: Generator) -> Claims:
    """The input times a power of two, within the dtype's range."""
    x, factor = get_input(trial), float(generator.choice([0.5, -2.0, 8.0]))
    scaled_input = round_to(x * factor, trial.case.call.dtype)
    normal = trial.precision.normal
    near_underflow = np.abs(scaled_input[scaled_input != 0]).min(initial=np.inf) * 2.0**-20 < normal
    if (
        near_underflow
        or not np.array_equal(scaled_input / factor, x)
        or not np.isfinite(scaled_input).all()
    ):
        return
    yield equality_claim(trial_with(trial, scaled_input), trial, got_moves=lambda y: y / factor)


@law(
    "apart",
    "dimensions are resized one after the other as well as all at once",
    WITHIN_SUM_OF_BOUNDS,
)
def apart(trial: Trial, generator: Generator) -> Claims:
    """One dimension in a first call, the others in a second."""
    x = get_input(trial)
    if x.ndim < 4 or not x.size or not _has_step_of_size(trial):
        return
    lengths, outputs = x.shape[2:], trial.shapes[0][2:]
    first = int(generator.integers(len(lengths)))
    intermediate = (*lengths[:first], outputs[first], *lengths[first + 1 :])
    first_call = trial_with(trial, x, arguments=_arguments_for_size(trial, intermediate))
    second_call = trial_with(
        trial, first_call.answer[0], arguments=_arguments_for_size(trial, outputs)
    )
    # The first call's error propagates through the second call.
    (propagated,) = second_call.evaluate({}, outputs_with_bounds(first_call))
    bound = Rounded(second_call.answer[0], enclose(propagated).error, trial.precision)
    side = Side(trial.text(), outputs_with_bounds(trial), trial)
    yield replace(claim(second_call, (bound,), side), got=Side(second_call.text(), (bound,)))


@law("grown", "every k-th output of an input grown k-fold is the input", WITHIN_SUM_OF_BOUNDS)
def grown(trial: Trial, generator: Generator) -> Claims:
    """For modes that select, and where the centres of corner pixels coincide."""
    x, arguments, growth = get_input(trial), _arguments(trial), int(generator.integers(2, 6))
    selects = arguments["mode"] in SELECTING
    if not x.size or x.size > 1 << 12 or arguments["antialias"]:
        return
    if not (selects or arguments["align_corners"]):
        return
    grown_size = tuple(n * growth if selects else (n - 1) * growth + 1 for n in x.shape[2:])
    other = trial_with(trial, x, arguments=_arguments_for_size(trial, grown_size))
    every_kth = (slice(None), slice(None), *(slice(None, None, growth),) * (x.ndim - 2))
    thinned = tuple(y.map(lambda array: array[every_kth]) for y in outputs_with_bounds(other))
    if min(x.shape[2:]) == 1 and not selects:
        return  # an output of 1 lies on the first element, whatever the scale
    yield claim(other, thinned, Side("the input", (exact_operand(x, trial.precision),)))


@law("thin", "a dimension of 1 more changes nothing", WITHIN_SUM_OF_BOUNDS)
def thin(trial: Trial, generator: Generator) -> Claims:
    """A first dimension of size 1, in the same mode or its variant of one dimension more."""
    x, arguments = get_input(trial), _written_arguments(trial)
    mode = _arguments(trial)["mode"]
    if x.ndim > 4 or _arguments(trial)["antialias"]:
        return
    other_mode = mode if mode in (*SELECTING, "area") else _NEXT_DIMENSION.get(mode)
    if other_mode is None:
        return
    arguments["mode"] = other_mode
    for name in ("size", "scale_factor"):
        value = arguments.get(name)
        if value is not None:
            single = 1 if name == "size" else 1.0
            per_dimension = value if isinstance(value, (tuple, list)) else (value,) * (x.ndim - 2)
            arguments[name] = (single, *per_dimension)
    other = trial_with(trial, x[:, :, np.newaxis], arguments=arguments)
    flat_output = tuple(y.map(lambda array: array[:, :, 0]) for y in outputs_with_bounds(other))
    yield claim(other, flat_output, Side(trial.text(), outputs_with_bounds(trial), trial))


_COMMON_LAWS = (planes, function, size, itself, constant)
LAWS = (*_COMMON_LAWS, mirrored, scaled, apart, grown, thin)
"""Laws of interpolate and Upsample."""
NEAREST = (*_COMMON_LAWS, scaled, apart, grown)
"""Laws of UpsamplingNearest2d."""
BILINEAR = (*_COMMON_LAWS, mirrored, scaled, apart, grown)
"""Laws of UpsamplingBilinear2d."""
