"""Known failures written from results: green once they have reasons; other bugs still fail."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from buggy import GroupedDilation
from conformance.reports import results
from conformance.reports.argument_coverage import expand_outcomes
from conformance.reports.results import Run
from test_report import identity

from conformance.backends import ModuleBackend
from conformance.backends.capabilities import info_of
from conformance.commands import cli
from conformance.commands.crash_conditions import separating_conditions
from conformance.commands.known_entry import condition_of_term, estimate_share
from conformance.commands.known_writer import draft_known_file, write
from conformance.items.planning import Item
from conformance.items.stream import Stream
from conformance.known.cpu import describe_place
from conformance.known.entry import KnownFailureError, parse_entries
from conformance.layers.encoding import encode_case
from conformance.matching.comparison import matches
from conformance.matching.facts import Facts
from conformance.model.case import Call, Case, Unsupported
from conformance.run.engine import Engine

pytestmark = pytest.mark.in_fork

EXAMPLES = 60
ITEMS = [Item("Conv2d", check, "float32", "cpu") for check in ("values", "gradients", "laws")]


class WorseBug(GroupedDilation):
    """A second bug: wrong for a stride of 3 as well."""

    def _conv_forward(self, input: Any, weight: Any, bias: Any) -> Any:
        output = super()._conv_forward(input, weight, bias)
        return output + 1 if 3 in self.stride else output


def _backend_with(layer: type) -> ModuleBackend:
    class Namespace:
        Conv2d = layer

    layer.__name__ = "Conv2d"
    return ModuleBackend("dilated", nn=Namespace)


def _run_items(layer: type, known_failures: Any = ()) -> Run:
    engine = Engine(_backend_with(layer), EXAMPLES, 0, known_failures)
    verdicts = tuple(engine.run(item) for item in ITEMS)
    run_identity = replace(
        identity(tuple(i.id for i in ITEMS)),
        backend="dilated",
        examples=EXAMPLES,
        seed=0,
        dtypes=("float32",),
        options={},
        places={"cpu": describe_place("dilated", info_of(engine.backend), "cpu")},
    )
    return Run(run_identity, verdicts)


@pytest.fixture(scope="module")
def failed() -> Run:
    """A run with one bug."""
    run = _run_items(GroupedDilation)
    assert [v.status for v in run.verdicts] == ["failed"] * 3
    return run


def test_a_written_file_keeps_the_run_red_until_it_has_reasons(failed: Run, tmp_path: Path) -> None:
    file = tmp_path / "known.toml"
    written_file = write(failed, file)
    assert written_file.new == file.read_text().count("[[known]]") >= 1
    with pytest.raises(KnownFailureError, match="reason is empty"):
        parse_entries(file.read_text(), "known.toml")
    entries = parse_entries(
        file.read_text().replace('reason = ""', 'reason = "adds 1"'), "known.toml"
    )
    assert {name for entry in entries for name in entry.when} >= {"dilation"}
    assert set(entries[0].cases) <= {item.id for item in ITEMS}
    rerun = _run_items(GroupedDilation, entries)
    assert [v.status for v in rerun.verdicts] == ["known"] * 3
    assert [v.status for v in _run_items(WorseBug, entries).verdicts] == ["failed"] * 3
    assert [v.status for v in _run_items(torch.nn.Conv2d, entries).verdicts] == [
        "failed"
    ] * 3  # stale


def test_conditions_cover_every_failing_case(failed: Run) -> None:
    (entry, *_) = parse_entries(
        draft_known_file(failed).text.replace('reason = ""', 'reason = "x"'), "k.toml"
    )
    verdict = failed.verdicts[0]
    stream, letters = Stream(ITEMS[0], EXAMPLES, 0), expand_outcomes(verdict.outcomes or "")
    failing = [stream[k] for k, letter in enumerate(letters) if letter == "f"]
    assert len(letters) == EXAMPLES
    assert failing
    assert all(entry.covers(case) for case in failing)


class BiasTwice(torch.nn.Conv2d):
    """The bias is added again where there are several groups, and where the stride is not 1."""

    def _conv_forward(self, input: Any, weight: Any, bias: Any) -> Any:
        output = super()._conv_forward(input, weight, bias)
        adds_twice = bias is not None and (self.groups > 1 or max(self.stride) > 1)
        return output + bias[:, None, None] if adds_twice else output


class BiasTwiceElsewhere(BiasTwice):
    """A second bug, of a bias as well."""

    def _conv_forward(self, input: Any, weight: Any, bias: Any) -> Any:
        output = super()._conv_forward(input, weight, bias)
        adds_once_more = bias is not None and self.groups == 1 and max(self.stride) == 1
        return output + 1 if adds_once_more and max(self.dilation) > 1 else output


def test_things_that_serve_alike_are_conditions_of_which_one_is_met() -> None:
    run = _run_items(BiasTwice)
    text = draft_known_file(run).text.replace('reason = ""', 'reason = "adds the bias twice"')
    entries = parse_entries(text, "known.toml")
    alternatives = [
        set(way) for entry in entries if "values" in entry.check for way in entry.condition_tables
    ]
    assert {"bias", "groups"} in alternatives
    assert {"bias", "stride"} in alternatives
    assert [v.status for v in _run_items(BiasTwice, entries).verdicts] == ["known"] * 3
    assert _run_items(BiasTwiceElsewhere, entries).verdicts[0].status == "failed"


def test_an_entry_of_a_rounding_error_excuses_no_wrong_formula() -> None:
    text = """
