"""interpolate, Upsample, UpsamplingNearest2d and UpsamplingBilinear2d."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from conformance.laws import interpolation as laws
from conformance.layers.interpolation.propagation import interpolation_propagation
from conformance.model.case import Case
from conformance.oracles.interpolation import interpolate as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Conditions, Generation, Oracle, Traits
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Input, Output, Signature
from conformance.spec.state import Shape
from conformance.spec.trial_protocol import FactsLike as Facts
from conformance.spec.workload import Filling, Workload
from conformance.strategies import interpolation as cases
from conformance.strategies.invalid import interpolation as invalid
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.shapes import shape_breaks

_SIZE = Argument("size", None, size=True)
_FACTOR = Argument("scale_factor", None)
_MODE = Argument("mode", "nearest", alternative="area")
_CORNERS = Argument("align_corners", None, alternative=True)
_RECOMPUTE = Argument("recompute_scale_factor", None, alternative=True)
_ANTIALIAS = Argument("antialias", False, alternative=True)

_SHAPES = Shapes({"input": "batch channels *lengths", "output": "batch channels *out"})
_IMAGES = Shapes({"input": "batch channels height width", "output": "batch channels *out"})
_RANKS = {"linear": 3, "bilinear": 4, "bicubic": 4, "lanczos": 4, "trilinear": 5}


def _numbers_by_dimension(value: Any, dims: int) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims


def _allows(spec: LayerSpec, case: Case) -> bool:
    """Whether the call is valid, and no rounding makes the length of its output ambiguous."""
    x, arguments = case.inputs[0], {**spec.signature.defaults, **case.call.arguments}
    assert x is not None
    shape, dims, mode = x.shape, x.ndim - 2, arguments.get("mode", "nearest")
    size, factor = arguments["size"], arguments["scale_factor"]
    corners, recompute = arguments.get("align_corners"), arguments.get("recompute_scale_factor")
    if (size is None) is (factor is None) or not min(shape[1:]):
        return False
    numbers = _numbers_by_dimension(factor if size is None else size, dims)
    if len(numbers) != dims or (recompute and factor is None):
        return False
    if size is None and not all(map(cases.has_certain_length, shape[2:], numbers)):
        return False
    if size is not None and min(numbers) < 1:
        return False
    antialias = arguments.get("antialias", False)
    if mode in cases.SELECTING and (corners is not None or antialias):
        return False
    if antialias and mode not in cases.ANTIALIASED:
        return False
    if mode == "lanczos" and (corners or not antialias):
        return False
    return _RANKS.get(mode, len(shape)) == len(shape)


def _output_length(facts: Facts) -> tuple[int, ...] | None:
    """Length of the output in each spatial dimension."""
    try:
        return tuple(facts.spec.output_shapes(facts.case)[0][2:])
    except (ValueError, TypeError, IndexError, KeyError, OverflowError):
        return None


def _has_length_ratio(ratio: int) -> Callable[[Facts], bool | None]:
    """Whether an output is `ratio` times as long as the input, though its factor is another number.

    A factor that is recomputed, or replaced by align_corners, is not used.
    """

    def has_ratio(facts: Facts) -> bool | None:
        first, outputs, factor = facts.case.inputs[0], _output_length(facts), None
        factor = facts.get("scale_factor")
        if first is None or outputs is None:
            return None
        unused = facts.get("recompute_scale_factor") or facts.get("align_corners")
        if factor is None or unused or facts.get("mode") == "area":
            return False
        dimensions = zip(
            outputs, first.shape[2:], _numbers_by_dimension(factor, first.ndim - 2), strict=True
        )
        return any(o == ratio * n and f != ratio for o, n, f in dimensions)

    return has_ratio


def _output_width(facts: Facts) -> int | None:
    """Length of the output's last dimension."""
    outputs = _output_length(facts)
    return None if not outputs else outputs[-1]


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Operations: a multiplication and an addition per tap, dimension by dimension."""
    taps = {"nearest": 0, "bicubic": 4}.get(workload.arguments.get("mode", "nearest"), 2)
    return 2 * taps * (len(outputs[0]) - 2) * math.prod(outputs[0])


def _workloads(layer: str, modes: Sequence[str]) -> tuple[Workload, ...]:
    """Timed calls by factor 2, as in feature pyramids (T.-Y. Lin et al., 2017).

    Segmentation does the same (J. Long et al., 2015). Bilinear mode also gets the outputs of
    DeepLab (L.-C. Chen et al., 2017) by factor 8.
    """
    workloads = []
    for mode in modes:
        arguments: dict[str, Any] = {"scale_factor": 2.0} | ({"mode": mode} if mode else {})
        name = mode or "doubled"
        workloads.append(
            Workload(layer, f"{name}, 16 channels", arguments, ((1, 16, 28, 28),), small=True)
        )
        workloads.append(Workload(layer, f"{name}, 256 channels", arguments, ((1, 256, 56, 56),)))
        if mode == "bilinear":
            classes: dict[str, Any] = {"scale_factor": 8.0, "mode": mode}
            workloads.append(
                Workload(layer, "bilinear, 21 classes by 8", classes, ((1, 21, 65, 65),))
            )
    return tuple(workloads)


_FORMULA = (
    "output[i] = Σ_j w(j − s(i)) × input[j] in each dimension; s = scale × (i + ½) − ½",
    "align_corners: s = i × (n − 1) / (o − 1)",
    "nearest: ⌊scale × i⌋; nearest-exact: ⌊scale × (i + ½)⌋",
    "scale = n / o of the lengths, or 1 / scale_factor",
)


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, the function first."""
    name = "functional.interpolate"
    valid = partial(cases.interpolations, name)
    interpolate = LayerSpec(
        name,
        "interpolation",
        signature=Signature(
            (_SIZE, _FACTOR, _MODE, _CORNERS, _RECOMPUTE, _ANTIALIAS),
            (Input("input"),),
            (Output("output"),),
            supports_complex=False,
            takes_device_and_dtype=False,
        ),
        shapes=_SHAPES,
        oracle=Oracle(
            values=oracle.interpolate,
            shapes=oracle.interpolate_shape,
            formula=_FORMULA,
            propagation=interpolation_propagation(),
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.interpolate_breaks(function=True)),
            max_planned_size=1_025,  # the oracle multiplies matrices of input × output
        ),
        variation=Variation(allows=_allows),
        traits=Traits(always_batched=True),
        conditions=Conditions(
            derived_facts={
                "output_length": _output_length,
                "output_width": _output_width,
                "length_kept": _has_length_ratio(1),
                "length_doubled": _has_length_ratio(2),
            }
        ),
        laws=laws.LAWS,
        benchmark=Benchmark(
            workloads=_workloads(name, ("nearest", "bilinear", "bicubic", "area")),
            filling=Filling(contraction=False),
            flops=_flops,
        ),
    )
    yield interpolate
    name = "Upsample"
    valid = partial(cases.interpolations, name)
    yield replace(
        interpolate,
        name=name,
        signature=replace(
            interpolate.signature,
            arguments=(
                _SIZE,
                _FACTOR,
                replace(_MODE, alternative="bilinear"),
                _CORNERS,
                _RECOMPUTE,
            ),
        ),
        generation=replace(
            interpolate.generation,
            cases=valid,
            invalid=invalid_cases(valid, invalid.interpolate_breaks(function=False)),
            examples_fraction=0.4,
        ),
        benchmark=replace(
            interpolate.benchmark, workloads=_workloads(name, ("nearest", "bilinear"))
        ),
    )
    corners = interpolation_propagation(mode="bilinear", align_corners=True)
    for name, values, form_laws, propagation in (
        (
            "UpsamplingNearest2d",
            oracle.upsampling_nearest2d,
            laws.NEAREST,
            interpolation_propagation(),
        ),
        ("UpsamplingBilinear2d", oracle.upsampling_bilinear2d, laws.BILINEAR, corners),
    ):
        valid = partial(cases.upsamplings, name)
        signature = replace(interpolate.signature, arguments=(_SIZE, _FACTOR))
        breaks = shape_breaks(signature, _IMAGES, excluded=("input of another dtype",))
        yield replace(
            interpolate,
            name=name,
            signature=signature,
            shapes=_IMAGES,
            oracle=replace(interpolate.oracle, values=values, propagation=propagation),
            generation=replace(
                interpolate.generation,
                cases=valid,
                invalid=invalid_cases(valid, (*breaks, *invalid.shared_breaks())),
                examples_fraction=0.25,
            ),
            laws=form_laws,
            benchmark=replace(interpolate.benchmark, workloads=_workloads(name, ("",))),
        )
