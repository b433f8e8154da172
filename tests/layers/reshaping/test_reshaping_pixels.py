"""PixelShuffle and PixelUnshuffle: what is drawn, their order, and each law seen failing."""

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

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.layers import CATALOGUE
from conformance.layers.fitting import replace_argument
from conformance.oracles.reshaping import pixel_shuffle, pixel_unshuffle

LAYERS = ("PixelShuffle", "PixelUnshuffle", "functional.pixel_shuffle")


@pytest.mark.parametrize("layer", [*LAYERS, "functional.pixel_unshuffle"])
def test_every_factor_rank_and_edge_is_drawn(layer: str) -> None:
    forms: set[Any] = set()
    for case in cases(layer):
        (x,), (factor,) = case.inputs, case.call.arguments.values()
        assert x is not None
        forms |= {f"factor {factor}", f"rank {x.ndim}"}
        forms |= {"empty"} if not x.size else set()
        forms |= {"integer"} if x.dtype.kind == "i" else set()
        forms |= {"no square"} if x.shape[-1] != x.shape[-2] else set()
        channels = x.shape[-3] // (factor**2 if "nshuffle" not in layer else 1)
        forms |= {"several channels"} if channels > 1 and factor > 2 else set()
    assert forms >= {f"factor {k}" for k in range(1, 6)} | {f"rank {k}" for k in range(3, 7)}
    assert forms >= {"empty", "integer", "no square", "several channels"}


def test_a_channel_becomes_the_pixel_that_torch_makes_of_it() -> None:
    channels = exact_operand(np.arange(18.0).reshape(18, 1, 1), Precision.of("float32"))
    pixels = pixel_shuffle({}, channels, upscale_factor=3)
    assert list(pixels.value[0].reshape(-1)) == list(range(9))
    assert pixels.value[1, 1, 2] == 9 + 3 + 2
    back = pixel_unshuffle({}, pixels, downscale_factor=3)
    assert (back.value == channels.value).all()


def test_a_factor_is_valid_where_it_divides() -> None:
    for layer, name in (("PixelShuffle", "upscale_factor"), ("PixelUnshuffle", "downscale_factor")):
        case = next(c for c in cases(layer) if c.call.arguments[name] == 3 and c.inputs[0].size)
        plain = replace_argument(CATALOGUE[layer], case, name, 1)
        assert plain is not None
        assert plain.inputs[0].shape == case.inputs[0].shape
        assert replace_argument(CATALOGUE[layer], plain, name, 3) is not None
        for wrong in (0, -3, 128):
            assert replace_argument(CATALOGUE[layer], case, name, wrong) is None


def _wrong_backend(layer: str, when: Callable[[torch.Tensor, int], bool]) -> ModuleBackend:
    """torch, a layer of which answers otherwise in some calls."""
    functions = {name: getattr(functional, name) for name in ("pixel_shuffle", "pixel_unshuffle")}
    modules = {name: getattr(nn, name) for name in ("PixelShuffle", "PixelUnshuffle")}

    def change_output(input: torch.Tensor, factor: int, function: Any) -> torch.Tensor:
        output = function(input, factor)
        ramp = torch.arange(output.numel()).reshape(output.shape).to(output.dtype)
        return output + 1 + ramp if when(input, factor) else output

    if layer.startswith("functional."):
        function_name = layer.removeprefix("functional.")

        def wrong(input: torch.Tensor, upscale_factor: int = 0, downscale_factor: int = 0) -> Any:
            return change_output(
                input, upscale_factor or downscale_factor, functions[function_name]
            )

        namespace = SimpleNamespace(**{**functions, function_name: wrong})
        return ModuleBackend("fake", nn=nn, functional=namespace)

    class Wrong(modules[layer]):  # type: ignore[misc]
        def forward(self, input: torch.Tensor) -> Any:
            factor = getattr(self, "upscale_factor", None) or self.downscale_factor
            own = super().forward
            return change_output(input, factor, lambda x, _: own(x))

    Wrong.__name__ = layer
    return ModuleBackend("fake", nn=SimpleNamespace(**{**modules, layer: Wrong}),
                         functional=functional)  # fmt: skip


FAKES: dict[str, Callable[[torch.Tensor, int], bool]] = {
    "planes": lambda x, factor: x.dim() == 4 and 16 < len(x) < 66,
    "form": lambda x, factor: True,
    "undone": lambda x, factor: factor > 1,
    "columns": lambda x, factor: x.shape[-1] > 17,
    "transposed": lambda x, factor: True,
}


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", FAKES)
def test_each_law_is_seen_failing(layer: str, name: str) -> None:
    assert set(FAKES) == {law.name for law in CATALOGUE[layer].laws}
    assert law_findings(_wrong_backend(layer, FAKES[name]), layer, name)[1]
    assert law_findings(torch_backend, layer, name)[0]