[[known]]
layer = "Conv2d"
check = "values"
within = 4
strict = false
reason = "rounds once more than it may"
"""
    (entry,) = parse_entries(text, "k.toml")
    case = Stream(ITEMS[0], 1, 0)[0]
    assert entry.explains(Facts(case), "wrong of", 3.9)
    assert not entry.explains(Facts(case), "wrong of", 4.1)
    assert not entry.explains(Facts(case), "wrong of", None)
    with pytest.raises(KnownFailureError, match="expected an error"):
        parse_entries(text.replace("4", "0.5"), "k.toml")


@pytest.mark.parametrize(("wrong", "status"), [(2.0**-20, "known"), (1.0, "failed")])
def test_a_run_excuses_errors_within_a_known_share_of_the_bound(wrong: float, status: str) -> None:
    """An error of 16 units is 2 to 6 bounds of a SiLU; a wrong formula errs by a million bounds."""

    class SiLU(torch.nn.SiLU):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            # Where the sigmoid is 1 the check wants equality.
            return super().forward(input) * torch.where(input.abs() < 4, 1 + wrong, 1.0)

    text = """
[[known]]
layer = "SiLU"
check = "values"
within = 16
strict = false
reason = "rounds 16 units away"
"""
    backend = ModuleBackend("coarse", nn=SimpleNamespace(SiLU=SiLU))
    item = Item("SiLU", "values", "float32", "cpu")
    assert Engine(backend, EXAMPLES, 0).run(item).status == "failed"
    assert Engine(backend, EXAMPLES, 0, parse_entries(text, "k.toml")).run(item).status == status


@pytest.mark.nightly
def test_what_an_entry_that_stays_covers_widens_no_new_one(failed: Run) -> None:
    """The run is made without the file: both bugs are in it, and only one is new."""
    text = draft_known_file(failed).text.replace('reason = ""', 'reason = "adds 1"')
    written_file = draft_known_file(_run_items(WorseBug), text)
    new_text = written_file.text.removeprefix(text).replace('reason = ""', 'reason = "another"')
    (*old_entries, entry) = parse_entries(
        written_file.text.replace('reason = ""', 'reason = "another"'), "k.toml"
    )
    assert old_entries
    assert entry.reason == "another"
    assert all("stride" in way for way in entry.condition_tables), new_text


def test_what_ends_the_process_is_told_from_what_passes() -> None:
    cases = list(Stream(ITEMS[0], EXAMPLES, 0).cases())
    crashing = [
        case for case in cases if Facts(case).get("groups") > 1 and Facts(case).get("empty")
    ]
    surviving = [case for case in cases if case not in crashing]
    assert crashing
    tables = list(separating_conditions(crashing, surviving))
    assert tables
    assert any(set(way) <= {"groups", "empty"} for way in tables)
    is_covered = lambda case: any(  # noqa: E731
        all(matches(Facts(case).get(name), wanted) for name, wanted in way.items())
        for way in tables
    )
    assert all(map(is_covered, crashing))
    assert not any(map(is_covered, surviving))


def test_a_complaint_about_an_entry_is_none_of_the_backends_failures(failed: Run) -> None:
    text = draft_known_file(failed).text.replace('reason = ""', 'reason = "adds 1"')
    mended_run = _run_items(torch.nn.Conv2d, parse_entries(text, "k.toml"))
    assert [v.status for v in mended_run.verdicts] == ["failed"] * 3
    assert draft_known_file(mended_run, text).text.count("[[known]]") == 0


def test_a_run_made_without_the_file_keeps_what_shows_in_it(failed: Run) -> None:
    text = draft_known_file(failed).text.replace('reason = ""', 'reason = "adds 1"')
    written_file = draft_known_file(failed, text)
    assert (written_file.new, written_file.stale) == (0, ())
    assert written_file.text.strip() == text.strip()


def test_update_keeps_reasons_and_names_what_is_stale(failed: Run) -> None:
    text = draft_known_file(failed).text.replace('reason = ""', 'reason = "adds 1"', 1)
    text = text.replace('reason = ""', 'reason = "adds 1, too"')
    stale_text = '[[known]]\nlayer = "Conv2d"\ncheck = "shape"\nreason = "mended"\n'
    stale_text += f"case = '{json.dumps(encode_case(Stream(ITEMS[0], 1, 0)[0]))}'\n"
    other_text = (
        '[[known]]\nlayer = "Linear"\ncheck = "*"\nreason = "another run\'s"\nstrict = false\n'
    )
    entries = parse_entries(text, "k.toml")
    written_file = draft_known_file(
        _run_items(WorseBug, entries), f"{text}\n{stale_text}\n{other_text}"
    )
    assert written_file.stale == ("mended",)
    assert "adds 1" in written_file.text
    assert "another run's" in written_file.text
    assert written_file.new >= 1
    assert "mended" not in written_file.text


def test_the_command_line_writes_and_does_not_write_over(failed: Run, tmp_path: Path) -> None:
    source, file = tmp_path / "r.jsonl", tmp_path / "k.toml"
    results.write(source, failed)
    assert cli.main(["known", str(source), "--write", str(file)]) == 0
    assert cli.main(["known", str(source), "--write", str(file)]) == 2
    assert cli.main(["known", str(source), "--write", str(file), "--update"]) == 0
    for text in ("by hand, no TOML", "a = 1\n", "[other]\n"):
        file.write_text(text)
        assert cli.main(["known", str(source), "--write", str(file), "--update"]) == 2
        assert file.read_text() == text


def test_what_results_say_makes_no_file_that_cannot_be_read(failed: Run) -> None:
    odd = "a\x00\x1b]0;t\x07\x7f\r\u202e\ud800'''\n[[known]]"
    first, *other_verdicts = failed.verdicts
    assert first.case is not None
    case = {**first.case, "labels": {**first.case["labels"], "note": odd}}
    verdict = replace(first, call=odd, message=odd, case=case, failure=None)
    text = draft_known_file(replace(failed, verdicts=(verdict, *other_verdicts))).text
    entries = parse_entries(text.replace('reason = ""', 'reason = "adds 1"'), "known.toml")
    notes = [case.labels.get("note") for entry in entries for case in entry.cases.values()]
    assert odd in notes
    assert text.encode()


def test_what_no_entry_can_say_is_refused(failed: Run) -> None:
    first, *other_verdicts = failed.verdicts
    wrong_run = replace(
        failed, verdicts=(replace(first, id="Conv2d-nope-float32-cpu"), *other_verdicts)
    )
    with pytest.raises(KnownFailureError, match="no entry can be made of"):
        draft_known_file(wrong_run)


def test_an_entry_of_what_draws_is_never_stale() -> None:
    """Its pinned case passes where nothing is dropped."""

    class Unscaled(torch.nn.Dropout):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input) * (1 - self.p) if self.training else input

    Unscaled.__name__ = Unscaled.__qualname__ = "Dropout"
    item = Item("Dropout", "values", "float32", "cpu")
    namespace = SimpleNamespace(Dropout=Unscaled)
    verdict = Engine(ModuleBackend("dropping", nn=namespace), EXAMPLES, 0).run(item)
    assert verdict.status == "failed"
    run_identity = replace(
        identity((item.id,)),
        backend="dropping",
        examples=EXAMPLES,
        seed=0,
        dtypes=("float32",),
        options={},
    )
    text = draft_known_file(Run(run_identity, (verdict,))).text.replace(
        'reason = ""', 'reason = "is not scaled"'
    )
    (entry,) = parse_entries(text, "k.toml")
    assert not entry.strict


class FlushingELU(torch.nn.ELU):
    """Small numbers become 0, so some cases fail for their values alone."""

    factor = 1.0

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        y = super().forward(input)
        return torch.where(y.abs() < 2.0**-12, 0 * y, y) * self.factor


class WrongELU(FlushingELU):
    """Planted afterwards: every number is too large by half."""

    factor = 1.5


class EmptyMean(torch.nn.MSELoss):
    """The mean of no numbers is 0."""

    def forward(self, input: torch.Tensor, target: torch.Tensor, *weight: Any) -> torch.Tensor:
        loss = super().forward(input, target, *weight)
        return torch.zeros_like(loss) if self.reduction == "mean" and not input.numel() else loss


class Declining(torch.nn.Conv2d):
    """Most calls are declined, so that further rounds are drawn; groups are wrong."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        if self.dilation != (1, 1) or self.stride != (1, 1):
            raise Unsupported("dilation or stride")

    def _conv_forward(self, input: Any, weight: Any, bias: Any) -> Any:
        output = super()._conv_forward(input, weight, bias)
        return output + 1 if self.groups > 1 else output


