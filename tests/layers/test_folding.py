"""Unfold and Fold: what is drawn, sums and their bounds, and each law seen failing."""

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

from conformance.arithmetic.derivatives import leaf, pull_back
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.layers import CATALOGUE
from conformance.layers.fitting import replace_argument, select_places
from conformance.model.case import Case
from conformance.oracles.folding import Blocks, fold, unfold
from conformance.spec.sizes import per_dimension

LAYERS = ("Unfold", "Fold", "functional.unfold", "functional.fold")
FLOAT32 = Precision.of("float32")


def _corners(case: Case) -> set[str]:
    (x,), spec = case.inputs, CATALOGUE[case.call.layer]
    assert x is not None
    arguments = {**spec.signature.defaults, **case.call.arguments}
    folds = "output_size" in arguments
    lengths = per_dimension(arguments["output_size"], 2) if folds else x.shape[-2:]
    names = ("kernel_size", "dilation", "padding", "stride")
    blocks = Blocks.of(lengths, *(arguments[name] for name in names))
    rows = list(zip(lengths, blocks.kernel, blocks.dilation, blocks.padding, blocks.stride,
                    blocks.counts, strict=True))  # fmt: skip
    spans = [d * (k - 1) + 1 for _, k, d, _, _, _ in rows]
    conditions = {
        "unbatched": x.ndim == (2 if folds else 3),
        "empty": x.shape[0] == 0,
        "padded": max(blocks.padding) > 0,
        "padded beyond the block": any(
            p >= r for p, r in zip(blocks.padding, spans, strict=True)
        ),
        "dilated": max(blocks.dilation) > 1,
        "overlapping": any(s < r for s, r in zip(blocks.stride, spans, strict=True)),
        "gaps": any(s > r for s, r in zip(blocks.stride, spans, strict=True)),
        "a rest": any((n + 2 * p - r) % s for (n, _, _, p, s, _), r in zip(rows, spans,
                                                                          strict=True)),
        "shorter than a block": any(n < r for n, r in zip(lengths, spans, strict=True)),
        "single pixel": 1 in lengths,
        "single block": blocks.block_count == 1,
        "asymmetric": any(isinstance(v, tuple) and v[0] != v[-1] for v in arguments.values()),
        "tuple of one": any(isinstance(v, tuple) and len(v) == 1 for v in arguments.values()),
        "long": max(blocks.counts) > 28,
        "many channels": x.shape[-2 if folds else -3] // (blocks.tap_count if folds else 1) > 16,
    }  # fmt: skip
    return {name for name, holds in conditions.items() if holds} | {case.labels["regime"]}


EVERY = {
    *("unbatched", "empty", "padded", "padded beyond the block", "dilated", "overlapping", "gaps"),
    *("a rest", "shorter than a block", "single pixel", "single block", "asymmetric", "long"),
    *("tuple of one", "many channels"),
    *("ramp", "integers", "full", "normal", "mixed", "large", "subnormal", "outliers"),
}


@pytest.mark.parametrize("layer", LAYERS)
def test_every_corner_is_drawn(layer: str) -> None:
    drawn = [_corners(case) for seed in range(2) for case in cases(layer, seed=seed)]
    assert set().union(*drawn) == EVERY


def test_blocks_are_columns_and_channels_run_slowest() -> None:
    image = exact_operand(np.arange(12.0).reshape(2, 2, 3), FLOAT32)
    columns = unfold({}, image, kernel_size=2)
    assert columns.value.tolist() == [
        [0, 1], [1, 2], [3, 4], [4, 5], [6, 7], [7, 8], [9, 10], [10, 11],
    ]  # fmt: skip


def test_a_pixel_in_one_block_is_copied_and_the_bound_of_others_is_that_of_their_terms() -> None:
    numbers = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32).astype(float)
    folded = fold({}, exact_operand(numbers, FLOAT32), output_size=3, kernel_size=2)
    assert folded.error[0, 0, 0] == folded.error[0, 2, 2] == 0
    # The middle one is in all four blocks: three additions.
    size = np.abs([numbers[3, 0], numbers[2, 1], numbers[1, 2], numbers[0, 3]]).sum()
    assert folded.error[0, 1, 1] == pytest.approx(3 * 2.0**-24 * size, rel=1e-6)


def test_a_pixel_in_no_block_is_zero_and_gradients_of_fold_are_copies() -> None:
    x = leaf(np.ones((1, 4)), FLOAT32)
    y = fold({}, x, output_size=3, kernel_size=1, stride=2)
    assert y.value[0].tolist() == [[1, 0, 1], [0, 0, 0], [1, 0, 1]]
    cotangent = exact_operand(np.arange(9.0).reshape(1, 3, 3) / 7, FLOAT32)
    (gradient,) = pull_back([y], [cotangent], [x])
    assert (gradient.value == np.array([[0, 2, 6, 8]]) / 7).all()
    assert not gradient.error.any()


def test_blocks_are_fitted_to_other_arguments() -> None:
    spec = CATALOGUE["Fold"]
    plain = cases("Fold")[0]
    larger = replace_argument(spec, plain, "output_size", 5)
    assert larger is not None
    assert larger.inputs[0].shape[-1] == 25
    wider = replace_argument(spec, larger, "kernel_size", 2)
    assert wider is not None
    assert wider.inputs[0].shape[-2:] == (4, 16)
    assert replace_argument(spec, wider, "kernel_size", 6) is None
    last = wider.inputs[0].ndim - 1
    assert select_places(spec, wider, ((0, last),), range(3)) is None
    assert select_places(spec, wider, ((0, last - 1),), [*range(4), *range(4)]) is not None


def _wrong_backend(layer: str, when: Callable[..., bool]) -> ModuleBackend:
    """torch, a module of which answers otherwise in some calls."""

    class Wrong(getattr(nn, layer)):  # type: ignore[misc]
        def forward(self, input: torch.Tensor) -> Any:
            output = super().forward(input)
            ramp = torch.arange(output.numel()).reshape(output.shape).to(output.dtype)
            return output * 2 + 1 + ramp if when(self, input) else output

    Wrong.__name__ = layer
    modules = {"Unfold": nn.Unfold, "Fold": nn.Fold, layer: Wrong}
    return ModuleBackend("fake", nn=SimpleNamespace(**modules), functional=functional)


def _always(module: Any, x: torch.Tensor) -> bool:
    return True


def _has_many_numbers(module: Any, x: torch.Tensor) -> bool:
    inner = 1
    if isinstance(module, nn.Fold):
        inner = int(np.prod(per_dimension(module.kernel_size, 2)))
    return x.shape[-2 if isinstance(module, nn.Fold) else -3] // inner > 33


FAKES: dict[str, Callable[..., bool]] = {
    "rows": _has_many_numbers,
    "singles": lambda m, x: x.dim() == (2 if isinstance(m, nn.Fold) else 3),
    "function": _always,
    "padding": lambda m, x: m.padding == 0,
    "transposed": _always,
    "divisor": _always,
    "undone": _always,
}


@pytest.mark.parametrize("layer", ["Unfold", "Fold"])
@pytest.mark.parametrize("name", FAKES)
def test_each_law_is_seen_failing(layer: str, name: str) -> None:
    laws = {law.name for law in CATALOGUE[layer].laws}
    assert laws == set(FAKES) - {"undone" if layer == "Unfold" else "divisor"}
    if name not in laws:
        return
    assert law_findings(_wrong_backend(layer, FAKES[name]), layer, name)[1]
    compared, findings = law_findings(torch_backend, layer, name)
    assert compared
    assert all("but got size 1" in text for text in findings)
