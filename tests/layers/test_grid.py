"""affine_grid and grid_sample: what is drawn, which places are in doubt, laws seen failing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import cases, law_findings
from torch import nn
from torch.nn import functional

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.layers import CATALOGUE
from conformance.model.case import Case, Numerics
from conformance.model.formats import round_to
from conformance.oracles.grid.grid import affine_grid, grid_sample

AFFINE, SAMPLE = "functional.affine_grid", "functional.grid_sample"
FLOAT32 = Precision.of("float32")


def _corners(case: Case) -> set[str]:
    arguments, (x, grid) = case.call.arguments, case.inputs
    assert x is not None
    assert grid is not None
    corners = {
        f"rank {x.ndim}",
        f"{arguments.get('mode', 'bilinear')} of {x.ndim}",
        arguments.get("padding_mode", "zeros"),
        f"corners {arguments.get('align_corners', 'left out')}",
        case.labels["profile"],
        case.labels["regime"],
    }
    corners |= {"empty"} if not x.size else set()
    corners |= {"one element"} if 1 in x.shape[2:] else set()
    corners |= {"many channels"} if x.shape[1] > 16 else set()
    corners |= {"beyond"} if (np.abs(grid) > 1).any() else set()
    return corners


def test_every_corner_is_drawn() -> None:
    corners = set().union(*map(_corners, (c for seed in (0, 1) for c in cases(SAMPLE, seed=seed))))
    modes = {f"{mode} of 4" for mode in ("bilinear", "nearest", "bicubic")}
    assert corners == modes | {
        *("rank 4", "rank 5", "bilinear of 5", "nearest of 5", "zeros", "border", "reflection"),
        *("corners None", "corners True", "corners False", "corners left out", "empty"),
        *("dyadic", "anywhere", "pixels", "edges", "far", "turns", "one element", "many channels"),
        *("beyond", "ramp", "integers", "full", "normal", "mixed", "large", "subnormal"),
        "outliers",
    }


def test_every_form_of_a_matrix_is_drawn() -> None:
    forms: set[Any] = set()
    for case in cases(AFFINE):
        arguments, (theta,) = case.call.arguments, case.inputs
        assert theta is not None
        forms |= {f"{theta.shape[1]} dimensions", type(arguments["size"]).__name__}
        forms |= {f"corners {arguments.get('align_corners', 'left out')}", case.labels["profile"]}
        forms |= {"one"} if 1 in arguments["size"][2:] else set()
    assert forms == {
        *("2 dimensions", "3 dimensions", "tuple", "list", "one", "identity", "integers"),
        *("normal", "corners None", "corners True", "corners False", "corners left out"),
    }


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_grids_are_in_the_format(dtype: str) -> None:
    for case in cases(SAMPLE, dtype):
        (_, grid) = case.inputs
        assert grid is not None
        assert (round_to(grid, dtype) == grid).all()


def _sample_grid(x: Any, grid: Any, **arguments: Any) -> Rounded | Choices:
    operands = [exact_operand(np.array(y, float), FLOAT32) for y in (x, grid)]
    return grid_sample({}, *operands, **arguments)


ROW = [[[[1.0, 3.0, 7.0, 5.0]]]]


def test_of_two_elements_as_near_either_is_right() -> None:
    """0 is the middle of four elements."""
    output = _sample_grid(ROW, [[[[0.0, 0.0]]]], mode="nearest")
    assert isinstance(output, Choices)
    assert {float(x.value[0, 0, 0, 0]) for x in output.alternatives} == {3.0, 7.0}


def test_an_element_is_itself_and_dyadic_places_are_exact() -> None:
    output = _sample_grid(ROW, [[[[-0.25, 0.0], [-0.5, 0.0]]]])
    value = output.alternatives[0] if isinstance(output, Choices) else output
    assert (value.value == [[[[3.0, 2.0]]]]).all()
    assert not value.error.any()


def test_at_an_element_the_grid_has_either_slope_and_no_other() -> None:
    x = exact_operand(np.array(ROW), FLOAT32)
    grid = leaf(np.array([[[[-0.25, 0.0]]]]), FLOAT32)
    output = grid_sample({}, x, grid, padding_mode="border")
    assert isinstance(output, Choices)
    cotangent = exact_operand(np.ones((1, 1, 1, 1)), FLOAT32)
    slopes = {float(pull_back([way], [cotangent], [grid])[0].value[0, 0, 0, 0])
              for way in output.alternatives}  # fmt: skip
    assert slopes == {2.0 * 2, 4.0 * 2}


def test_nan_in_the_grid_stands_for_minus_one() -> None:
    """The documentation says so; torch does not."""
    output = _sample_grid(ROW, [[[[np.nan, 0.0]]]], align_corners=True)
    value = output.alternatives[0] if isinstance(output, Choices) else output
    assert value.value == 1.0


def test_a_place_far_beyond_the_input_is_reflected_until_it_is_in() -> None:
    output = _sample_grid(ROW, [[[[-3.5, 0.0]]]], padding_mode="reflection", align_corners=True)
    value = output.alternatives[0] if isinstance(output, Choices) else output
    # -3.5 becomes 1.5, and then 0.5: the place 2.25.
    assert value.value == 7.0 + 0.25 * (5.0 - 7.0)


def test_the_pixels_of_an_affine_grid() -> None:
    theta = exact_operand(np.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]), FLOAT32)
    output = affine_grid({}, theta, size=(1, 1, 1, 4))
    assert (output.value == [[[[-0.75, 0], [-0.25, 0], [0.25, 0], [0.75, 0]]]]).all()
    corners = affine_grid({}, theta, size=(1, 1, 1, 3), align_corners=True)
    assert (corners.value == [[[[-1, 0], [0, 0], [1, 0]]]]).all()
    assert not corners.error.any()


Change = Callable[[torch.Tensor], torch.Tensor]


def _change_numbers(y: torch.Tensor) -> torch.Tensor:
    return y * 2 + 1


def _wrong_backend(name: str, when: Callable[..., bool], change: Change = _change_numbers) -> Any:
    """torch, a function of which answers otherwise in some calls."""

    def wrong(input: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        output = getattr(functional, name)(input, *arguments, **options)
        return change(output) if when(input, *arguments, **options) else output

    names = ("affine_grid", "grid_sample", "interpolate")
    namespace = {each: getattr(functional, each) for each in names} | {name: wrong}
    return ModuleBackend("fake", nn=nn, functional=SimpleNamespace(**namespace))


def _add_ramp(y: torch.Tensor) -> torch.Tensor:
    return y + torch.arange(y.shape[2]).reshape(-1, *(1,) * (y.dim() - 3))


FAKES = {
    (AFFINE, "rows"): _wrong_backend("affine_grid", lambda t, *r, **o: len(t) > 16),
    (AFFINE, "identity"): _wrong_backend("affine_grid", lambda t, *r, **o: True),
    (AFFINE, "moved"): _wrong_backend("affine_grid", lambda t, *r, **o: True),
    (AFFINE, "mirrored"): _wrong_backend("affine_grid", lambda t, *r, **o: True, _add_ramp),
    (AFFINE, "scaled"): _wrong_backend("affine_grid", lambda t, *r, **o: True, lambda y: y + 1),
    (AFFINE, "thin"): _wrong_backend("affine_grid", lambda t, *r, **o: t.shape[1] == 3),
    (SAMPLE, "rows"): _wrong_backend("grid_sample", lambda x, *r, **o: len(x) > 16),
    (SAMPLE, "planes"): _wrong_backend("grid_sample", lambda x, *r, **o: x.shape[1] > 17),
    (SAMPLE, "places"): _wrong_backend("grid_sample", lambda x, g, **o: g.shape[-2] > 16),
    (SAMPLE, "centres"): _wrong_backend("grid_sample", lambda x, *r, **o: True),
    (SAMPLE, "mirrored"): _wrong_backend(
        "grid_sample", lambda x, g, **o: bool((g[..., 0] > 0.3).any())
    ),
    (SAMPLE, "exchanged"): _wrong_backend(
        "grid_sample", lambda x, g, **o: x.shape[-1] > x.shape[-2]
    ),
    (SAMPLE, "thin"): _wrong_backend("grid_sample", lambda x, *r, **o: x.dim() == 5),
    (SAMPLE, "scaled"): _wrong_backend("grid_sample", lambda x, *r, **o: True, lambda y: y + 1),
    (SAMPLE, "interpolated"): _wrong_backend("interpolate", lambda x, *r, **o: True),
}


@pytest.mark.parametrize(("layer", "name"), FAKES)
def test_each_law_is_seen_failing(layer: str, name: str) -> None:
    laws = {law.name for law in CATALOGUE[layer].laws}
    assert {law for other, law in FAKES if other == layer} == laws
    assert law_findings(FAKES[layer, name], layer, name)[1]
    compared, findings = law_findings(torch_backend, layer, name)
    assert compared
    assert not findings


def test_a_nearest_neighbour_may_be_read_without_subnormal_numbers_where_that_is_declared() -> None:
    x, grid = np.array([[[[2.0**-130, 2.0**-120]]]]), np.array([[[[-0.5, 0.0], [0.5, 0.0]]]])
    for flush in (False, True):
        precision = Precision.of("float32", Numerics(flush_to_zero=flush))
        operands = (exact_operand(a, precision) for a in (x, grid))
        output = grid_sample({}, *operands, mode="nearest", align_corners=False)
        assert isinstance(output, Rounded)
        assert output.error.ravel().tolist() == [2.0**-130 * flush, 0.0]