def _run_values(
    layer: str,
    implementation: type,
    known: Any = (),
    examples: int = 120,
    checks: Sequence[str] = ("values",),
) -> Run:
    implementation.__name__ = implementation.__qualname__ = layer
    items = [Item(layer, check, "float32", "cpu") for check in checks]
    backend = ModuleBackend("values", nn=SimpleNamespace(**{layer: implementation}))
    run_identity = replace(
        identity(tuple(item.id for item in items)), backend="values", examples=examples, seed=0,
        dtypes=("float32",), options={}, places={},
    )  # fmt: skip
    engine = Engine(backend, examples, 0, known)
    return Run(run_identity, tuple(engine.run(item) for item in items))


def test_an_entry_without_conditions_states_how_many_cases_may_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = 400  # of which the layer has a share: with fewer cases chance may explain more
    run = _run_values("ELU", FlushingELU, (), examples)
    assert run.verdicts[0].status == "failed"
    draft = draft_known_file(run)
    (entry,) = parse_entries(draft.text.replace('reason = ""', 'reason = "flushes"'), "k.toml")
    assert entry.within is not None or entry.at_most < 1
    assert _run_values("ELU", FlushingELU, (entry,), examples).verdicts[0].status == "known"
    assert _run_values("ELU", WrongELU, (entry,), examples).verdicts[0].status == "failed"
    if not entry.when:
        assert len(draft.broad) == 1
    bare_run = replace(run, verdicts=(replace(run.verdicts[0], needs=(), share=None),))
    results.write(tmp_path / "r.jsonl", bare_run)
    command = ["known", str(tmp_path / "r.jsonl"), "--write", str(tmp_path / "k.toml")]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert "warning: ELU: values: covers every case, up to" in printed
    assert "narrow it by `when` or `said`" in printed


