"""CrossMapLRN2d: where torch's is LocalResponseNorm, where it is not, and each law seen failing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from support import ENOUGH, cases, first_failure, law_findings
from torch import nn

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.layers import CATALOGUE
from conformance.oracles.normalization.groups import cross_map_lrn, local_response_norm

NAME = "CrossMapLRN2d"


class Right(nn.CrossMapLRN2d):
    """By the arithmetic of LocalResponseNorm, image by image."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The answer."""
        if input.dim() != 4:
            raise ValueError("no image")
        norm = nn.LocalResponseNorm(self.size, self.alpha, self.beta, self.k)
        return norm(input).clone()  # type: ignore[no-any-return]


Right.__name__ = Right.__qualname__ = NAME


def _wrong_backend(when: Callable[[nn.CrossMapLRN2d, torch.Tensor], bool]) -> ModuleBackend:
    """The right layer, but for 1 added in some calls."""

    def forward(self: Right, input: torch.Tensor) -> torch.Tensor:
        output = Right.forward(self, input)
        return output + 1 if when(self, input) else output

    changed = type(NAME, (Right,), {"forward": forward})
    namespace = SimpleNamespace(CrossMapLRN2d=changed, LocalResponseNorm=nn.LocalResponseNorm)
    return ModuleBackend("fake", nn=namespace)


def _first_exceeds_last(x: torch.Tensor) -> bool:
    return x.numel() > 1 and bool(x.flatten()[0] > x.flatten()[-1])


FAKES = {
    "samples": _wrong_backend(lambda m, x: len(x) > 16),
    "places": _wrong_backend(lambda m, x: _first_exceeds_last(x)),
    "negated": _wrong_backend(lambda m, x: bool(x.sum() > 0)),
    "rescaled": _wrong_backend(lambda m, x: m.alpha > 2),
    "response": _wrong_backend(lambda m, x: True),
    "mirrored": _wrong_backend(lambda m, x: _first_exceeds_last(x)),
}
RIGHT = _wrong_backend(lambda m, x: False)


@pytest.mark.parametrize("name", FAKES)
def test_each_law_is_seen_failing(name: str) -> None:
    assert {law.name for law in CATALOGUE[NAME].laws} == set(FAKES)
    assert law_findings(FAKES[name], NAME, name)[1]
    compared, findings = law_findings(RIGHT, NAME, name)
    assert compared
    assert not findings


@pytest.mark.parametrize("check", ["values", "gradients", "special", "errors"])
def test_a_layer_that_is_right_passes(check: str) -> None:
    for dtype in ("float32", "float64"):
        search = first_failure(RIGHT, NAME, check, dtype, 100, enough=ENOUGH)
        assert search.passed, search


def test_torch_is_right_in_many_cases_and_wrong_in_many() -> None:
    """The known failures leave cases in which a bug would be seen."""
    within = [x for x in cases(NAME) if x.inputs[0].shape[1] <= x.call.arguments["size"] // 2]  # type: ignore[union-attr]
    assert 60 < len(within) < 180
    assert all(case.call.arguments["size"] % 2 for case in cases(NAME))


@pytest.mark.parametrize("size", [1, 3, 5, 9])
def test_it_is_the_local_response_norm(size: int) -> None:
    x = exact_operand(
        np.random.default_rng(0).standard_normal((2, 5, 1, 2)), Precision.of("float64")
    )
    ours = cross_map_lrn({}, x, size=size, alpha=1.0)
    theirs = local_response_norm({}, x, size=size, alpha=1.0)
    assert np.array_equal(ours.value, theirs.value)
    wanted = nn.LocalResponseNorm(size, 1.0)(torch.from_numpy(x.value)).numpy()
    assert np.allclose(ours.value, wanted)
