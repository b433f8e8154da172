"""Runs entries of the hostile catalogue, each in an empty folder, and reports deviations.

`tox -e hostile` runs a sixth of the entries, others each day; `tox -e hostile-all` runs all. The
exit status is 1 if any entry deviates.
"""

from __future__ import annotations

import argparse
import fnmatch
import importlib
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TypeVar

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from hostile.attempt import attempt  # noqa: E402
from hostile.entry import Entry  # noqa: E402
from hostile.table import render  # noqa: E402

T = TypeVar("T")


def catalogue() -> dict[str, tuple[Entry, ...]]:
    """The entries by theme.

    Raises:
        ValueError: if two entries have the same name.
    """
    paths = sorted([*HERE.glob("backends_*.py"), *HERE.glob("files_*.py")])
    themes = {p.stem: importlib.import_module(f"hostile.{p.stem}").ENTRIES for p in paths}
    count = Counter(entry.name for entries in themes.values() for entry in entries)
    duplicates = [name for name, number in count.items() if number > 1]
    if duplicates:
        raise ValueError(f"several entries have the same name: {', '.join(duplicates)}")
    return themes


def daily_share(entries: list[T], every: int, offset: int) -> list[T]:
    """One entry out of `every`; `every` consecutive offsets cover all entries."""
    return entries[offset % every :: every]


def _parse_positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of entries, 1 or more")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run entries and print their deviations."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2, help="number of entries at once")
    parser.add_argument("--only", default="*", help="a glob of names")
    parser.add_argument("--theme", default="*", help="a glob of themes: backends_*")
    parser.add_argument(
        "--point", type=int, help="number of a kind of hostile input (POINTS in table.py)"
    )
    parser.add_argument(
        "--every", type=_parse_positive, default=1, metavar="N", help="one entry of N"
    )
    parser.add_argument(
        "--offset",
        type=int,
        help="index of the first entry (default: another one each day)",
    )
    parser.add_argument("--python", default=sys.executable, help="the interpreter to test")
    parser.add_argument("--output", type=Path, help="JSON lines to write")
    parser.add_argument("--table", type=Path, help="Markdown to write")
    parser.add_argument("--before", type=Path, help="earlier JSON lines, for the table")
    options = parser.parse_args(arguments)
    chosen = [
        (theme, entry)
        for theme, entries in catalogue().items()
        for entry in entries
        if fnmatch.fnmatchcase(theme, options.theme)
        and fnmatch.fnmatchcase(entry.name, options.only)
        and options.point in (None, entry.point)
    ]
    offset = date.today().toordinal() if options.offset is None else options.offset
    chosen = daily_share(chosen, options.every, offset)
    if options.every > 1:
        print(f"one entry of {options.every}: --every {options.every} --offset {offset}")
    if not chosen:
        parser.error("no entry meets --only, --theme, --point, --every")
    for path in filter(None, (options.output, options.table)):
        path.parent.mkdir(parents=True, exist_ok=True)
    started, outcomes = time.perf_counter(), []
    with (
        ThreadPoolExecutor(options.jobs) as pool,
        open(options.output or os.devnull, "w", encoding="utf-8") as file,
    ):
        for outcome in pool.map(lambda pair: attempt(*pair, options.python), chosen):
            outcomes.append(outcome)
            print(json.dumps(asdict(outcome)), file=file, flush=True)
            for deviation in outcome.deviations:
                print(f"{outcome.name}: {' | '.join(deviation.splitlines())}", flush=True)
    if options.table:
        lines_before = () if options.before is None else options.before.read_text().splitlines()
        earlier = [json.loads(line) for line in lines_before]
        options.table.write_text(render([asdict(x) for x in outcomes], earlier), encoding="utf-8")
    as_expected = sum(not outcome.deviations for outcome in outcomes)
    print(
        f"tried {len(outcomes)}, as expected {as_expected}, "
        f"seconds {time.perf_counter() - started:.0f}"
    )
    return 0 if as_expected == len(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