def test_an_entry_has_what_the_message_names_emptiness_included() -> None:
    run = _run_values("MSELoss", EmptyMean)
    (verdict,) = run.verdicts
    assert verdict.status == "failed"
    text = draft_known_file(run).text.replace('reason = ""', 'reason = "0 for NaN"')
    (entry,) = parse_entries(text, "k.toml")
    (way,) = entry.condition_tables
    assert way.get("empty") is True or 0 in way.values(), text
    assert way.get("reduction", "mean") == "mean"
    assert _run_values("MSELoss", EmptyMean, (entry,)).verdicts[0].status != "failed"


class Erratic(torch.nn.Linear):
    """Wrong for some numbers, whatever the structure of the call."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        output = super().forward(input)
        return output * 2 + 1 if int(input.detach().abs().sum() * 64) % 3 == 1 else output


def test_every_item_stays_covered_where_no_structure_tells_what_fails() -> None:
    checks = ("values", "gradients", "repeat")
    run = _run_values("Linear", Erratic, (), 60, checks)
    assert run.verdicts[0].status == "failed"
    text = draft_known_file(run).text.replace('reason = ""', 'reason = "erratic"')
    entries = parse_entries(text, "k.toml")
    rerun = _run_values("Linear", Erratic, entries, 60, checks)
    assert "failed" not in [v.status for v in rerun.verdicts], text


def test_cases_of_further_rounds_are_covered_too() -> None:
    run = _run_values("Conv2d", Declining, examples=40)
    (verdict,) = run.verdicts
    letters = expand_outcomes(verdict.outcomes)
    assert verdict.status == "failed"
    assert "f" in letters[40:]
    assert letters.count("f") == verdict.examples.failed
    text = draft_known_file(run).text.replace('reason = ""', 'reason = "adds 1"')
    entries = parse_entries(text, "k.toml")
    assert _run_values("Conv2d", Declining, entries, 40).verdicts[0].status == "known"


@pytest.mark.parametrize(
    ("term", "name", "condition"),
    [
        ("largest stride ≥ 2", "stride", ">=2"),
        ("input.max > 88.5", "input.max", ">88.5"),
        ("reduction = 'mean'", "reduction", "mean"),
        ("padding_mode ≠ 'zeros'", "padding_mode", '!="zeros"'),
        ("empty = True", "empty", True),
        ("in_features = out_features", "in_features = out_features", True),
        ("not: in_features = out_features", "in_features = out_features", False),
    ],
)
def test_a_term_of_a_message_is_a_condition(term: str, name: str, condition: Any) -> None:
    assert condition_of_term(term) == (name, condition)


@pytest.mark.parametrize(
    ("failing", "covered", "share"), [(1, 40, 0.05), (20, 40, 0.52), (39, 40, 0.99), (7, 7, 1.0)]
)
def test_the_share_that_may_fail_is_estimated_from_what_was_seen(
    failing: int, covered: int, share: float
) -> None:
    assert estimate_share(failing, covered) == share


def test_a_condition_on_nan_does_not_cover_inputs_without_one() -> None:
    (entry,) = parse_entries(
        """
        [[known]]
        layer = "MaxPool2d"
        check = "gradients"
        when = { "input.has_nan" = true }
        strict = false
        reason = "wrong gradient: of a window with NaN"
        """,
        "test",
    )
    call = Call("MaxPool2d", {"kernel_size": (1, 2)}, {}, "float32", "cpu")
    for last, is_covered in ((math.nan, True), (math.inf, False), (1.0, False)):
        case = Case(call, (np.array([[[0.0, last]]]),))
        assert entry.covers(case) is is_covered
