"""What a scoreboard keeps of runs whose results files are gone: `history.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from conformance.reports import summary
from conformance.reports.results import Run
from conformance.reports.text import cut

from conformance.model.case import Verdict
from conformance.model.files import open_file
from conformance.model.plain_text import bounded, visible
from conformance.model.usage_error import UsageError

MAX_BYTES = 64 << 20
"""The most bytes of a history that is read."""
MAX_CAUSES = 100
"""Causes of failure that are kept of a run."""
MAX_NAMES = 20
"""Layers that are kept of a cause."""


class HistoryError(UsageError, ValueError):
    """A file that is no history."""


class RecordedCause(msgspec.Struct, frozen=True):
    """Verdicts that are likely to have one cause, by their names: see `summary.Cluster`."""

    status: str
    title: str
    layers: tuple[str, ...]
    checks: tuple[str, ...]
    dtypes: tuple[str, ...]


class RecordedRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """One backend, in one version, on one device, on one day.

    Args:
        versions: of the framework: `"onnx 1.23.2, onnxruntime 1.32.0"`.
        suite: version or commit of the suite.
        day: when the run started: `"2026-12-01"`.
        items: selected items; the four counts are of their verdicts.
        failed: items with a failure that is not known, or in which nothing was compared.
        left_out: items that a time budget left no time for.
        minutes: wall time; None if the run was cut short.
        causes: of failures and known failures; kept of the newest run of a backend only.
    """

    backend: str
    day: str
    items: int
    passed: int
    known: int
    unsupported: int
    failed: int
    left_out: int = 0
    versions: str = ""
    suite: str = ""
    device: str = "cpu"
    profile: str = ""
    seed: int = 0
    examples: int = 0
    minutes: float | None = None
    causes: tuple[RecordedCause, ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """What tells two runs apart; a later run replaces an earlier one with the same key."""
        return (*self.series, self.day, self.versions, self.suite, self.seed)

    @property
    def series(self) -> tuple[str, str, int]:
        """Runs that a line of a chart may join: of as many cases, by the same backend."""
        return self.backend, self.device, self.examples

    @property
    def offered(self) -> int:
        """Items that the backend does not decline as a whole."""
        return self.passed + self.known + self.failed


class RecordedRelease(msgspec.Struct, frozen=True):
    """How the pinned cases of the findings of a framework end on one of its releases.

    Args:
        fails: findings that fail as listed.
        passes: findings that pass; others have nothing to say about this release.
    """

    backend: str
    version: str
    fails: int
    passes: int


class History(msgspec.Struct, frozen=True):
    """Runs in the order of their days, and releases from the oldest on."""

    runs: tuple[RecordedRun, ...] = ()
    releases: tuple[RecordedRelease, ...] = ()


def read_history(path: Path) -> History:
    """Read a history; an empty one if there is no file.

    Raises:
        HistoryError: if the file is no history.
    """
    if not path.exists():
        return History()
    with open_file(path, MAX_BYTES) as file:
        text = file.read()
    try:
        return msgspec.json.decode(text, type=History)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise HistoryError(f"{path} is no history of a scoreboard: {bounded(str(error))}") from None


def encode_history(history: History) -> str:
    """The history as JSON, a line for each record."""
    runs, releases = (
        ",\n".join(msgspec.json.encode(record).decode() for record in records)
        for records in (history.runs, history.releases)
    )
    return f'{{"runs": [\n{runs}\n],\n"releases": [\n{releases}\n]}}\n'


def add_runs(history: History, runs: Iterable[RecordedRun]) -> History:
    """Add runs; only the newest of each backend, device and number of cases keeps its causes."""
    by_key = {run.key: run for run in (*history.runs, *runs)}
    ordered = sorted(by_key.values(), key=lambda run: (run.day, *map(str, run.key)))
    newest = {run.series: run for run in ordered}
    trimmed = (
        run if newest[run.series] is run else msgspec.structs.replace(run, causes=())
        for run in ordered
    )
    return History(tuple(trimmed), history.releases)


def record_run(run: Run) -> Iterator[RecordedRun]:
    """What is kept of a run: a record for each device."""
    who = run.identity
    for device in summary.devices(run):
        verdicts = tuple(v for v in summary.unique_verdicts(run) if v.device == device)
        statuses = Counter(map(summary.status, verdicts))
        counts = {status: statuses[status] for status in ("passed", "known", "unsupported")}
        left_out = sum(map(summary.is_left_out, verdicts))
        yield RecordedRun(
            backend=visible(cut(who.backend)),
            day=visible(who.started[:10]),
            items=sum(item.endswith(f"-{device}") for item in who.items) or len(verdicts),
            failed=len(verdicts) - sum(counts.values()) - left_out,
            left_out=left_out,
            **counts,
            versions=visible(cut(name_versions(run))),
            suite=visible(cut(who.suite)),
            device=visible(cut(device)),
            profile=visible(cut(who.profile)),
            seed=who.seed,
            examples=who.examples,
            minutes=None if run.footer is None else round(run.footer.seconds / 60, 1),
            causes=tuple(_record_causes(run, verdicts)),
        )


def name_versions(run: Run) -> str:
    """The versions that a backend tells about itself: `"keras 3.15.1, torch 2.13.0"`."""
    info = run.identity.info
    versions = [f"{k} {v}" for k, v in info.items() if v[:1].isdigit() and k != "threads"]
    return ", ".join(versions) or f"torch {run.identity.torch or '–'}"


def _record_causes(run: Run, verdicts: tuple[Verdict, ...]) -> Iterator[RecordedCause]:
    for statuses in (summary.BAD, ("known",)):
        failing = [v for v in verdicts if summary.status(v) in statuses]
        for cluster in summary.clusters(failing, run.identity.layers)[:MAX_CAUSES]:
            names = (cluster.layers[:MAX_NAMES], cluster.checks, cluster.dtypes)
            layers, checks, dtypes = (tuple(visible(cut(x)) for x in group) for group in names)
            title = visible(cut(cluster.title))
            yield RecordedCause(cluster.status, title, layers, checks, dtypes)
