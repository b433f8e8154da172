"""Interpolation: what is drawn, which places are in doubt, and each law seen failing."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
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
from conformance.oracles.interpolation.interpolate import interpolate

FUNCTION = "functional.interpolate"
FLOAT32 = Precision.of("float32")
MODES = {
    "nearest",
    "nearest-exact",
    "linear",
    "bilinear",
    "trilinear",
    "bicubic",
    "area",
    "lanczos",
}


def _per_axis(value: Any, dims: int) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * dims


def _corners(case: Case) -> set[str]:
    arguments, (x,) = case.call.arguments, case.inputs
    assert x is not None
    spec = CATALOGUE[case.call.layer]
    outputs, lengths = spec.output_shapes(case)[0][2:], x.shape[2:]
    pairs = list(zip(outputs, lengths, strict=True))
    factors = _per_axis(arguments.get("scale_factor"), len(lengths))
    kind = {int: "number", float: "number", tuple: "tuple"}
    conditions = {
        f"rank {x.ndim}": True,
        f"mode {arguments.get('mode', 'nearest')}": True,
        f"corners {arguments.get('align_corners', 'left out')}": True,
        f"recompute {arguments.get('recompute_scale_factor')}": True,
        f"size {kind.get(type(arguments.get('size')))}": "size" in arguments,
        f"factor {kind.get(type(arguments.get('scale_factor')))}": "scale_factor" in arguments,
        "a whole factor": isinstance(arguments.get("scale_factor"), int),
        "antialias": arguments.get("antialias", False),
        "empty": not x.size,
        "larger": any(o > n for o, n in pairs),
        "smaller": any(o < n for o, n in pairs),
        "kept": any(o == n for o, n in pairs),
        "kept by a factor": any(o == n and f not in (None, 1) for (o, n), f in zip(pairs, factors,
                                                                                   strict=True)),
        "of one": 1 in outputs,
        "from one": 1 in lengths,
        "long": max(outputs) > 40,
        "many channels": x.shape[1] > 30,
        "sides differ": len(set(pairs)) > 1,
    }  # fmt: skip
    return {name for name, holds in conditions.items() if holds} | {case.labels["regime"]}


SHARED = {
    *("rank 4", "corners left out", "recompute None", "size number", "size tuple"),
    *("factor number", "factor tuple", "a whole factor", "empty", "larger", "smaller", "kept"),
    *("kept by a factor", "of one", "from one", "long", "many channels", "sides differ"),
    *("ramp", "integers", "full", "normal", "mixed", "large", "subnormal", "outliers"),
}
CORNERS = {"corners None", "corners True", "corners False", "recompute True", "recompute False"}
EVERY = {
    FUNCTION: SHARED | CORNERS | {"rank 3", "rank 5", "antialias"} | {f"mode {m}" for m in MODES},
    "Upsample": SHARED | CORNERS | {"rank 3", "rank 5"}
    | {f"mode {m}" for m in MODES - {"nearest-exact", "area", "lanczos"}},
    "UpsamplingNearest2d": SHARED | {"mode nearest"},
    "UpsamplingBilinear2d": SHARED | {"mode nearest"},
}  # fmt: skip


@pytest.mark.parametrize("layer", EVERY)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_corner_is_drawn(layer: str, dtype: str) -> None:
    drawn = [case for seed in (0, 1) for case in cases(layer, dtype, 400, seed)]
    assert set().union(*map(_corners, drawn)) == EVERY[layer]


@pytest.mark.parametrize("layer", EVERY)
def test_only_float32_may_change_a_length(layer: str) -> None:
    """It does so in sizes drawn for it; elsewhere no factor comes near to a whole length."""
    for case in cases(layer, "float32", tiled=True):
        (x,), factor = case.inputs, case.call.arguments.get("scale_factor")
        assert x is not None
        if factor is None:
            continue
        for n, f in zip(x.shape[2:], _per_axis(factor, x.ndim - 2), strict=True):
            exact = Fraction(f) * n
            assert exact >= 1
            assert exact // 1 == int(n * f)
            single = Fraction(float(np.float32(f))) * n
            assert exact // 1 == single // 1 or case.labels["profile"] == "rounded"


def _interpolate(x: Any, **arguments: Any) -> Rounded | Choices:
    return interpolate({}, exact_operand(np.array(x), FLOAT32), **arguments)


def test_a_place_in_doubt_has_both_neighbours_and_no_other() -> None:
    """The 42nd of 82 outputs of 2 lies on the second element, in float32 just before it."""
    output = _interpolate([[[1.0, 2.0]]], size=82)
    assert isinstance(output, Choices)
    first, second = (x.value[0, 0] for x in output.alternatives)
    assert np.flatnonzero(first != second).tolist() == [41]
    assert {first[41], second[41]} == {1.0, 2.0}
    torch_output = functional.interpolate(torch.tensor([[[1.0, 2.0]]]), size=82)
    assert torch_output[0, 0, 41] == 1.0


def test_dyadic_factors_are_exact() -> None:
    x = np.arange(24.0).reshape(1, 1, 4, 6)
    for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area"):
        for arguments in ({"scale_factor": 2}, {"size": (16, 3)}, {"scale_factor": 0.5}):
            output = _interpolate(x, mode=mode, **arguments)
            assert isinstance(output, Rounded)
            assert not output.error.any(), (mode, arguments)


def test_the_gradient_of_a_place_in_doubt_goes_to_either_neighbour() -> None:
    x = leaf(np.array([[[1.0, 2.0]]]), FLOAT32)
    output = interpolate({}, x, size=82)
    assert isinstance(output, Choices)
    for way in output.alternatives:
        (gradient,) = pull_back([way], [exact_operand(np.ones((1, 1, 82)), FLOAT32)], [x])
        assert (np.abs(gradient.value - [[[41.5, 40.5]]]) == 0).all()
        assert ((gradient.error >= 0.5) & (gradient.error < 0.51)).all()


def test_a_factor_is_used_although_the_length_stays() -> None:
    output = _interpolate([[[0.0, 1.0, 2.0]]], scale_factor=1.3, mode="linear")
    assert isinstance(output, Rounded)
    assert np.allclose(output.value, [[[0.0, 0.5 * 3 / 1.3 - 0.5, 2.5 / 1.3 - 0.5]]])


Change = Callable[[torch.Tensor], torch.Tensor]


def _wrong_backend(when: Callable[..., bool], change: Change = lambda y: y * 2 + 1) -> Any:
    """torch, whose function answers otherwise in some calls."""

    def wrong(input: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        output = functional.interpolate(input, *arguments, **options)
        names = ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor")
        return (
            change(output)
            if when(input, **dict(zip(names, arguments, strict=False)), **options)
            else output
        )

    return ModuleBackend("fake", nn=nn, functional=SimpleNamespace(interpolate=wrong))


FAKES = {
    "rows": _wrong_backend(lambda x, **o: x.shape[1] > 40),
    "function": _wrong_backend(lambda x, **o: True),
    "size": _wrong_backend(lambda x, size=None, **o: size is not None),
    "itself": _wrong_backend(lambda x, size=None, **o: tuple(x.shape[2:]) == size),
    "constant": _wrong_backend(lambda x, **o: True, lambda y: y + 1),
    "mirrored": _wrong_backend(lambda x, **o: True, lambda y: y + torch.arange(y.shape[-1])),
    "scaled": _wrong_backend(lambda x, **o: True, lambda y: y + 1),
    "apart": _wrong_backend(lambda x, **o: True, lambda y: y + 1),
    "grown": _wrong_backend(lambda x, **o: True, lambda y: y + 1),
    "thin": _wrong_backend(lambda x, **o: x.dim() > 3 and x.shape[2] == 1),
}  # fmt: skip


@pytest.mark.parametrize("name", FAKES)
def test_each_law_is_seen_failing(name: str) -> None:
    assert set(FAKES) == {law.name for law in CATALOGUE[FUNCTION].laws}
    assert law_findings(FAKES[name], FUNCTION, name)[1]
    compared, findings = law_findings(torch_backend, FUNCTION, name)
    assert compared
    known = ("antialias=True", "scale_factor=", "mode='area'")
    assert not [text for text in findings if not any(word in text for word in known)]


def test_a_nearest_neighbour_may_be_read_without_subnormal_numbers_where_that_is_declared() -> None:
    x = np.array([[[2.0**-130, 2.0**-120]]])
    for flush in (False, True):
        precision = Precision.of("float32", Numerics(flush_to_zero=flush))
        output = interpolate({}, exact_operand(x, precision), scale_factor=2.0)
        assert isinstance(output, Rounded)
        assert output.error.ravel().tolist() == [2.0**-130 * flush] * 2 + [0.0] * 2
