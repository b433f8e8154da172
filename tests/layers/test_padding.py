"""Padding: what is drawn, the order of padding and cropping, and each law seen failing."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conformance.strategies.padding import MODES, can_pad
from support import cases, law_findings
from torch import nn
from torch.nn import functional

from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.layers import CATALOGUE
from conformance.layers.fitting import replace_argument
from conformance.model.case import Case
from conformance.oracles.padding import each_side, module_pad, pad, side_pairs

PAD = "functional.pad"
FLOAT32 = Precision.of("float32")


def _corners(case: Case) -> set[str]:
    (x,), arguments = case.inputs, case.call.arguments
    assert x is not None
    spec = CATALOGUE[case.call.layer]
    numbers = (
        tuple(arguments["pad"])
        if spec.is_function
        else each_side(arguments["padding"], spec.signature.dims)
    )
    dims, lengths = len(numbers) // 2, x.shape[x.ndim - len(numbers) // 2 :]
    rows = list(zip(lengths, side_pairs(numbers), strict=True))
    conditions = {
        "none": not any(numbers),
        "all sides differ": dims > 1 and len(set(numbers)) == 2 * dims,
        "cropped": any(n < 0 for n in numbers),
        "padded and cropped": any(b * a < 0 for _, (b, a) in rows),
        "as long as the input": any(max(side) >= n for n, side in rows),
        "one less": any(max(side) == n - 1 > 0 for n, side in rows),
        "one number": isinstance(arguments.get("padding", ()), int),
        "long": any(n > 32 for n in lengths),
        "single element": 1 in lengths,
        "empty": x.size == 0,
        "whole numbers": x.dtype.kind == "i",
        "unbatched": x.ndim == dims + 1,
        "batched": x.ndim == dims + 2,
    }
    return {name for name, holds in conditions.items() if holds}


EVERY = {
    *("none", "cropped", "padded and cropped", "one less", "long", "single element", "empty"),
    *("whole numbers", "unbatched", "batched"),
}


@pytest.mark.parametrize("layer", [name for name in CATALOGUE if "Pad" in name])
def test_every_corner_is_drawn(layer: str) -> None:
    spec = CATALOGUE[layer]
    beyond = set() if "Reflection" in layer else {"as long as the input"}
    differ = {"all sides differ"} if spec.signature.dims == 2 else set()
    drawn = [_corners(case) for case in cases(layer)]
    assert set().union(*drawn) >= EVERY | beyond | differ | {"one number"}


def test_every_mode_rank_and_value_of_pad_is_drawn() -> None:
    forms: set[Any] = set()
    for case in (case for seed in range(3) for case in cases(PAD, seed=seed)):
        (x,), arguments = case.inputs, case.call.arguments
        assert x is not None
        mode, dims = arguments.get("mode", "constant"), len(arguments["pad"]) // 2
        forms |= {(mode, fact) for fact in _corners(case)}
        forms |= {(mode, dims), type(arguments["pad"]).__name__}
        if mode == "constant":
            value = arguments.get("value", "left out")
            forms |= {("rank", x.ndim), repr(value), type(value).__name__}
    assert forms >= {(mode, fact) for mode in MODES for fact in EVERY - {"empty"}}
    assert forms >= {(mode, dims) for mode in MODES for dims in (1, 2, 3)} | {("constant", 0)}
    assert forms >= {("rank", k) for k in range(1, 6)} | {"tuple", "list", "int", "float"}
    assert forms >= {"nan", "inf", "-inf", "-0.0", "0.1", "'left out'"}


def _pad(x: Any, numbers: tuple[int, ...], mode: str) -> list[float]:
    output = pad({}, exact_operand(np.array(x, float), FLOAT32), pad=numbers, mode=mode)
    return list(output.value)


def test_examples_of_the_documentation() -> None:
    ramp = [0, 1, 2, 3]
    assert _pad(ramp, (3, 1), "reflect") == [3, 2, 1, 0, 1, 2, 3, 2]
    assert _pad(ramp, (3, 1), "replicate") == [0, 0, 0, 0, 1, 2, 3, 3]
    assert _pad(ramp, (3, 1), "circular") == [1, 2, 3, 0, 1, 2, 3, 0]
    image = exact_operand(np.arange(9.0).reshape(1, 3, 3), FLOAT32)
    output = module_pad("reflect", 2, {}, image, padding=(1, 1, 2, 0))
    assert list(output.value[0, :, 0]) == [7, 4, 1, 4, 7]


def test_reflection_is_of_the_whole_input_and_what_wraps_round_of_what_is_left() -> None:
    ramp = [1, 2, 3, 4, 5]
    assert _pad(ramp, (-3, 4), "reflect") == [4, 5, 4, 3, 2, 1]
    assert _pad(ramp, (-1, 2), "circular") == [2, 3, 4, 5, 2, 3]
    for mode in MODES:
        assert _pad(ramp, (-1, -2), mode) == [2, 3]


def test_a_constant_is_rounded_to_the_dtype_and_keeps_its_sign() -> None:
    half = exact_operand(np.ones(1), Precision.of("bfloat16"))
    assert pad({}, half, pad=(1, 0), value=0.1).value[0] == 0.10009765625
    assert math.copysign(1, pad({}, half, pad=(1, 0), value=-0.0).value[0]) == -1
    integer = exact_operand(np.array([2**62 + 1]), FLOAT32)
    assert list(pad({}, integer, pad=(0, 1), value=7).value) == [2**62 + 1, 7]


def test_a_gradient_is_the_sum_of_all_copies_and_its_bound_that_of_so_many_terms() -> None:
    x = leaf(np.array([[1.0, 2.0], [3.0, 4.0]]), FLOAT32)
    y = module_pad("replicate", 2, {}, x, padding=2)
    cotangent = np.random.default_rng(0).standard_normal(y.shape).astype(np.float32).astype(float)
    (gradient,) = pull_back([y], [exact_operand(cotangent, FLOAT32)], [x])
    quarter = cotangent[:3, :3]
    assert np.isclose(gradient.value[0, 0], quarter.sum())
    # Nine terms take eight additions.
    wanted = 8 * 2.0**-24 * np.abs(quarter).sum()
    assert gradient.error[0, 0] == pytest.approx(wanted, rel=1e-6)


def test_a_case_is_given_only_padding_that_its_input_has_room_for() -> None:
    spec = CATALOGUE["ReflectionPad1d"]
    case = next(c for c in cases("ReflectionPad1d") if c.inputs[0].shape[-1] == 3)
    assert replace_argument(spec, case, "padding", 2) is not None
    assert replace_argument(spec, case, "padding", 3) is None
    assert replace_argument(spec, case, "padding", (-3, 0)) is None
    assert not can_pad("circular", (3,), ((-2, 2),))


def _wrong_backend(name: str, when: Callable[..., bool]) -> ModuleBackend:
    """torch, a module or `pad` of which answers otherwise in some calls."""

    def change_output(output: torch.Tensor) -> torch.Tensor:
        ramp = torch.arange(output.numel()).reshape(output.shape)
        return output + 1 + ramp.to(output.dtype)

    def wrong_pad(input: torch.Tensor, pad: Any, mode: str = "constant", value: Any = None) -> Any:
        output = functional.pad(input, pad, mode, value)
        return change_output(output) if when(input, tuple(pad)) else output

    class Wrong(nn.ReflectionPad2d):
        def forward(self, input: torch.Tensor) -> Any:
            output = super().forward(input)
            return change_output(output) if when(input, self.padding) else output

    if name == PAD:
        return ModuleBackend("fake", nn=nn, functional=SimpleNamespace(pad=wrong_pad))
    Wrong.__name__ = name
    return ModuleBackend("fake", nn=SimpleNamespace(**{name: Wrong}), functional=functional)


def _always(x: torch.Tensor, numbers: tuple[int, ...]) -> bool:
    return True


def _leaves_last_axis(x: torch.Tensor, numbers: tuple[int, ...]) -> bool:
    return not any(numbers[:2])


FAKES: dict[str, Callable[..., bool]] = {
    "rows": lambda x, numbers: 17 < x.shape[x.dim() - len(numbers) // 2 - 1] < 66,
    "singles": lambda x, numbers: x.dim() == len(numbers) // 2 + 1,
    "apart": _leaves_last_axis,
    "cropped": lambda x, numbers: bool(numbers) and max(numbers) <= 0 and any(numbers),
    "slices": lambda x, numbers: bool(numbers) and max(numbers) <= 0 and any(numbers),
    "mirrored": _always,
    "negated": _always,
    "function": _always,
    "modules": _always,
}


@pytest.mark.parametrize("layer", ["ReflectionPad2d", PAD])
@pytest.mark.parametrize("name", FAKES)
def test_each_law_is_seen_failing(layer: str, name: str) -> None:
    laws = {law.name for law in CATALOGUE[layer].laws}
    assert laws == set(FAKES) - {"function" if layer == PAD else "modules"}
    if name not in laws:
        return
    assert law_findings(_wrong_backend(layer, FAKES[name]), layer, name)[1]
    compared, findings = law_findings(torch_backend, layer, name)
    assert compared
    assert not findings
