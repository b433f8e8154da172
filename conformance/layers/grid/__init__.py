"""affine_grid and grid_sample."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from conformance.laws import grid as laws
from conformance.layers.grid.propagation import affine_propagation, sample_propagation
from conformance.model.case import Case
from conformance.oracles.grid import grid as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Generation, Oracle, Traits
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Form, Input, Output, Signature
from conformance.spec.state import Shape
from conformance.spec.workload import Filling, Workload
from conformance.strategies import grid as cases
from conformance.strategies.invalid import grid as invalid
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.shapes import shape_breaks

_CORNERS = Argument("align_corners", None, alternative=True)


_SAMPLE = Shapes(
    {
        "input": "batch channels *lengths",
        "grid": "batch *places dims",
        "output": "batch channels *places",
    },
    fixed=("dims",),
)


def _resize_affine(spec: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with another size, whose batch is set to that of the matrices."""
    theta = case.inputs[0]
    size = arguments["size"]
    if theta is None or len(size) != theta.shape[1] + 2 or min(size) < 1 or not len(theta):
        return None
    new_size = type(size)((len(theta), *size[1:]))
    return replace(case, call=replace(case.call, arguments={**arguments, "size": new_size}))


def _allows_sampling(spec: LayerSpec, case: Case) -> bool:
    """Whether the input has spatial elements, and bicubic mode has an image, not a volume."""
    x = case.inputs[0]
    assert x is not None
    cubic_volume = case.call.arguments.get("mode") == "bicubic" and x.ndim == 5
    return bool(math.prod(x.shape[2:])) and not cubic_volume


def _affine_flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    dims = outputs[0][-1]
    return 2 * (dims + 1) * math.prod(outputs[0])


def _sample_flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    taps = {"nearest": 1, "bicubic": 16}.get(workload.arguments.get("mode", "bilinear"), 4)
    return 2 * taps * math.prod(outputs[0])


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    name = "functional.affine_grid"
    valid = partial(cases.affine_grids, name)
    filling = Filling(contraction=False, scale=lambda name, arguments: 1.0)
    yield LayerSpec(
        name,
        "grid",
        signature=Signature(
            (
                Argument("size", simplest=(1, 1, 1, 1), size=True, form=Form(sequence=True)),
                _CORNERS,
            ),
            (Input("theta"),),
            (Output("output"),),
            supports_complex=False,
            takes_device_and_dtype=False,
        ),
        oracle=Oracle(
            values=oracle.affine_grid,
            shapes=oracle.affine_grid_shape,
            formula=(
                "output[n, h, w] = theta[n] (x_w, y_h, 1)",
                "x_w = (2w + 1 - W) / W; align_corners: (2w + 1 - W) / (W - 1), 0 of W = 1",
            ),
            propagation=affine_propagation,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.affine_breaks()),
            examples_fraction=0.4,
        ),
        variation=Variation(resize=_resize_affine),
        traits=Traits(always_batched=True, wide_sums=True),
        laws=laws.AFFINE,
        benchmark=Benchmark(
            workloads=(
                Workload(name, "32 by 32", {"size": (8, 1, 32, 32)}, ((8, 2, 3),), small=True),
                Workload(name, "224 by 224", {"size": (8, 1, 224, 224)}, ((8, 2, 3),)),
            ),
            filling=filling,
            flops=_affine_flops,
        ),
    )
    name = "functional.grid_sample"
    valid = partial(cases.grid_samples, name)
    signature = Signature(
        (
            Argument("mode", "bilinear", alternative="nearest"),
            Argument("padding_mode", "zeros", alternative="border"),
            _CORNERS,
        ),
        (Input("input"), Input("grid")),
        (Output("output"),),
        supports_complex=False,
        takes_device_and_dtype=False,
    )
    # Of input and grid each decides the rank of the other: `sample_breaks` has these breaks.
    breaks = shape_breaks(
        signature, _SAMPLE, excluded=("input of another rank", "grid of another rank")
    )
    yield LayerSpec(
        name,
        "grid",
        signature=signature,
        shapes=_SAMPLE,
        oracle=Oracle(
            values=oracle.grid_sample,
            formula=(
                "output[n, :, h, w] = Σ_ij w(i − y) w(j − x) input[n, :, i, j]",
                "x = ((grid[n, h, w, 0] + 1) W − 1) / 2, y = ((grid[n, h, w, 1] + 1) H − 1) / 2",
                "align_corners: x = (grid[n, h, w, 0] + 1) (W − 1) / 2, likewise y",
            ),
            propagation=sample_propagation,
        ),
        generation=Generation(
            cases=valid, invalid=invalid_cases(valid, (*breaks, *invalid.sample_breaks()))
        ),
        variation=Variation(allows=_allows_sampling),
        traits=Traits(always_batched=True, wide_sums=True),
        laws=laws.SAMPLE,
        benchmark=Benchmark(
            workloads=(
                Workload(name, "32 by 32", {}, ((8, 16, 32, 32), (8, 32, 32, 2)), small=True),
                Workload(name, "112 by 112", {}, ((8, 32, 112, 112), (8, 112, 112, 2))),
            ),
            filling=filling,
            flops=_sample_flops,
        ),
    )
