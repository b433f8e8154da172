"""Findings of checks: their text and kinds, and that files and processes pass them unchanged."""

from __future__ import annotations

import dataclasses
import math
import os
import re

import buggy
import msgspec
import numpy as np
import pytest
from conformance.reports.results import encode_line, parse

from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.checks.values import compare
from conformance.isolation.child import run_in_fork
from conformance.isolation.process import Child
from conformance.items.outcomes import Outcome, is_same_failure
from conformance.items.planning import Item
from conformance.layers.encoding import encode_case
from conformance.model.case import Verdict
from conformance.model.cause import Cause
from conformance.model.failure import Failure
from conformance.model.finding import (
    KINDS,
    Finding,
    contract_violation,
    count_mismatch,
    exception_finding,
    fact_mismatch,
    json_number,
    raising_frame,
)
from conformance.model.finding_text import cause_kind, finding_message, kind_and_part
from conformance.model.limits import Limits
from conformance.run.engine import Engine

ITEM = Item("Conv2d", "values", "float32", "cpu")
WORST = Finding(
    "value", "output", where=(0, 2), got="9", wanted="8", bound=0.0, error=1.0, wrong=2, of=6,
    excerpt=("[9] of shape (1,)", "[8] of shape (1,)"),
)  # fmt: skip
RAISED = Finding("exception", "call", exception="ValueError", says="no", accepted=True)

