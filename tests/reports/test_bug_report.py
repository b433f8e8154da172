"""Bug reports: their text, with hostile results too, and which script they show."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conformance.reports import bug_report, results
from conformance.reports.headline import issue_title
from test_report import run_of, verdict

from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks import EVERY_CHECK
from conformance.commands import cli, explanation
from conformance.commands.explanation import Explanation, explain
from conformance.diagnosis.reproducer import NOT_REPRODUCED
from conformance.generation.drawing import draw_cases
from conformance.items.planning import Item
from conformance.known.entry import KnownFailureError, matches_globs, parse_entries, shipped_entries
from conformance.layers import CATALOGUE
from conformance.layers.encoding import encode_case
from conformance.model.case import Verdict
from conformance.model.cause import Cause, Excuse, Need
from conformance.model.checks import CHECK_FACTS
from conformance.model.finding import Finding
from conformance.model.usage_error import UsageError
from conformance.run.engine import Engine

pytestmark = pytest.mark.in_fork


class NoBias(torch.nn.Conv2d):
    """A planted bug: no bias where groups are given."""

    def _conv_forward(self, input: Any, weight: Any, bias: Any) -> Any:
        return super()._conv_forward(input, weight, None if self.groups > 1 else bias)


buggy = ModuleBackend("buggy", nn=SimpleNamespace(Conv2d=NoBias))
ITEM = Item("Conv2d", "values", "float32", "cpu")


@pytest.fixture(scope="module")
def failed() -> Verdict:
    """The verdict of the planted bug."""
    return Engine(buggy, 60, 0).run(ITEM)


def _bug_report(run: results.Run, id: str = ITEM.id, number: int = 1) -> str:
    return bug_report.render(run, explain(run, id, number), "r.jsonl")


def _write_known_file(path: Path, case: Any, **fields: str) -> None:
    entry = {"layer": "Conv2d", "check": "values", "reason": "no bias in groups", **fields}
    if case is not None:
        entry["case"] = json.dumps(case)
    lines = [f"{name} = {json.dumps(value)}" for name, value in entry.items()]
    lines += ["strict = false"] if case is None else []
    path.write_text("\n".join(["[[known]]", *lines, 'when = { groups = ">1" }']) + "\n")


def test_a_report_has_all_its_parts(failed: Verdict) -> None:
    run = run_of(failed, backend="buggy", numerics={"float32": {"flush_to_zero": "True"}})
    text = _bug_report(run)
    headings = [line for line in text.splitlines() if line.startswith("#") and " " in line]
    assert headings[0] == "# Conv2d: wrong values with groups > 1 and bias=True (float32, cpu)"
    wanted = ["Environment", "Minimal script", "Expected", "Got", "How it was found"]
    assert [h.removeprefix("## ") for h in headings[1:] if h.startswith("## ")] == wanted
    assert "- numerics declared: `flush_to_zero = True`" in text
    assert str(failed.reproducer).strip() in text
    assert "weight(C_out_j, k) ⋆ input(N_i, k)" in text
    assert "W_out = ⌊(W_in + 2 × padding[1]" in text
    assert CATALOGUE["Conv2d"].documentation_url in text
    assert CHECK_FACTS["values"].question in text
    assert re.search(r"got +-?\d", text)
    assert "nn-conformance replay r.jsonl Conv2d-values-float32-cpu" in text
    assert "\nIt needs `groups > 1` and `bias=True`.\n" in text
    assert "It also fails with other values of " in text
    # The call stands on a line of its own, once: the message is shown without it.
    assert text.count(f"\n{failed.call}\n") == 1


def test_the_script_of_a_known_failure_is_preferred(failed: Verdict, tmp_path: Path) -> None:
    _write_known_file(tmp_path / "k.toml", failed.case, script="import torch\nprint('shown')\n")
    run = run_of(failed, backend="buggy", options={"known": str(tmp_path / "k.toml")})
    text = _bug_report(run)
    assert "print('shown')" in text
    assert str(failed.reproducer) not in text
    assert "no bias in groups" in text.splitlines()[0]


def test_a_known_failure_that_does_not_cover_the_case_is_not_named(
    failed: Verdict, tmp_path: Path
) -> None:
    path = tmp_path / "k.toml"
    _write_known_file(path, None, script="print('shown')")
    path.write_text(path.read_text().replace(">1", ">9"))
    text = _bug_report(run_of(failed, backend="buggy", options={"known": str(path)}))
    assert "shown" not in text


def test_the_pinned_case_of_a_known_verdict_is_run(tmp_path: Path) -> None:
    # The backend must be importable in another process. So it is torch, which passes the case.
    drawn = draw_cases("Conv2d", "float32", 60, 0)
    case = encode_case(next(case for case in drawn if case.call.arguments.get("groups", 1) > 1))
    _write_known_file(tmp_path / "k.toml", case, link="https://example.org/1")
    known_verdict = verdict(
        "Conv2d", "values", "float32", "known",
        message="known failure: no bias in groups", call=None, case=None, reproducer=None,
    )  # fmt: skip
    run = run_of(known_verdict, backend="torch", options={"known": str(tmp_path / "k.toml")})
    explained = explain(run, known_verdict.id)
    assert explained.call.startswith("Conv2d(")
    assert "y1 = layer1(x1)" in str(explained.script)
    assert explained.lacking == NOT_REPRODUCED
    text = bug_report.render(run, explained)
    assert "See also <https://example.org/1>." in text
    assert "no bias in groups" in text
    with pytest.raises(UsageError, match="--known 2"):
        explain(run, known_verdict.id, 2)


def test_a_failure_that_is_known_of_the_base_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanation, "_run_pinned_case", lambda *_: ("", None, None))
    entry = next(e for e in shipped_entries("torch") if e.case is not None and e.status == "failed")
    case = entry.case
    assert case is not None
    check = next(name for name in EVERY_CHECK if matches_globs(name, entry.check))
    excuse = Excuse(entry.reason, entry.link, 1, 1, 0, "torch")
    inherited = verdict(
        case.call.layer, check, case.call.dtype, "known", call=None, case=None, excuses=(excuse,)
    )
    explained = explain(run_of(inherited, backend="alike"), inherited.id)
    assert explained.reason == entry.reason
    assert explained.call


def test_a_case_that_another_layer_pinned_is_written_as_its_own() -> None:
    case = draw_cases("Conv2d", "float32", 1, 0)[0]
    item = Item("functional.conv2d", "values", "float32", "cpu")
    script = Engine(torch_backend, 1, 0).script(item, case, "wrong", ends_process=False)
    assert "torch.nn.Conv2d(" in script


@pytest.mark.parametrize("status", ["passed", "unsupported", "unchecked"])
def test_nothing_to_report_is_an_error(
    status: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.jsonl"
    results.write(path, run_of(verdict("Linear", "values", "float32", status)))
    assert cli.main(["bug-report", str(path), "Linear-values-float32-cpu"]) == 2
    assert f"is {status}: there is no bug to report" in capsys.readouterr().err
    assert cli.main(["bug-report", str(path), "Linear-value-float32-cpu"]) == 2
    assert "nearest: Linear-values-float32-cpu" in capsys.readouterr().err


def test_command_line_prints_the_report(
    failed: Verdict, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "r.jsonl"
    results.write(path, run_of(failed, backend="buggy"))
    assert cli.main(["bug-report", str(path), failed.id]) == 0
    assert capsys.readouterr().out.startswith(
        "# Conv2d: wrong values with groups > 1 and bias=True (float32, cpu)\n"
    )
    for number in ("0", "-3", "2"):
        assert cli.main(["bug-report", str(path), failed.id, "--known", number]) == 2
        assert f"--known {number}: {failed.id} has no known failure" in capsys.readouterr().err


HOSTILE = "``` <script>alert(1)</script> ````\n# x\x00\x1b[31mred\x1b[0m\u202e\ud800 @all"


def test_hostile_text_stays_in_its_place() -> None:
    hostile_verdict = verdict(
        HOSTILE, "values", "float32", "failed", message=HOSTILE, call=HOSTILE, reproducer=HOSTILE
    )
    run = run_of(hostile_verdict, backend=HOSTILE, info={HOSTILE: HOSTILE})
    subject = Explanation(
        hostile_verdict, HOSTILE, HOSTILE, HOSTILE, "", HOSTILE, "javascript:x>\n<b>"
    )
    text = bug_report.render(run, subject, HOSTILE)
    text.encode("utf-8")
    assert not set("\x00\x1b\u202e") & set(text)
    prose_lines, fence = [], ""
    for line in text.splitlines():
        ticks = re.match(r"`{3,}", line)
        if fence:
            fence = "" if line == fence else fence
        elif ticks:
            fence = ticks[0]
        else:
            prose_lines.append(line)
    assert not fence
    prose = re.sub(r"(`+).*?(?<!`)\1(?!`)", "", "\n".join(prose_lines))
    assert "<script" not in prose.replace("\\<", "")
    assert not any(line.startswith("# x") for line in prose_lines)


def test_a_crash_is_titled_as_one_and_other_checks_say_what_the_script_lacks() -> None:
    crashed = verdict("GRU", "layout", "float32", "crashed")
    text = _bug_report(run_of(crashed), crashed.id)
    assert text.startswith("# GRU: the process dies (float32, cpu)\n")
    assert "z_t ⊙ h_(t−1)" in text
    raised = Finding("exception", "call", exception="ValueError", says="x", accepted=True)
    crashed = verdict("GRU", "layout", "float32", "failed", failure=raised)
    text = _bug_report(run_of(crashed), crashed.id)
    assert text.startswith("# GRU: a valid call raises ValueError: x (float32, cpu)\n")
    assert NOT_REPRODUCED not in text
    crashed = verdict("GRU", "values", "float32", "failed", reproducer=f'"""{NOT_REPRODUCED}"""')
    assert NOT_REPRODUCED in _bug_report(run_of(crashed), crashed.id)


NEEDS = (Need("dilation", "2", "1", False), Need("groups", "2", "1", False))


@pytest.mark.parametrize(
    ("check", "failure", "wanted"),
    [
        ("values", Finding("value", "output"), "wrong values with dilation > 1 and groups > 1"),
        ("gradients", Finding("gradient", "gradient of x"), "wrong gradient of x with dilation"),
        ("values", Finding("value", "running", "after the call"), "wrong running after the call"),
        ("values", Finding("sign", "output"), "wrong sign of a zero in output with"),
        ("shape", Finding("shape", "output"), "wrong shape with"),
        ("laws", Finding("value", "output", law="copies"), "two calls that must agree differ"),
        ("layout", Finding("value", "output", layouts={}), "wrong values with"),
        (
            "layout",
            Finding("value", "output", layouts={"x": "transposed"}),
            "the answer depends on the memory layout with",
        ),
        ("special", Finding("value", "output"), "wrong values for NaN, infinite, huge or tiny"),
        ("repeat", Finding("bits", during="the same call again"), "not the same bits"),
        ("random", Finding("random", "output"), "wrong distribution of output"),
        (
            "state",
            Finding("value", "output", during="with its initial state"),
            "wrong values (with its initial state) with dilation",
        ),
        (
            "values",
            Finding("exception", "call", exception="KeyError", says="'x'\nand more"),
            "a valid call raises KeyError with dilation > 1 and groups > 1: 'x' (float32",
        ),
        (
            "gradients",
            Finding("exception", "vjp", exception="KeyError", says="y"),
            "the backward pass of a valid call raises KeyError with",
        ),
        ("errors", Finding("refusal", "too few"), "an invalid call is accepted: too few"),
        (
            "errors",
            Finding("refusal", "too few", exception="IndexError"),
            "an invalid call ends in IndexError: too few",
        ),
    ],
)
def test_a_title_says_what_is_wrong_and_when(check: str, failure: Finding, wanted: str) -> None:
    needs = () if failure.kind == "refusal" else NEEDS
    failed_verdict = verdict("Conv1d", check, "float32", "failed", failure=failure, needs=needs)
    title = _bug_report(run_of(failed_verdict), failed_verdict.id).splitlines()[0]
    assert title.startswith(f"# Conv1d: {wanted}")
    assert title.endswith(" (float32, cpu)")


@pytest.mark.parametrize(
    ("check", "reason", "wanted"),
    [
        ("values", "no bias in groups; as of 2.1", "wrong values: no bias in groups"),
        ("values", "endless loop: with groups", "endless loop: with groups"),
        ("errors", "a size of (1, 2) is accepted", "a size of (1, 2) is accepted"),
        ("values", "x" * 30 + " word" * 40, f"wrong values: {'x' * 30}{' word' * 15}…"),
    ],
)
def test_a_known_failure_is_titled_by_its_reason(check: str, reason: str, wanted: str) -> None:
    known_verdict = verdict("Conv1d", check, "float32", "known")
    assert issue_title(known_verdict, None, reason) == f"Conv1d: {wanted} (float32, cpu)"


def test_a_death_is_titled_by_its_signal() -> None:
    lost = Finding("lost", "crashed", says="the process was ended by SIGSEGV (signal 11)")
    crashed = verdict("GRU", "values", "float32", "crashed", failure=lost)
    assert issue_title(crashed, lost) == "GRU: the process dies of SIGSEGV (float32, cpu)"


def test_each_cause_of_a_verdict_can_be_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sign = Finding("sign", "output", got="0", wanted="-0.0")
    second_cause = Cause("m", call="GRU(3, 3)", failure=sign, reproducer="print('the other')")
    wrong = Finding("value", "output", got="1", wanted="2")
    failed_verdict = verdict(
        "GRU", "values", "float32", "failed", failure=wrong, others=(second_cause,)
    )
    path = tmp_path / "r.jsonl"
    results.write(path, run_of(failed_verdict))
    assert cli.main(["bug-report", str(path), "GRU-val"]) == 0
    output = capsys.readouterr()
    assert output.out.startswith("# GRU: wrong values (float32, cpu)\n")
    assert "nn-conformance replay" in output.out
    assert "cause 1 of 2" in output.err
    assert cli.main(["bug-report", str(path), "GRU-val", "--cause", "2"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# GRU: wrong sign of a zero in output (float32, cpu)\n")
    assert "print('the other')" in text
    assert "\nGRU(3, 3)\n" in text
    assert "nn-conformance replay" not in text  # that is the first cause's
    assert cli.main(["bug-report", str(path), "GRU-val", "--cause", "3"]) == 2
    assert "has causes 1 to 2" in capsys.readouterr().err


def test_an_invalid_call_is_not_said_to_be_a_valid_one() -> None:
    refusal = Finding("refusal", "too few")
    failed_verdict = verdict("GRU", "errors", "float32", "failed", failure=refusal)
    assert "which draws invalid calls" in _bug_report(run_of(failed_verdict), failed_verdict.id)


def test_every_layer_has_a_formula_and_every_check_words() -> None:
    assert all(row.oracle.formula for row in CATALOGUE.values())
    assert list(CHECK_FACTS) == list(EVERY_CHECK)
    assert "output_padding" in CATALOGUE["functional.conv_transpose1d"].oracle.formula[-1]
    assert CATALOGUE["LazyConv3d"].oracle.formula == CATALOGUE["functional.conv3d"].oracle.formula


def test_formulas_are_those_of_torchs_docstrings() -> None:
    """Symbols of the documentation's formulas, in their order, whatever the markup."""

    def formula_symbols(text: str) -> str:
        # From TeX, or from the plain form, to letters, digits and operators.
        text = re.sub(r"\\text\{([^}]*)\}|\\(tanh)|\\odot|\\sigma", r"\1\2", text)
        text = text.replace("σ", "").replace("⊙", "").replace("−", "-")
        return re.sub(r"[^A-Za-z0-9'=+-]", "", text)

    for layer in ("LSTMCell", "GRUCell", "GRU"):
        documented = formula_symbols(str(getattr(torch.nn, layer).__doc__))
        for line in CATALOGUE[layer].oracle.formula:
            assert len(formula_symbols(line)) > 3
            assert formula_symbols(line) in documented, (layer, line)


def test_script_is_a_field_of_known_failures() -> None:
    text = '[[known]]\nlayer = "Conv2d"\ncheck = "values"\nreason = "r"\nstrict = false\n'
    text += 'script = "x = 1"\n'
    assert parse_entries(text, "k")[0].script == "x = 1"
    with pytest.raises(KnownFailureError, match="script=3"):
        parse_entries(text.replace('"x = 1"', "3"), "k")
