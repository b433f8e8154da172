"""The terminal output at the end of a run: failures and causes, missing items, written files."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from conformance.model.case import Verdict
from conformance.model.plain_text import visible
from conformance.plugin.annotations import annotation_lines, is_github_job
from conformance.plugin.terminal_summary import summary_lines
from conformance.plugin.terminal_table import table_lines
from conformance.plugin.terminal_text import HEADING, Line, terminal_width, wrapped
from conformance.reports import summary
from conformance.reports.headline import is_inherited
from conformance.reports.results import Run
from conformance.reports.statuses import is_stale

if TYPE_CHECKING:
    from conformance.plugin.shared import SessionLike

MAX_PROSE_WIDTH = 100
"""Columns of prose, at most; a table uses the whole width."""
MAX_NAMED_LAYERS = 6
"""Layers that the last line of a survey names, at most."""
_STYLES = {summary.CONFORMANT: "passed", summary.SURVEYED: "known"}
MARKUP: Mapping[str, Mapping[str, bool]] = {
    "failed": {"red": True},
    "crashed": {"purple": True, "bold": True},
    "hung": {"purple": True, "bold": True},
    "unchecked": {"yellow": True, "bold": True},
    "known": {"yellow": True},
    "passed": {"green": True},
    HEADING: {"bold": True},
}
"""Markup of each style, for pytest's terminal writer; it applies only if colour is on."""
# Defaults of `-r` and `--tb`.
_DEFAULT_REPORTING = ("fE", "auto")


class Terminal:
    """Shows the verdicts of the run after all other output of pytest and its plug-ins.

    Args:
        session: the suite's session on the controller.
    """

    def __init__(self, session: SessionLike) -> None:
        self.session = session

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, Any, Any]:
        """Show the findings of a survey as the last lines."""
        result = yield
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        run = self.session.recorder.run()
        if reporter is not None and run.identity.survey and run.verdicts:
            _write_lines(reporter, _survey_lines(run), min(terminal_width(), MAX_PROSE_WIDTH))
        return result

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter
    ) -> Generator[None, Any, Any]:
        """Show failures by cause, not by item; with `-v` show both, and the whole table."""
        stats = terminalreporter.stats
        failed = stats.get("failed", [])
        recorded_nodes = self.session.recorder.nodes
        unrecorded = [
            report for report in failed if getattr(report, "nodeid", None) not in recorded_nodes
        ]
        in_full = len(failed) - len(unrecorded) <= 1 or _wants_full_list(terminalreporter.config)
        if not in_full:
            # Hide them only while pytest lists failures: its last line has to count them.
            stats["failed"] = unrecorded
        try:
            result = yield
        finally:
            if failed:
                stats["failed"] = failed
        self._write_summary(terminalreporter, in_full=in_full)
        return result

    def _write_summary(self, reporter: pytest.TerminalReporter, *, in_full: bool) -> None:
        settings = self.session.settings
        if not self.session.items and settings.shard[1] > 1:
            reporter.write_line(
                f"conformance: shard {settings.shard[0]}/{settings.shard[1]} is empty"
            )
        run = self.session.recorder.run()
        self.session.benchmarks.summarise(reporter)
        if run.verdicts:
            self._write_verdicts(reporter, run, in_full=in_full)
        self._write_file_names(reporter)
        if run.verdicts and is_github_job(os.environ):
            for text in annotation_lines(run):
                reporter.write_line(text)

    def _write_verdicts(
        self, reporter: pytest.TerminalReporter, run: Run, *, in_full: bool
    ) -> None:
        outcome = summary.outcome(run)
        width = min(terminal_width(), MAX_PROSE_WIDTH)
        reporter.write_sep("=", f"conformance of {self.session.plan.backend}")
        is_verbose = reporter.config.option.verbose > 0
        if is_verbose:
            _write_lines(reporter, table_lines(run, terminal_width()))
            reporter.write_line("")
        _write_lines(reporter, summary_lines(run, width, in_full=is_verbose))
        _write_lines(reporter, _budget_lines(run.verdicts), width)
        _write_lines(reporter, _unsupported_lines(run.verdicts), width)
        reporter.write_line("")
        style = _STYLES.get(outcome.name, "failed")
        _write_lines(reporter, [Line(outcome.headline, HEADING)] if outcome.headline else [], width)
        _write_lines(reporter, [Line(outcome.claim, HEADING)] if outcome.claim else [], width)
        for text in wrapped(outcome.sentence, width):
            reporter.write_line(text, **MARKUP[style], bold=True)
        _write_lines(reporter, _hidden_known_lines(run, in_full=is_verbose), width)
        if not run.identity.survey:
            _write_lines(reporter, _torch_report_lines(run), width)
        if not in_full:
            _write_lines(reporter, [Line("Every item's message in full: -v")], width)

    def _write_file_names(self, reporter: pytest.TerminalReporter) -> None:
        for line in self.session.recorder.trouble:
            reporter.write_line(f"not written: {visible(line)}", red=True, bold=True)
        for name, path in self.session.recorder.written.items():
            reporter.write_line(f"{name}: {path}")