GOLDEN = [
    (
        WORST,
        ("output[0, 2], the worst of 2 wrong of 6\n  got    9\n  wanted 8\n"
        "  bound  0: equality, no rounding is possible here\n  error  1\n"
        "all of output\n  got    [9] of shape (1,)\n  wanted [8] of shape (1,)"),
    ),
    (
        dataclasses.replace(
            WORST, where=(), bound=1.25e-7, error="inf", excerpt=None,
            when="of a second call", kind="gradient", what="gradient of weight",
        ),
        ("gradient of weight of a second call, the worst of 2 wrong of 6\n  got    9\n  wanted 8\n"
        "  bound  1.25e-07\n  error  inf"),
    ),
    (
        Finding("sign", "output", where=(1,), got="0", wanted="-0.0", wrong=1, of=2,
                excerpt=("[0]", "[-0.0]")),
        ("sign of output[1], the first of 1 wrong of 2\n  got    0\n  wanted -0.0\n"
        "all of sign of output\n  got    [0]\n  wanted [-0.0]"),
    ),
    (
        Finding("bits", "h_n", during="the same call again", where=(0, 1), wrong=1, of=4,
                got="1.0", wanted="2.0"),
        "the same call again: h_n[0, 1], 1 of 4 differ\n  got    1.0\n  wanted 2.0",
    ),
    (
        fact_mismatch("shape", "output", (1, 2), (2, 1), when="while recording gradients"),
        "shape of output while recording gradients\n  got    (1, 2)\n  wanted (2, 1)",
    ),
    (fact_mismatch("dtype", "output", "'a'", "'b'"), "dtype of output\n  got    'a'\n  wanted 'b'"),
    (count_mismatch("outputs", 1, 2), "got 1 outputs, wanted 2"),
    (
        count_mismatch("outputs", 1, 2, during="forward_grad"),
        "forward_grad: got 1 outputs, wanted 2",
    ),
    (
        contract_violation("get", "list", "a numpy.ndarray"),
        "get returned list: expected a numpy.ndarray",
    ),
    (
        fact_mismatch("memory", "output", "input", "memory of its own"),
        "output shares memory with input: expected memory of its own",
    ),
    (
        fact_mismatch("names", "parameter gradients", ["a"], ["b"]),
        "parameter gradients\n  got    ['a']\n  wanted ['b']",
    ),
    (RAISED, "accepted, then failed: call raised ValueError: no"),
    (RAISED.in_part("built anew"), "built anew: accepted, then failed: call raised ValueError: no"),
    (
        Finding("refusal", "negative padding", "(argument padding)", got="accepted silently: x",
                wanted="a refusal: ValueError"),
        ("negative padding (argument padding)\n  got    accepted silently: x\n"
        "  wanted a refusal: ValueError"),
    ),
    (
        Finding("support", "call", "the same call again", got="declined", wanted="supported",
                says="no"),
        ("declines at random, or by the values\n  first  supported\n"
        "  then   declined: the same call again\n  reason 'no'"),
    ),
    (
        Finding("allowance", "slow", got="3 of 4 cases", wanted="at most 2.00% of them"),
        ("the known failure 'slow' fails too often\n  got    3 of 4 cases\n"
        "  wanted at most 2.00% of them"),
    ),
    (Finding("lost", "crashed", says="ended by signal 11"), "ended by signal 11"),
    (
        count_mismatch("outputs", 1, 2)
        .in_context("  one call    A", "  the other   B")
        .in_context("law 'rows': each row", law="rows")
        .noting("torch: same"),
        ("law 'rows': each row\n  one call    A\n  the other   B\ngot 1 outputs, wanted 2\n"
        "torch: same"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("finding", "said"), GOLDEN, ids=lambda value: str(value)[:30])
def test_text(finding: Finding, said: str) -> None:
    assert finding_message(finding) == str(Failure(finding)) == said
    assert finding_message(finding, "Linear(1, 1)") == f"Linear(1, 1)\n{said}"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_text_and_words_without_numbers(kind: str) -> None:
    finding = dataclasses.replace(WORST, kind=kind, exception="", says="said")
    assert finding_message(finding)
    for description in (kind_and_part(finding), cause_kind(finding)):
        assert description
        assert not re.search(r"\d", description)


def test_another_kind_is_refused_when_raised_and_shown_when_read() -> None:
    later = Finding("of a later version", "output")
    with pytest.raises(ValueError, match="no kind of finding: 'of a later version'"):
        Failure(later)
    assert (kind_and_part(later), finding_message(later)) == ("of a later version", "output")


def test_a_mere_text_is_a_failure_of_its_own_kind() -> None:
    failure = Failure("odd\nand more")
    assert (str(failure), failure.finding.kind) == ("odd\nand more", "other")
    assert kind_and_part(failure.finding) == "odd"


def test_causes_are_told_apart_by_fields() -> None:
    law, other = WORST.in_context("law", law="rows"), WORST.in_part("built anew")
    assert {cause_kind(f) for f in (WORST, law, other)} == {"wrong values"}
    assert len({f.failure_mode for f in (WORST, law, other)}) == 3
    other_numbers = dataclasses.replace(WORST, got="7", wrong=1, error=3.0)
    assert other_numbers.failure_mode == WORST.failure_mode
    assert cause_kind(RAISED.in_part("built anew")) == "call raised ValueError: no"
    refused = dataclasses.replace(RAISED, kind="refusal", what="negative padding")
    assert cause_kind(refused) == "negative padding: refused by ValueError"


def test_two_backends_fail_alike_by_their_exceptions_or_all_numbers() -> None:
    same = dataclasses.replace(RAISED, says="never", frame="b.py:1:f")
    assert is_same_failure(Outcome.from_finding(RAISED), Outcome.from_finding(same))
    other = dataclasses.replace(RAISED, what="build")
    assert not is_same_failure(Outcome.from_finding(RAISED), Outcome.from_finding(other))
    assert is_same_failure(
        Outcome.from_finding(WORST), Outcome.from_finding(dataclasses.replace(WORST))
    )
    wrong = dataclasses.replace(WORST, got="7")
    assert not is_same_failure(Outcome.from_finding(WORST), Outcome.from_finding(wrong))
    drawn = [dataclasses.replace(x, drawn=True) for x in (WORST, wrong)]
    assert is_same_failure(*map(Outcome.from_finding, drawn))
    elsewhere = dataclasses.replace(drawn[0], what="another")
    assert not is_same_failure(Outcome.from_finding(drawn[0]), Outcome.from_finding(elsewhere))


# --- through files and processes ---


@pytest.mark.parametrize("finding", [finding for finding, _ in GOLDEN])
def test_nothing_is_lost_in_a_results_file(finding: Finding) -> None:
    finding = dataclasses.replace(finding, layouts={"weight": "channels_last"})
    cause = Cause.from_finding(finding, "B()")
    verdict = Verdict(
        "a", "b", "c", "d", "e", "failed", message=finding_message(finding, "A()"), call="A()",
        failure=finding, others=(cause,),
    )  # fmt: skip
    (read,) = parse([b'{"kind": "run"}', encode_line(verdict)]).verdicts
    assert read == verdict


def test_nothing_is_lost_between_processes() -> None:
    engine = Engine(buggy.grouped_dilation, 60, 0)
    outcomes = [(case, engine.outcome(ITEM, case)) for case in engine.cases(ITEM)]
    case, outcome = next((c, o) for c, o in outcomes if o.status == "failed")
    assert outcome.failure is not None
    assert outcome.failure.kind == "value"
    assert run_in_fork(lambda: outcome, 10.0) == (outcome if hasattr(os, "fork") else None)
    child = Child("buggy:grouped_dilation", 60, 0, (), Limits(60.0, None))
    try:
        request = {"item": dataclasses.asdict(ITEM), "case": encode_case(case)}
        answer = child.ask(request)
    finally:
        child.stop()
    assert msgspec.convert(answer["failure"], Finding, strict=False) == outcome.failure
    assert answer["message"] == outcome.message == finding_message(outcome.failure)


def test_numbers_that_json_lacks_are_text() -> None:
    expected = exact_operand(np.zeros(2), Precision.of("float32", None))
    for got, spelling in ((math.inf, "inf"), (math.nan, "nan")):
        with pytest.raises(Failure) as failure:
            compare("output", np.array([0.0, got]), expected)
        assert failure.value.finding.error == spelling == json_number(got)
        assert f"\n  error  {spelling}\n" in str(failure.value)
        data = msgspec.json.encode(failure.value.finding)
        assert msgspec.json.decode(data, type=Finding) == failure.value.finding


# --- where an exception came from ---


def test_the_innermost_frame_is_the_backends_and_names_no_folder() -> None:
    import torch

    with pytest.raises(RuntimeError) as caught:
        torch.nn.Linear(2, 3)(torch.ones(1, 9))
    frame = raising_frame(caught.value)
    assert re.fullmatch(r"torch/nn/modules/linear\.py:\d+:forward", frame)
    assert exception_finding("call", caught.value, "").frame == frame


def test_the_suites_own_frames_are_no_backends() -> None:
    with pytest.raises(Failure) as caught:
        compare("output", np.ones(1), exact_operand(np.zeros(2), Precision.of("float32", None)))
    assert raising_frame(caught.value) == ""
    assert raising_frame(ValueError("never raised")) == ""


def test_exceptions_with_other_words_are_other_causes() -> None:
    first, second, third = (
        dataclasses.replace(RAISED, says=text)
        for text in ("shapes 1,2 and 3 differ", "shapes 4 and 2,2,2 differ", "too many axes: 4")
    )
    assert (
        cause_kind(first) == cause_kind(second) == "call raised ValueError: shapes … and … differ"
    )
    assert cause_kind(third) == "call raised ValueError: too many axes: …"
