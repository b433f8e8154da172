"""`culprit` names the wrong operator that a test plants in torch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conformance.reports import results
from test_report import run_of

from conformance.backends import OverrideBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.backends.operator_trace import RIGHT, UNKNOWN, WRONG, OperatorTrace
from conformance.backends.registry import load
from conformance.commands import cli
from conformance.commands import culprit as culprit_command
from conformance.items.planning import Item
from conformance.known.entry import shipped_entries
from conformance.layers.operators import MOVES, OPERATORS, find_operator_oracle
from conformance.model.failure import Failure
from conformance.run.engine import Engine

pytestmark = pytest.mark.in_fork

aten = torch.ops.aten


def _softmax(x: Any, dim: int, half_to_float: bool) -> Any:
    powers = torch.exp(x - x.amax(dim, keepdim=True))
    return powers / powers.sum(dim, keepdim=True)


def _log_softmax(x: Any, dim: int, half_to_float: bool) -> Any:
    return x - torch.logsumexp(x, dim, keepdim=True)


def _elu(x: Any, alpha: Any = 1, scale: Any = 1, input_scale: Any = 1) -> Any:
    return torch.where(x > 0, x, alpha * torch.expm1(x))


def _layer_norm(x: Any, shape: Any, weight: Any, bias: Any, eps: float) -> Any:
    dims = tuple(range(-len(shape), 0))
    mean = x.mean(dims, keepdim=True)
    rstd = torch.rsqrt(x.var(dims, unbiased=False, keepdim=True) + eps)
    y = (x - mean) * rstd
    y = y if weight is None else y * weight
    return y if bias is None else y + bias, mean, rstd


# Kernels that call other operators than the one that they replace; results are a bit too large.
KERNELS: dict[str, Callable[..., Any]] = {
    "addmm": lambda c, a, b, beta=1, alpha=1: beta * c + alpha * torch.einsum("ik,kj->ij", a, b),
    "bmm": lambda a, b: (a.unsqueeze(3) * b.unsqueeze(1)).sum(2),
    "_softmax": _softmax,
    "_log_softmax": _log_softmax,
    "native_layer_norm": _layer_norm,
    "gelu": lambda x, approximate="none": x * 0.5 * (1 + torch.erf(x / 2**0.5)),
    "silu": lambda x: x / (1 + torch.exp(-x)),
    "mish": lambda x: x * torch.tanh(torch.log1p(torch.exp(x))),
    "elu": _elu,
    "softplus": lambda x, beta=1, threshold=20: torch.log1p(torch.exp(x * beta)) / beta,
    "hardtanh": lambda x, min_val=-1, max_val=1: x.clamp(min_val, max_val),
    "leaky_relu": lambda x, negative_slope=0.01: torch.where(x > 0, x, negative_slope * x),
    "hardswish": lambda x: x * (x + 3).clamp(0, 6) / 6,
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
}


def plant_kernel(operator: str) -> OverrideBackend:
    """torch with one wrong kernel."""

    def wrong(*arguments: Any, **keywords: Any) -> Any:
        outputs = KERNELS[operator](*arguments, **keywords)
        if isinstance(outputs, tuple):
            return (outputs[0] * 1.01, *outputs[1:])
        return outputs * 1.01

    return OverrideBackend("planted", {f"aten::{operator}": wrong})


PLANTED = (
    ("addmm", "Linear"),
    ("addmm", "MultiheadAttention"),
    ("addmm", "GRUCell"),
    ("bmm", "MultiheadAttention"),
    ("_softmax", "MultiheadAttention"),
    ("_softmax", "Softmax2d"),
    ("_log_softmax", "CrossEntropyLoss"),
    ("native_layer_norm", "LayerNorm"),
    ("gelu", "functional.gelu"),
    ("silu", "SiLU"),
    ("mish", "Mish"),
    ("elu", "functional.elu"),
    ("softplus", "Softplus"),
    ("hardtanh", "functional.relu6"),
    ("leaky_relu", "LeakyReLU"),
    ("hardswish", "Hardswish"),
    ("sigmoid", "Sigmoid"),
)
"""Pairs of an operator and a layer that uses it."""


@pytest.mark.parametrize(("operator", "made"), PLANTED)
def test_the_planted_operator_is_named(
    operator: str,
    made: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    backend = plant_kernel(operator)
    item = Item(made, "values", "float64", "cpu")
    verdict = Engine(backend, 40, 0, shipped_entries("torch")).run(item)
    assert verdict.status == "failed", verdict.message
    results.write(tmp_path / "r.jsonl", run_of(verdict))
    monkeypatch.setattr(culprit_command, "load", lambda name: backend)
    assert cli.main(["culprit", str(tmp_path / "r.jsonl"), verdict.id, "--backend=planted"]) == 0
    output = capsys.readouterr().out
    assert f"culprit: aten::{operator}\n" in output
    assert "wanted" in output


def test_torch_itself_has_no_culprit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = plant_kernel("addmm")
    verdict = Engine(backend, 40, 0).run(Item("Linear", "values", "float32", "cpu"))
    results.write(tmp_path / "r.jsonl", run_of(verdict))
    culprit = culprit_command.find_culprit(run_of(verdict), verdict.id, "torch")
    assert culprit.culprit is None
    assert culprit.failure == ""
    assert RIGHT in {result.outcome for result in culprit.operators}
    assert cli.main(["culprit", str(tmp_path / "r.jsonl"), verdict.id, "--backend=torch"]) == 1
    assert "no culprit: the case passes now" in capsys.readouterr().out
    assert cli.main(["culprit", str(tmp_path / "r.jsonl"), "Nobody", "--backend=torch"]) == 2


@pytest.mark.parametrize(
    "made",
    [
        "Linear", "Conv2d", "ConvTranspose1d", "BatchNorm1d", "LayerNorm", "GRUCell", "MaxPool2d",
        "MultiheadAttention", "CrossEntropyLoss", "TransformerEncoderLayer", "functional.softplus",
        "AdaptiveAvgPool2d", "functional.scaled_dot_product_attention", "Embedding",
    ],
)  # fmt: skip
def test_no_operator_of_torch_is_wrong_where_the_layer_is_right(made: str) -> None:
    from conformance.checks.trial import Trial
    from conformance.generation.drawing import draw_cases
    from conformance.layers import CATALOGUE

    torch_ = load("torch")
    engine, item = Engine(torch_, 12, 0), Item(made, "values", "float64", "cpu")
    known = 0
    for case in draw_cases(made, "float64", 12, 0):
        if engine.outcome(item, case).status != "passed":
            continue
        watch = OperatorTrace(culprit_command._error_message, torch_backend.numerics)
        # A call that torch refuses is a known failure of torch.
        with watch, contextlib.suppress(Failure):
            _ = Trial(torch_, CATALOGUE[made], case, torch_backend.numerics("float64")).outputs
        wrong_results = [
            (result.text, result.says) for result in watch.runs if result.outcome == WRONG
        ]
        assert not wrong_results
        known += sum(result.outcome == RIGHT for result in watch.runs)
    assert known > 5


def test_what_is_not_known_is_told_and_no_culprit() -> None:
    watch = OperatorTrace(culprit_command._error_message, torch_backend.numerics)
    with watch:
        torch.erfinv(torch.zeros(2))
        torch.addmm(torch.ones(1), torch.ones(1, 2), torch.ones(2, 1), beta=2)
        torch.ones(2).t()
    outcomes = {result.name: (result.outcome, result.says) for result in watch.runs}
    assert outcomes["aten::erfinv"][0] == UNKNOWN
    assert outcomes["aten::addmm"] == (UNKNOWN, "beta or alpha that is not 1")


def test_names_are_those_of_torch_and_of_one_kind() -> None:
    assert all(hasattr(aten, name) for name in OPERATORS)
    assert not set(OPERATORS) & MOVES
    assert find_operator_oracle("relu_") is find_operator_oracle("relu") is not None
    assert find_operator_oracle("view") is None
