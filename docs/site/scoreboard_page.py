"""The example scoreboard: the runs of the shipped backends, and their findings by release."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
from backends_table import DATA_FILE
from conformance.reports.history import History, RecordedRelease, RecordedRun, add_runs
from conformance.reports.scoreboard_site import write_scoreboard
from measured import read
from packaging.version import Version
from versions_seen import SEEN

from conformance.commands.replayed import FAILS, PASSES

FOLDER = "scoreboard"
"""Folder of the scoreboard in the site."""


def make_scoreboard(folder: Path) -> None:
    """Write the scoreboard of the repository's data."""
    runs = msgspec.convert(read(DATA_FILE)["runs"], list[RecordedRun])
    write_scoreboard(folder, add_runs(History(releases=tuple(releases())), runs))


def releases() -> Iterator[RecordedRelease]:
    """The releases of each framework that the findings were run on, from the oldest on."""
    for backend, facts in read(SEEN).items():
        for version in sorted(facts["releases"], key=Version):
            ends = Counter(outcomes.get(version) for outcomes in facts["findings"].values())
            yield RecordedRelease(backend, version, ends[FAILS], ends[PASSES])
