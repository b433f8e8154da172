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
from support import ELSEWHERE

from conformance.backends.coverage_audit import Account, account, exported, installed
from conformance.commands import cli
from conformance.commands import layers as layers_cli
from conformance.layers import CATALOGUE
from conformance.layers.excluded import EXCLUDED


def _spaces() -> dict[str, Any]:
    """Copies of the namespaces of the installed torch, which a test may change."""
    return {
        space: SimpleNamespace(**{name: getattr(found, name) for name in exported(found)})
        for space, found in installed().items()
    }


def _text(found: Account) -> str:
    lines = "\n".join(layers_cli.text(found)).split("\n")
    assert max(map(len, lines)) <= layers_cli.WIDTH
    return "\n".join(lines)


def test_each_name_stands_in_one_place() -> None:
    found = account()
    covered = [name for names in found.covered.values() for name in names]
    excluded = [name for names in found.excluded.values() for name in names]
    assert sorted([*covered, *found.absent]) == sorted(CATALOGUE)
    assert sorted([*excluded, *found.gone]) == sorted(EXCLUDED)
    text = _text(found)
    assert f"Covered: {len(covered)} layers of torch {torch.__version__}, by family" in text
    assert f"Excluded: {len(excluded)} names of torch.nn" in text
    assert "Missing" not in text


def test_what_a_newer_torch_adds_is_missing_and_no_failure() -> None:
    class NextLayer(torch.nn.Module):
        pass

    NextLayer.__module__ = "torch.nn.modules.next"
    spaces = _spaces()
    spaces[""].NextLayer = NextLayer
    spaces["utils.rnn"].next_sequence = torch.relu
    found = account(spaces, "3.0")
    assert found.missing == ("NextLayer", "utils.rnn.next_sequence")
    text = _text(found)
    assert "Missing: 2 names of torch 3.0 that the suite does not know" in text
    assert "(pip install -U nn-conformance)" in " ".join(text.split())


def test_a_new_namespace_is_missing() -> None:
    spaces = _spaces()
    spaces["utils"].__path__ = [p.rpartition("/")[0] for p in torch.nn.utils.__path__]
    assert "utils.quantized" in account(spaces).missing


def test_what_an_older_torch_lacks_is_told_apart() -> None:
    spaces = _spaces()
    for space, name in (("", "RMSNorm"), ("functional", "rms_norm"), ("", "Buffer")):
        delattr(spaces[space], name)
    del spaces["attention.varlen"], spaces["attention.bias"]
    found = account(spaces, "2.3.1")
    assert set(found.absent) == {"RMSNorm", "functional.rms_norm", *ELSEWHERE}
    assert "RMSNorm" not in found.covered["normalization"]
    assert {"Buffer", "attention.bias.CausalBias"} <= set(found.gone)
    assert found.missing == ()
    text = _text(found)
    assert f"Not in torch 2.3.1: {len(found.absent)} layers of the suite\n" in text
    assert "RMSNorm, functional.rms_norm" in text
    assert "Excluded, and not in torch 2.3.1: " in text


def test_a_method_is_its_class_name() -> None:
    spaces = _spaces()
    del spaces[""].AdaptiveLogSoftmaxWithLoss
    assert set(account(spaces).absent) - {*ELSEWHERE} == {
        name for name in CATALOGUE if name.startswith("AdaptiveLogSoftmaxWithLoss")
    }


def test_names_that_a_namespace_only_borrows_are_not_its_own() -> None:
    space = ModuleType("torch.nn.somewhere")
    space.__dict__.update(
        Tensor=torch.Tensor, Linear=torch.nn.Linear, relu=torch.relu, Any=Any, json=json.dumps,
        _hidden=torch.relu, nn=torch.nn,
    )  # fmt: skip
    assert exported(space) == {"Linear", "relu"}
    space.__dict__["__all__"] = ["Any", "nn"]
    assert exported(space) == {"Any"}


def test_the_command_prints_the_account(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["layers"]) == 0
    assert capsys.readouterr().out == _text(account()) + "\n"
    assert cli.main(["layers", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(asdict(account())))


def test_names_come_one_a_line_and_without_torch() -> None:
    script = (
        "import sys\nfrom conformance.commands import cli\n"
        "cli.main(['layers', '--names'])\nassert 'torch' not in sys.modules"
    )
    run = [sys.executable, "-c", script]
    out = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert out.split("\n") == [*CATALOGUE, ""]