def _wants_full_list(config: pytest.Config) -> bool:
    """Whether the user asks for pytest's own list of failures."""
    option = config.option
    return option.verbose > 0 or (option.reportchars, option.tbstyle) != _DEFAULT_REPORTING


def _write_lines(
    reporter: pytest.TerminalReporter,
    lines: Iterator[Line] | Sequence[Line],
    width: int | None = None,
) -> None:
    for line in lines:
        texts = [line.text] if width is None else wrapped(line.text, width)
        for text in texts:
            reporter.write_line(text, **MARKUP.get(line.style, {}))


def _budget_lines(verdicts: Sequence[Verdict]) -> Iterator[Line]:
    """The number of items that the budget stopped early."""
    stopped = [verdict.examples for verdict in verdicts if verdict.examples.stopped]
    if stopped:
        drawn, all_ = sum(e.drawn for e in stopped), sum(e.drawn + e.stopped for e in stopped)
        items = "1 item" if len(stopped) == 1 else f"{len(stopped)} items"
        yield Line(f"{items} stopped by budget, after {drawn} of {all_} examples")


def _unsupported_lines(verdicts: Sequence[Verdict]) -> Iterator[Line]:
    """What the backend declares unsupported, by layer, as the check `support` found."""
    for verdict in verdicts:
        reasons = verdict.examples.unsupported
        if verdict.check != "support" or not reasons:
            continue
        if verdict.status in summary.BAD:
            continue  # The causes of failure show it.
        if verdict.status == "unsupported":
            yield Line(f"declared unsupported, all of {verdict.id}: {', '.join(reasons)}")
            continue
        yield Line(f"declared unsupported, {verdict.id}")
        yield from (Line(f"  {line}") for line in (verdict.message or "").splitlines())


def _hidden_known_lines(run: Run, *, in_full: bool) -> Iterator[Line]:
    """The number of known failures that do not show here; with `-v` also their reasons."""
    reasons = summary.divergences(run).not_shown
    if reasons:
        count = f"{len(reasons)} known failure{'s do' if len(reasons) > 1 else ' does'}"
        places = ", ".join(run.identity.places.values())
        yield Line(f"{count} not show here ({places}): nothing fails for that")
        if in_full:
            yield from (Line(f"  {visible(reason)}") for reason in reasons)


def _survey_lines(run: Run) -> Iterator[Line]:
    """The last lines of a survey: the new divergences, their layers, and the next commands."""
    new = summary.divergences(run).new
    stale = [verdict.id for verdict in run.verdicts if is_stale(verdict)]
    if stale:
        others = f" and {len(stale) - 1} more" if len(stale) > 1 else ""
        yield Line(f"survey: a known failure passes where it was seen: {stale[0]}{others}", "known")
    if not new:
        yield Line("survey: no new divergence", "passed")
        return
    layers = list(dict.fromkeys(layer for bug in new for layer in bug.layers))
    names = ", ".join(
        (*layers[:MAX_NAMED_LAYERS], *(["…"] if len(layers) > MAX_NAMED_LAYERS else []))
    )
    count = f"{len(new)} new divergence{'s' if len(new) > 1 else ''}"
    yield Line(f"survey: {count}, in {names}", HEADING)
    results = run.identity.options.get("results")
    if results is None:
        yield Line("  with --conformance-results=FILE they can be listed and reported")
        return
    yield Line(f"  list:   nn-conformance known {results} --write known.toml")
    yield Line(f"  report: nn-conformance bug-report {results} {new[0].first.id}")


def _torch_report_lines(run: Run) -> Iterator[Line]:
    """How to list and report a failure that torch itself has."""
    for verdict in run.verdicts:
        is_torch_failure = run.identity.backend == "torch" and verdict.status in (
            "failed",
            "crashed",
            "hung",
        )
        is_suite_failure = verdict.failure is not None and verdict.failure.kind in (
            "stale",
            "internal",
        )
        if (is_torch_failure and not is_suite_failure) or verdict.reference == "torch: same":
            results = run.identity.options.get("results", "RESULTS")
            is_torch_bug = is_torch_failure or is_inherited(verdict)
            yield Line(
                "torch itself is wrong here: list it in a file for --conformance-known "
                "(docs/known-failures.md), and report it:"
                if is_torch_bug
                else "torch does the same here:"
            )
            yield Line(f"  nn-conformance bug-report {results} {verdict.id}")
            return
