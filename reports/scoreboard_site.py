"""The scoreboard of many days as static files: an index, and a page and a badge a backend."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import Path

from conformance.reports.badge import COLOURS, draw_badge
from conformance.reports.charts import trend
from conformance.reports.history import (
    History,
    RecordedRelease,
    RecordedRun,
    add_runs,
    encode_history,
    read_history,
    record_run,
)
from conformance.reports.merge import merge_shards
from conformance.reports.page import render_page
from conformance.reports.results import Run
from conformance.reports.scoreboard import Board
from conformance.reports.scoreboard_html import percent, render, width
from conformance.reports.summary import CONFORMANT, NOT_CONFORMANT, NOTHING_PASSED
from conformance.reports.text import cut, grouped, share
from markupsafe import Markup

from conformance.model.files import write_atomically
from conformance.model.plain_text import visible

HISTORY = "history.json"
SHEETS = ("base", "media", "scoreboard")
LAYERS_PAGE = "layers.html"


@dataclass(frozen=True)
class Chart:
    """A line over time.

    Args:
        range: the values at the bottom and at the top, in words.
    """

    title: str
    range: str
    drawing: Markup


@dataclass(frozen=True)
class BackendHistory:
    """All that is known of one backend on one device.

    Args:
        name: `"jax"`, or `"jax · cuda"` for another device than the CPU.
        file: name of its page and of its badge, without a suffix.
        runs: newest first.
        releases: from the oldest on.
    """

    name: str
    file: str
    runs: tuple[RecordedRun, ...] = ()
    releases: tuple[RecordedRelease, ...] = ()

    @property
    def newest(self) -> RecordedRun | None:
        """The newest run; None if only releases are known."""
        return self.runs[0] if self.runs else None

    @property
    def conforming(self) -> Fraction:
        """Share of the items that it offers that passed in the newest run."""
        return conforming(self.runs[0])


def update_scoreboard(folder: Path, runs: Iterable[Run], board: Board | None = None) -> Path:
    """Add runs to the scoreboard in a folder, and write its files; return the index.

    Args:
        folder: has the history of earlier runs, if there is one.
        runs: of any backend, version and day; shards of a run are merged.
        board: layers × backends, if the runs are comparable.
    """
    records = (record for run in merge_shards(runs) for record in record_run(run))
    return write_scoreboard(folder, add_runs(read_history(folder / HISTORY), records), board)


def write_scoreboard(folder: Path, history: History, board: Board | None = None) -> Path:
    """Write the files of a scoreboard; return the index."""
    files = {HISTORY: encode_history(history), **render_site(history, board)}
    if board is None:
        (folder / LAYERS_PAGE).unlink(missing_ok=True)
    for name, text in files.items():
        write_atomically(folder / name, text)
    return folder / "index.html"


def render_site(history: History, board: Board | None = None) -> Mapping[str, str]:
    """The pages and badges by file name; the same history and board give the same files."""
    backends = tuple(group_history(history))
    files = {
        "index.html": render_page(
            "scoreboard_index.html",
            SHEETS,
            (),
            backends=backends,
            charts=_charts,
            layers_page=LAYERS_PAGE if board is not None else "",
            **_FORMATS,
        )
    }
    if board is not None:
        files[LAYERS_PAGE] = render(board)
    for backend in backends:
        files[f"{backend.file}.html"] = render_page(
            "scoreboard_backend.html",
            SHEETS,
            (),
            backend=backend,
            charts=_charts(backend),
            release_charts=_release_charts(backend.releases),
            **_FORMATS,
        )
        if backend.newest is not None:
            files[f"{backend.file}.svg"] = _badge(backend.newest)
    return files


def group_history(history: History) -> Iterator[BackendHistory]:
    """The records by backend and device, in the order of their names."""
    keys = {(run.backend, run.device) for run in history.runs}
    with_runs = {backend for backend, _ in keys}
    keys |= {(x.backend, "cpu") for x in history.releases if x.backend not in with_runs}
    for backend, device in sorted(keys):
        runs = [run for run in history.runs if (run.backend, run.device) == (backend, device)]
        releases = tuple(x for x in history.releases if x.backend == backend)
        name = backend if device == "cpu" else f"{backend} · {device}"
        yield BackendHistory(name, _file_name(name), tuple(reversed(runs)), releases)


def _file_name(name: str) -> str:
    """A name for files; names with unusual characters get a hash, so that none are alike."""
    plain = re.sub(r"[^a-z0-9-]+", "-", name, flags=re.ASCII)[:60].strip("-")
    if plain == name and name not in ("index", "layers"):
        return name
    return f"{plain}-{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"


def conforming(run: RecordedRun) -> Fraction:
    """Share of the offered items that passed."""
    return Fraction(run.passed, run.offered) if run.offered else Fraction(0)


def _charts(backend: BackendHistory) -> Sequence[Chart]:
    """Charts of the runs with as many cases as the newest, if they are of several days."""
    runs = [
        run
        for run in reversed(backend.runs)
        if run.series == backend.runs[0].series and _ordinal(run.day)
    ]
    if len({run.day for run in runs}) < 2:
        return ()
    shares = [conforming(run) for run in runs]
    most = max(run.failed for run in runs)
    return (
        Chart(
            "items that pass, of those that it offers",
            f"{percent(min(shares))} to {percent(max(shares))}",
            trend(
                [
                    (_ordinal(run.day), float(passing), f"{run.day}: {percent(passing)}")
                    for run, passing in zip(runs, shares, strict=True)
                ],
                float(min(shares)),
                float(max(shares)),
            ),
        ),
        Chart(
            "items with failures that are not listed",
            f"0 to {grouped(most)}",
            trend(
                [(_ordinal(run.day), run.failed, f"{run.day}: {run.failed}") for run in runs],
                0,
                max(most, 1),
            ),
        ),
    )


def _release_charts(releases: Sequence[RecordedRelease]) -> Sequence[Chart]:
    if len(releases) < 2:
        return ()
    counts = [release.fails for release in releases]
    points = [(k, x.fails, f"{x.version}: {x.fails}") for k, x in enumerate(releases)]
    return (
        Chart(
            "findings that fail, by release",
            f"{grouped(min(counts))} to {grouped(max(counts))}",
            trend(points, min(counts), max(counts)),
        ),
    )


def _ordinal(day: str) -> int:
    """The number of a day; 0 if it is none."""
    try:
        return date.fromisoformat(day).toordinal()
    except ValueError:
        return 0


def _badge(run: RecordedRun) -> str:
    if run.failed:
        text, colour = f"{run.failed} failing", COLOURS[NOT_CONFORMANT]
    elif run.passed:
        text = f"{share(run.passed, run.offered)} of {run.offered} items pass"
        colour = COLOURS[CONFORMANT]
    else:
        text, colour = "nothing passed", COLOURS[NOTHING_PASSED]
    return draw_badge(f"nn-conformance {visible(cut(run.backend, 30))}", text, colour)


_FORMATS = {"percent": percent, "width": width, "conforming": conforming}
