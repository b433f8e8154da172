"""The account of torch.nn, for the installed torch, an older one and a newer one."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from support import NOT_IN_TORCH

from conformance.backends.coverage_audit import (
    CoverageAudit,
    audit_coverage,
    installed_namespaces,
    public_names,
)
from conformance.commands import cli
from conformance.commands import layers as layers_cli
from conformance.layers import CATALOGUE
from conformance.layers.excluded import EXCLUDED


def _copy_installed() -> dict[str, Any]:
    """Copies of the namespaces of the installed torch, which a test may change."""
    return {
        space: SimpleNamespace(**{name: getattr(names, name) for name in public_names(names)})
        for space, names in installed_namespaces().items()
    }


def _account_text(account_: CoverageAudit) -> str:
    lines = "\n".join(layers_cli.account_lines(account_)).split("\n")
    assert max(map(len, lines)) <= layers_cli.WIDTH
    return "\n".join(lines)


def test_each_name_stands_in_one_place() -> None:
    torch_account = audit_coverage()
    covered = [name for names in torch_account.covered.values() for name in names]
    excluded = [name for names in torch_account.excluded.values() for name in names]
    assert sorted([*covered, *torch_account.not_in_torch]) == sorted(CATALOGUE)
    assert sorted([*excluded, *torch_account.stale_exclusions]) == sorted(EXCLUDED)
    text = _account_text(torch_account)
    assert f"Covered: {len(covered)} layers of torch {torch.__version__}, by family" in text
    assert f"Excluded: {len(excluded)} names of torch.nn" in text
    assert "Missing" not in text


def test_what_a_newer_torch_adds_is_missing_and_no_failure() -> None:
    class NextLayer(torch.nn.Module):
        pass

    NextLayer.__module__ = "torch.nn.modules.next"
    spaces = _copy_installed()
    spaces[""].NextLayer = NextLayer
    spaces["utils.rnn"].next_sequence = torch.relu
    torch_account = audit_coverage(spaces, "3.0")
    assert torch_account.undecided == ("NextLayer", "utils.rnn.next_sequence")
    text = _account_text(torch_account)
    assert "Missing: 2 names of torch 3.0 that the suite does not know" in text
    assert "(pip install -U nn-conformance)" in " ".join(text.split())


def test_a_new_namespace_is_missing() -> None:
    spaces = _copy_installed()
    spaces["utils"].__path__ = [p.rpartition("/")[0] for p in torch.nn.utils.__path__]
    assert "utils.quantized" in audit_coverage(spaces).undecided


def test_what_an_older_torch_lacks_is_told_apart() -> None:
    spaces = _copy_installed()
    for space, name in (("", "RMSNorm"), ("functional", "rms_norm"), ("", "Buffer")):
        delattr(spaces[space], name)
    del spaces["attention.varlen"], spaces["attention.bias"]
    torch_account = audit_coverage(spaces, "2.3.1")
    assert set(torch_account.not_in_torch) == {"RMSNorm", "functional.rms_norm", *NOT_IN_TORCH}
    assert "RMSNorm" not in torch_account.covered["normalization"]
    assert {"Buffer", "attention.bias.CausalBias"} <= set(torch_account.stale_exclusions)
    assert torch_account.undecided == ()
    text = _account_text(torch_account)
    assert f"Not in torch 2.3.1: {len(torch_account.not_in_torch)} layers of the suite\n" in text
    assert "RMSNorm, functional.rms_norm" in text
    assert "Excluded, and not in torch 2.3.1: " in text


def test_a_method_is_its_class_name() -> None:
    spaces = _copy_installed()
    del spaces[""].AdaptiveLogSoftmaxWithLoss
    assert set(audit_coverage(spaces).not_in_torch) - {*NOT_IN_TORCH} == {
        name for name in CATALOGUE if name.startswith("AdaptiveLogSoftmaxWithLoss")
    }


def test_names_that_a_namespace_only_borrows_are_not_its_own() -> None:
    space = ModuleType("torch.nn.somewhere")
    space.__dict__.update(
        Tensor=torch.Tensor, Linear=torch.nn.Linear, relu=torch.relu, Any=Any, json=json.dumps,
        _hidden=torch.relu, nn=torch.nn,
    )  # fmt: skip
    assert public_names(space) == {"Linear", "relu"}
    space.__dict__["__all__"] = ["Any", "nn"]
    assert public_names(space) == {"Any"}


def test_the_command_prints_the_account(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["layers"]) == 0
    assert capsys.readouterr().out == _account_text(audit_coverage()) + "\n"
    assert cli.main(["layers", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(asdict(audit_coverage())))


def test_names_come_one_a_line_and_without_torch() -> None:
    script = (
        "import sys\nfrom conformance.commands import cli\n"
        "cli.main(['layers', '--names'])\nassert 'torch' not in sys.modules"
    )
    run = [sys.executable, "-c", script]
    out = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert out.split("\n") == [*CATALOGUE, ""]
