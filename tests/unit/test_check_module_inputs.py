"""What `check-module` varies and compares: each planted module is right but for one of these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conformance.backends.torch_layouts import share_memory
from conformance.commands.cli import main
from conformance.networks.probes import element_probes
from conformance.networks.weights import vary_state

MODULE = """
import torch
from torch import nn

class {name}(nn.Module):
    def __init__(self):
        super().__init__()
        {build}
    def forward(self, x, *more):
        {forward}

def get_inputs():
    return [{inputs}]

def get_init_inputs():
    return []
"""


def _check(
    capsys: Any, right: str, planted: str, inputs: str, build: str = "pass", *options: str
) -> tuple[int, str]:
    for file, name, forward in (("model.py", "Model", right), ("new.py", "ModelNew", planted)):
        text = MODULE.format(name=name, build=build, forward=forward, inputs=inputs)
        Path(file).write_text(text)
    where = options or ("--isolation", "none")
    status = main(["check-module", "model.py", "--against", "new.py", "--seeds", "1", *where])
    return status, capsys.readouterr().out


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


CLOSES_REPORTS = """import os, sys
        from conformance.backends.implementation import ImplementationLayer
        frame = sys._getframe()
        while "watch" not in frame.f_locals:
            frame = frame.f_back
        os.close(frame.f_locals["watch"]._descriptor)
        get = ImplementationLayer.get
        ImplementationLayer.get = lambda layer, native: (
            get(layer, native) if native is self.last else os._exit(0)
        )"""
"""Nobody reports any more, and the process ends when an earlier answer is read again."""
PRODUCT = "return x @ more[0]"
PLANTED = {
    "signs": (PRODUCT, "return x.abs() @ more[0].abs()", "torch.rand(3, 4), torch.rand(4, 5)"),
    "small": (
        "return torch.nn.functional.layer_norm(x, (64,))",
        "return torch.nn.functional.layer_norm(x, (64,), eps=9.5e-6)",
        "torch.randn(3, 64)",
    ),
    "offset": (
        "return torch.nn.functional.layer_norm(x, (64,))",
        ("v = (x * x).mean(-1, True) - x.mean(-1, True) ** 2\n"
        "        return (x - x.mean(-1, True)) / (v + 1e-5).sqrt()"),
        "torch.randn(3, 64)",
    ),
    "start of a storage": (
        "return 2 * x",
        "return 2 * torch.empty(0).set_(x.untyped_storage(), 0, x.shape, x.stride())",
        "torch.randn(3, 4)",
    ),
    "strides": (
        "return 2 * x",
        "return 2 * (x if x.is_contiguous() or x.stride(0) == 1 else x + 1)",
        "torch.randn(3, 4)",
    ),
    "batches": (
        "return 2 * x",
        "return 2 * x * (x.shape[0] in (1, 3, 5, 11))",
        "torch.randn(5, 4)",
    ),
    "a number": ("return 2 * x, len(x) / 3", "return 2 * x, len(x) / 3.001", "torch.randn(3, 4)"),
    "no number": ("return 2 * x, len(x) / 3", "return 2 * x, float('nan')", "torch.randn(3, 4)"),
    "an input in a list": ("return 2 * x[0]", "return 2 * x[0].mul_(1.5) / 1.5", "[torch.ones(3)]"),
    "what is written": ("more[0].copy_(x)\n        return 2 * x", "return 2 * x",
                        "torch.randn(3, 4), torch.zeros(3, 4)"),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_module_is_wrong_and_the_right_one_is_not(capsys: Any, name: str) -> None:
    right, planted, inputs = PLANTED[name]
    status, out = _check(capsys, right, planted, inputs)
    assert (status, "1 wrong" in out) == (1, True), out
    status, out = _check(capsys, right, right, inputs)
    assert status == 0, out


def test_a_module_that_changes_its_state_is_not_certified(capsys: Any) -> None:
    build = "self.register_buffer('calls', torch.zeros(1))"
    status, out = _check(
        capsys, "self.calls += 1\n        return 2 * x", "return 2 * x", "torch.ones(3)", build
    )
    assert status == 1
    assert "the module changes its own state" in out


@pytest.mark.parametrize(
    ("build", "forward", "kind"),
    [
        ("raise SystemExit('{\"right\": true}')", "return 2 * x", "wrong"),
        ("pass", ("self.kept = getattr(self, 'kept', None)\n"
         "        if self.kept is not None:\n"
         "            self.kept.untyped_storage().resize_(0)\n"
         "        self.kept = torch.from_numpy(2 * x.numpy()).clone()\n"
         "        return self.kept"), "changes its answer"),
        (CLOSES_REPORTS, "self.last = torch.from_numpy(2 * x.numpy())\n        return self.last",
         "tampers"),
    ],
    ids=["exit", "freed output", "closed reports"],
)  # fmt: skip
def test_a_sealed_module_that_ends_its_process_is_not_right(
    capsys: Any, build: str, forward: str, kind: str
) -> None:
    seal = ("--isolation", "sealed", "--json")
    for file, name, made, body in (
        ("model.py", "Model", "pass", "return 2 * x"), ("new.py", "ModelNew", build, forward)
    ):  # fmt: skip
        text = MODULE.format(name=name, build=made, forward=body, inputs="torch.randn(3, 4)")
        Path(file).write_text(text)
    status = main(["check-module", "model.py", "--against", "new.py", "--seeds", "1", *seal])
    result = json.loads(capsys.readouterr().out)
    assert (status, result["right"]) == (1, False)
    assert kind in (result["verdict"], *result["breaches"]), result


def test_zeros_of_a_state_get_both_signs() -> None:
    varied = vary_state({"bias": torch.zeros(64), "scale": torch.ones(64)}, 3)
    assert -0.25 <= varied["bias"].min() < 0 < varied["bias"].max() <= 0.25
    assert varied["scale"].min() >= 0.5


def test_storages_that_overlap_share_memory() -> None:
    x = torch.arange(4.0)
    assert share_memory(x, torch.from_numpy(x.numpy()[1:]))
    assert not share_memory(x, x.clone())
    assert not share_memory(x, torch.empty(0))


def test_a_wrong_column_is_looked_at_though_other_elements_err_more() -> None:
    value, error, scale = np.ones((32, 8)), np.full((32, 8), 1e-6), np.full((32, 8), 1e-6)
    error[:, 2] = 5e-6
    error[:12, 0] = 1.0  # decoys, first by each ranking
    probes = list(element_probes([value], [error], [scale], 0))
    drawn = {p.place for p in element_probes([value], [0 * error], [scale], 0)}
    assert any(p.place[1] == 2 and p.place not in drawn for p in probes if p.place)
