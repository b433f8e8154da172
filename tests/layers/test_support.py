"""`support`: backends that decline by a rule pass; at random, or for another reason, they fail."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conformance.reports.results import encode_line
from support import install_backends_module, run_session

from conformance.backends import FunctionBackend, ModuleBackend, implements
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks import CHECKS
from conformance.checks.support import Answer, conclude, group_declined
from conformance.generation.drawing import draw_cases
from conformance.items.planning import Item, case_count
from conformance.matching.decline_reasons import ReasonClaim, parse_claims, reason_topic
from conformance.matching.features import features, structure
from conformance.matching.rule_search import FeatureTable, format_rules
from conformance.model.case import Call, Case, Examples, Unsupported, Verdict
from conformance.run.engine import Engine

Rule = Callable[[Call], str | None]


class DecliningBackend(ModuleBackend):
    """torch, but for the calls that a rule gives a reason for."""

    def __init__(self, rule: Rule) -> None:
        super().__init__("declines")
        self.rule = rule

    def build(self, call: Call) -> Any:
        """torch's layer, or the rule's reason."""
        reason = self.rule(call)
        if reason:
            raise Unsupported(reason)
        return super().build(call)


def _is_circular(call: Call) -> bool:
    return call.arguments.get("padding_mode") == "circular"


def _is_grouped(call: Call) -> bool:
    return bool(call.arguments.get("groups", 1) > 1)


def _verdict(rule: Rule, layer: str = "Conv2d", examples: int = 60) -> Verdict:
    return Engine(DecliningBackend(rule), examples, 0).run(Item(layer, "support", "float32", "cpu"))


def test_a_clear_condition_passes_and_is_found() -> None:
    verdict = _verdict(lambda call: "padding_mode='circular'" if _is_circular(call) else None)
    assert verdict.status == "passed"
    assert "least restrictive condition found: padding_mode = 'circular'" in str(verdict.message)
    assert "most restrictive: padding_mode = 'circular' and " in str(verdict.message)
    assert verdict.examples.unsupported == {"padding_mode='circular'": verdict.examples.declined}
    assert verdict.examples.checked + verdict.examples.declined == 60
    share = json.loads(encode_line(verdict))["supported"]
    assert share == round(verdict.examples.checked / 60, 4)
    assert 0 < share < 1


def test_reasons_that_differ_in_values_come_together() -> None:
    verdict = _verdict(
        lambda call: f"groups={call.arguments['groups']}" if _is_grouped(call) else None
    )
    assert verdict.status == "passed"
    assert "groups=…: " in str(verdict.message)
    assert "least restrictive condition found: groups ≥ 2" in str(verdict.message)
    assert "groups=2 (" in str(verdict.message)


def test_free_words_and_either_of_two_conditions_pass() -> None:
    def rule(call: Call) -> str | None:
        padded = call.arguments.get("padding_mode", "zeros") != "zeros"
        return "such padding" if padded or call.arguments.get("padding") == "same" else None

    verdict = _verdict(rule, examples=100)
    assert verdict.status == "passed"
    assert "padding_mode ≠ 'zeros' or padding = 'same'" in str(verdict.message)


def test_declining_at_random_fails() -> None:
    dice = np.random.default_rng(0)
    verdict = _verdict(lambda call: "groups=1" if dice.random() < 0.3 else None)
    assert verdict.status == "failed"
    assert "declines at random, or by the values" in str(verdict.message)
    assert verdict.case is not None
    assert verdict.reproducer


def test_declining_every_fifth_call_fails() -> None:
    count = itertools.count()
    verdict = _verdict(lambda call: "busy" if next(count) % 5 == 0 else None)
    assert verdict.status == "failed"
    assert "supported: the same call again" in str(verdict.message)
    assert "reason 'busy'" in str(verdict.message)


def test_declining_by_the_values_fails() -> None:
    verdict = _verdict(
        lambda call: "weights" if call.state["weight"].flat[0] > 0 else None, "Linear"
    )
    assert verdict.status == "failed"
    assert "values in other places" in str(verdict.message)


def test_a_misstated_reason_fails() -> None:
    verdict = _verdict(lambda call: "padding_mode='circular'" if _is_grouped(call) else None)
    assert verdict.status == "failed"
    assert "is not true of" in str(verdict.message)
    assert "least restrictive condition found: groups ≥ 2" in str(verdict.message)
    assert verdict.case is not None


def test_a_reason_that_supported_cases_share_fails() -> None:
    def rule(call: Call) -> str | None:
        return "padding_mode='circular'" if _is_circular(call) and _is_grouped(call) else None

    verdict = _verdict(rule, examples=200)
    assert verdict.status == "failed"
    assert "with padding_mode='circular' were supported" in str(verdict.message)
    assert "declined although" in str(verdict.message)
    assert "padding_mode = 'circular' and groups ≥ 2" in str(verdict.message)


def test_a_rule_that_no_condition_tells_is_unchecked() -> None:
    def rule(call: Call) -> str | None:
        return "no kernel" if sum(map(ord, repr(dict(call.arguments)))) % 3 == 0 else None

    verdict = _verdict(rule)
    assert verdict.status == "unchecked"
    assert "do not tell them from supported cases" in str(verdict.message)


def test_everything_declined_is_unsupported_and_everything_supported_passes() -> None:
    assert _verdict(lambda call: "layer Conv2d").status == "unsupported"
    verdict = _verdict(lambda call: None, "GRU", 20)
    assert verdict.status == "passed"
    assert verdict.message == "supported: 20 of 20 cases (100.0%); declined: 0"


def test_an_argument_that_is_declined_only_where_it_is_written_is_no_contradiction() -> None:
    verdict = _verdict(lambda call: "bias" if "bias" in call.arguments else None, "Linear", 60)
    assert verdict.status == "passed"
    assert "least restrictive condition found: bias written out" in str(verdict.message)


def test_an_argument_that_a_function_does_not_name_is_declined_unless_it_has_its_default() -> None:
    class Functions(FunctionBackend):
        """Of `bias` only False is declined."""

        name = "functions"

        @implements("Linear", ignores=("in_features", "out_features"))
        def linear(self, state: Any, input: Any) -> Any:
            return input @ state["weight"].T + state.get("bias", 0)

    verdict = Engine(Functions(), 60, 0).run(Item("Linear", "support", "float32", "cpu"))
    assert verdict.status == "passed"
    assert "least restrictive condition found: bias = False" in str(verdict.message)
    assert "most restrictive: bias = False" in str(verdict.message)


class Fails(torch.nn.Conv2d):
    """Built with groups, and then without a kernel for them."""

    def forward(self, input: Any) -> Any:
        """No grouped kernel."""
        if self.groups > 1:
            raise NotImplementedError("no grouped kernel")
        return super().forward(input)


@pytest.mark.parametrize(
    "check", [*(c for c in CHECKS if c not in ("errors", "random")), "support"]
)
def test_a_call_that_is_accepted_and_fails_is_no_unsupported_one(check: str) -> None:
    backend = ModuleBackend("fails", nn=SimpleNamespace(Conv2d=Fails))
    verdict = Engine(backend, 40, 0).run(Item("Conv2d", check, "float32", "cpu"))
    assert verdict.status == "failed"
    assert "accepted, then failed" in str(verdict.message)
    assert "NotImplementedError: no grouped kernel" in str(verdict.message)
    assert not verdict.examples.unsupported
    assert ("\nsupported: " in str(verdict.message)) == (check == "support")


def test_unsupported_from_a_call_is_unsupported() -> None:
    class Later(torch.nn.Conv2d):
        def forward(self, input: Any) -> Any:
            if self.groups > 1:
                raise Unsupported("groups>1")
            return super().forward(input)

    backend = ModuleBackend("later", nn=SimpleNamespace(Conv2d=Later))
    for check in ("support", "values"):
        verdict = Engine(backend, 40, 0).run(Item("Conv2d", check, "float32", "cpu"))
        assert verdict.status == "passed"
        assert set(verdict.examples.unsupported) == {"groups>1"}
        assert verdict.examples.checked > 0


def test_faithful_backend_passes_for_every_family() -> None:
    for layer in ("Conv1d", "ConvTranspose2d", "LSTM", "RNNCell", "Identity", "functional.linear"):
        # A seed at which torch's functional.linear is asked for no weight of one dimension.
        item = Item(layer, "support", "bfloat16", "cpu")
        verdict = Engine(torch_backend, 10, 1).run(item)
        assert verdict.status == "passed", verdict.message
        assert verdict.examples.checked == case_count(item, 10) > 2


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [
        ("padding_mode='circular'", (ReasonClaim("padding_mode", "==", "circular"),)),
        ("stride=(1, 2)", (ReasonClaim("stride", "==", (1, 2)),)),
        (
            "groups=2, bias=False",
            (ReasonClaim("groups", "==", 2), ReasonClaim("bias", "==", False)),
        ),
        (
            "groups > 1 with dilation>=2",
            (ReasonClaim("groups", ">", 1), ReasonClaim("dilation", ">=", 2)),
        ),
        ("padding='same' needs stride 1", ()),
        ("no such kernel", ()),
        ("x=f(1)", ()),
        ("", ()),
    ],
)
def test_claims_of_a_reason(reason: str, wanted: tuple[ReasonClaim, ...]) -> None:
    assert parse_claims(reason) == wanted
    assert reason_topic(reason) == (", ".join(f"{c.name}=…" for c in wanted) or reason)


def test_reasons_that_are_true_one_by_one_need_no_common_condition() -> None:
    def rule(call: Call) -> str | None:
        size = call.arguments["out_features"]
        return f"out_features={size}" if size in (2, 4, 17) else None

    verdict = _verdict(rule, "Linear", 100)
    assert verdict.status == "passed"
    assert "out_features=…" in str(verdict.message)
    assert "least restrictive condition found: " in str(verdict.message)


def test_no_condition_is_made_of_one_case_each() -> None:
    rows = [{"n": n} for n in range(40)]
    odd = np.array([n % 2 == 1 for n in range(40)])
    assert FeatureTable(rows).find_least_restrictive(odd, ~odd) is None
    high = np.array([n > 29 for n in range(40)])
    assert format_rules(FeatureTable(rows).find_least_restrictive(high, ~high) or ()) == "n ≥ 30"


def test_structure_is_all_but_the_values() -> None:
    cases = draw_cases("LSTM", "float32", 40, 0)
    for case in cases:
        state = {name: array + 1 for name, array in case.call.state.items()}
        inputs = tuple(None if x is None else x + 1 for x in case.inputs)
        other = replace(case, call=replace(case.call, state=state), inputs=inputs, seed=-1)
        assert structure(other) == structure(case)
        trained = replace(case, call=replace(case.call, training=not case.call.training))
        assert structure(trained) != structure(case)
        assert features(trained)["training"] is not features(case)["training"]
    assert len({structure(case) for case in cases}) > 20


def _answers(reason: str | None) -> list[Answer]:
    case: Case = draw_cases("Linear", "float32", 5, 0)[0]
    return [Answer(case), Answer(case, reason)]


def test_one_structure_declined_and_supported_fails() -> None:
    conclusion = conclude(_answers("busy"))
    assert conclusion.status == "failed"
    assert "of a structure that was supported elsewhere" in conclusion.message
    assert group_declined(_answers(None)) == ()
    assert conclude([]).status == "unchecked"


def test_share_supported() -> None:
    assert Examples(10, 3, {"a": 1}, 6).supported == 0.75
    assert Examples().supported is None


def test_the_column_runs_only_where_it_is_named(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_backends_module(
        pytester,
        monkeypatch,
        """
        from conformance import Unsupported
        from conformance.backends import ModuleBackend

        class Declines(ModuleBackend):
            def build(self, call):
                if call.arguments.get("groups", 1) > 1:
                    raise Unsupported("groups>1")
                return super().build(call)

        backend = Declines("declines")
        """,
    )
    options = [
        "--conformance-backend=plugged:backend",
        "--conformance-layer=Conv2d", "--conformance-dtype=float32", "--conformance-examples=20",
        "--conformance-isolation=none",
    ]  # fmt: skip
    result = run_session(pytester, *options, "--conformance-check=support,values", "-v")
    output = result.stdout.str()
    assert "test_layer[Conv2d-support-float32-cpu]" in output
    assert "declared unsupported, Conv2d-support-float32-cpu" in output
    assert "least restrictive condition found: groups ≥ 2" in output
    assert "% supported)" in output
    assert result.ret == 0
    listing = run_session(pytester, *options, "--collect-only", "-q").stdout.str()
    assert "Conv2d-values-float32-cpu" in listing
    assert "support" not in listing.replace("unsupported", "")
