"""The gated linear unit: what is drawn, and each law seen failing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import cases, law_findings
from torch import nn
from torch.nn import functional

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.layers import CATALOGUE

GLU = "functional.glu"


def test_every_axis_is_halved() -> None:
    forms: set[Any] = set()
    for case in cases(GLU, examples=600):
        (x,), dim = case.inputs, case.call.arguments.get("dim", -1)
        assert x is not None
        forms |= {(x.ndim, dim), case.labels["profile"]}
        forms |= {"left out"} if "dim" not in case.call.arguments else {"written"}
        forms |= {"empty"} if not x.size else set()
        forms |= {"nothing to halve"} if not x.shape[dim] else set()
    assert forms >= {(rank, dim) for rank in range(1, 5) for dim in range(-rank, rank)}
    assert forms >= {"plain", "gates", "left out", "written", "empty", "nothing to halve"}


def _wrong_backend(when: Callable[[torch.Tensor, int], bool]) -> ModuleBackend:
    """A backend whose glu adds 1 in some calls."""

    def wrong(input: torch.Tensor, dim: int = -1) -> Any:
        output = functional.glu(input, dim)
        return output + 1 if when(input, dim) else output

    namespace = SimpleNamespace(glu=wrong, sigmoid=functional.sigmoid)
    return ModuleBackend("fake", nn=SimpleNamespace(GLU=nn.GLU), functional=namespace)


def _gates(x: torch.Tensor, dim: int) -> torch.Tensor:
    return x.chunk(2, dim)[1] if x.numel() else x


FAKES = {
    "form": _wrong_backend(lambda x, dim: True),
    "axis": _wrong_backend(lambda x, dim: dim < 0),
    "pairs": _wrong_backend(lambda x, dim: x.numel() > 2000),
    "open": _wrong_backend(lambda x, dim: bool((_gates(x, dim) == 200).all())),
    "complement": _wrong_backend(lambda x, dim: True),
    "sigmoid": _wrong_backend(lambda x, dim: True),
}


@pytest.mark.parametrize("name", FAKES)
def test_each_law_is_seen_failing(name: str) -> None:
    assert {law.name for law in CATALOGUE[GLU].laws} == set(FAKES)
    assert law_findings(FAKES[name], GLU, name)[1]
    compared, findings = law_findings(torch_backend, GLU, name)
    assert compared
    assert not findings
