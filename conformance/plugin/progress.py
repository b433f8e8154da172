"""Progress of a long run: a live line on a terminal, a line every half minute in a log."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

import pytest

from conformance.plugin.shared import VERDICT_PROPERTY

if TYPE_CHECKING:
    from conformance.plugin.shared import SessionLike

# Seconds between two lines of a log, and between two states of the live line.
LOG_INTERVAL = 30.0
# Share of the items after which the time left is estimated: the first ones take longer, because the
# backend loads, and so does a layer whose failures are made small.
MIN_DONE = 0.1
REDRAW_INTERVAL = 0.1
ERASE_LINE = "\r\x1b[2K"


class Progress:
    """Shows the items done, the failures so far and the time left.

    On a terminal a single line replaces pytest's letters and is redrawn. Elsewhere the letters
    stay, with whole lines between them, so that a log holds no carriage return.

    Args:
        session: the suite's session on the controller.
    """

    def __init__(self, session: SessionLike) -> None:
        self.session = session
        self.total = len(session.items)
        self.last_shown = time.monotonic()
        self._first_verdict: float | None = None
        self._quiet = False
        self._drawn = False

    @property
    def terminal(self) -> Any:
        """pytest's terminal reporter; None if there is none."""
        return self.session.config.pluginmanager.get_plugin("terminalreporter")

    @property
    def live(self) -> bool:
        """Whether a single line is redrawn."""
        reporter = self.terminal
        return bool(reporter and reporter.isatty and self.session.config.option.verbose <= 0)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Lower the total if pytest deselected items. With xdist only the workers collect."""
        if session.items:
            self.total = min(self.total, len(session.items))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> Generator[None, None, None]:
        """Update the progress after an item; the live line replaces the item's letter."""
        is_item = any(key == VERDICT_PROPERTY for key, _ in report.user_properties)
        self._quiet = is_item and self.live
        try:
            yield
        finally:
            self._quiet = False
        if is_item and report.when == "call":
            if self._first_verdict is None:
                self._first_verdict = time.monotonic()
            self.show()

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Generator[None, Any, Any]:
        """Hide pytest's letter and word while the live line is shown."""
        status = yield
        return (status[0], "", "") if self._quiet and status else status

    def show(self) -> None:
        """Show the progress if enough time has passed since the last line."""
        now, reporter = time.monotonic(), self.terminal
        live = self.live
        if reporter is None or now - self.last_shown < (REDRAW_INTERVAL if live else LOG_INTERVAL):
            return
        self.last_shown = now
        if live:
            width = max(reporter._tw.fullwidth - 1, 20)
            reporter.write(ERASE_LINE + self.status_line(now)[:width], flush=True)
            self._drawn = True
        else:
            if reporter._tw.width_of_current_line:
                reporter.line("")
            reporter.write_line(f"conformance: {self.status_line(now)}")

    def status_line(self, now: float) -> str:
        """Describe the progress: `120 of 1046 items (11%), 3 failing, about 4 min left`.

        The time left is counted from the first verdict on.

        Args:
            now: the present time of `time.monotonic`.
        """
        recorder = self.session.recorder
        done_count = len(recorder.verdicts)
        total = max(self.total, done_count)
        percent = 100 * done_count // total if total else 100
        started = now if self._first_verdict is None else self._first_verdict
        seconds_left = (now - started) / max(done_count - 1, 1) * (total - done_count)
        remaining_text = (
            f", about {format_duration(seconds_left)} left"
            if MIN_DONE * total <= done_count < total
            else ""
        )
        word = "differing" if self.session.settings.survey else "failing"
        return f"{done_count} of {total} items ({percent}%), {recorder.bad} {word}{remaining_text}"

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        """Erase the live line."""
        if self._drawn:
            self.terminal.write(ERASE_LINE, flush=True)


def format_duration(seconds: float) -> str:
    """Format a duration roughly: `40 s`, `4 min`, `1 h 10 min`."""
    if seconds < 60:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
