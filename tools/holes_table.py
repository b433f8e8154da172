"""Results of `tools/holes.py`, in `docs/data/holes.json`: how many, and those that no check saw.

    python tools/holes.py --jobs 2 -o holes.json
    python tools/holes_table.py holes.json

Mistakes that a check saw are counted. The others are listed, and those within the widest entries.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from measured import DATA, read, table, write

from conformance.checks import CHECKS
from conformance.known.entry import KnownFailure, load_entries, matches_globs
from conformance.layers import CATALOGUE

DATA_FILE = DATA / "holes.json"
RESULTS = (
    "seen", "seen by another check", "seen in another dtype", "hidden", "torch's own", "not reached"
)  # fmt: skip
UNSEEN = ("hidden", "torch's own", "not reached")
WIDEST = 30
"""Entries of which each mistake is kept: those that apply to the most items."""
DTYPES = ("float32", "float64", "bfloat16", "float16")


def width(entry: KnownFailure) -> int:
    """The number of items that an entry applies to on one device."""
    names = ((CATALOGUE, entry.layer), (CHECKS, entry.check), (DTYPES, entry.dtype))
    return math.prod(sum(matches_globs(x, globs) for x in known) for known, globs in names)


def summarise(
    mistakes: Iterable[Mapping[str, Any]], widths: Sequence[int], **run: str
) -> dict[str, Any]:
    """The facts that are kept of a run of `tools/holes.py`.

    Args:
        mistakes: as the tool writes them.
        widths: of the entries, by their index.
        run: further facts.
    """
    counts: dict[str, Counter[str]] = {}
    unseen, seen_entries, entries = [], set[int](), dict[int, list[Mapping[str, Any]]]()
    for mistake in mistakes:
        name, result = mistake["mistake"], mistake["result"]
        counts.setdefault(name, Counter())[result] += 1
        entries.setdefault(mistake["entry"], []).append(mistake)
        if result in UNSEEN:
            unseen.append([mistake["layer"], name, result, mistake["cases"], mistake["reason"]])
        else:
            seen_entries.add(mistake["entry"])
    widest = sorted(entries, key=lambda index: -widths[index])[:WIDEST]
    return {
        **run,
        "entries": len(widths),
        "examined entries": len(entries),
        "entries with a mistake that is seen": len(seen_entries),
        "counts": counts,
        "widest": [
            [widths[index], x["layer"], x["mistake"], x["result"], _first_place(x), x["reason"]]
            for index in widest
            for x in entries[index]
        ],
        "unseen": unseen,
    }


def _first_place(mistake: Mapping[str, Any]) -> str:
    """The first check, with its dtype, that sees a mistake, and how many more do."""
    places = [x for name in ("seen", "checks", "dtypes") for x in mistake[name]]
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"{places[0]}{more}" if places else ""


def section() -> str:
    """The section of `docs/evidence.md`: counts by mistake and result."""
    facts = read(DATA_FILE)
    rows = [
        [name, *(counts.get(result, 0) for result in RESULTS)]
        for name, counts in facts["counts"].items()
    ]
    totals = [sum(row[k] for row in rows) for k in range(1, len(RESULTS) + 1)]
    return f"""\
A backend of base torch inherits torch's known failures. An entry must excuse what torch does, and
nothing else. So a backend makes a mistake in just those cases that an entry of torch covers, one
after the other. *Seen*: a check fails that the entry names. *Seen by another check*, or *in another
dtype*, if the mistake is made there, too: the entry's own checks pass the mistake, or excuse it.
*Hidden*: every failure is excused. *torch's own*: torch fails in the same way on each case, so that
nothing remains to be hidden. *Not reached*: no drawn case meets the conditions, or none shows the
mistake. Where none of the first mistakes is seen, calls that torch refuses are answered, or the
state is wrong. Of {facts["entries"]} entries {facts["examined entries"]} were examined, and in
{facts["entries with a mistake that is seen"]} of them a mistake is seen.

{table(("mistake", *RESULTS), [*rows, ["all", *totals]])}

Measured with {facts["place"]} in some 40 CPU-minutes. `python tools/holes.py
--jobs 2 -o holes.json` examines every entry again, `python tools/holes_table.py holes.json` keeps
the results."""


def full_page() -> str:
    """The site's page with the mistakes within the widest entries, and those that no check saw."""
    facts = read(DATA_FILE)
    widest_head = ("items", "layer", "mistake", "result", "seen by", "known failure")
    unseen_head = ("layer", "mistake", "result", "cases", "known failure")
    return (
        "# Mistakes within known failures\n\n"
        "For those who ask what a known failure of torch could hide.\n\n"
        f"## The {WIDEST} entries that apply to the most items\n\n"
        f"{table(widest_head, map(_cells, facts['widest']), left=6)}\n\n"
        "## Mistakes that no check saw\n\n"
        f"{table(unseen_head, map(_cells, facts['unseen']), left=5)}\n"
    )


def _cells(row: Sequence[object]) -> list[str]:
    return [str(cell).replace("|", "\\|") for cell in row]


def main(path: str) -> None:
    """Keep the results of a file of `tools/holes.py`."""
    run = json.loads(Path(path).read_text(encoding="utf-8"))
    widths = [width(entry) for entry in load_entries("holes", base="torch")]
    facts = summarise(run["mistakes"], widths, place=run["place"])
    write(DATA_FILE, "tools/holes_table.py", facts)


if __name__ == "__main__":
    main(sys.argv[1])
    import evidence

    evidence.write_page()
