"""The page of findings by release, `docs/versions.md`, from `docs/data/versions.json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from findings import ROOT
from findings_table import escape
from measured import read, table
from packaging.version import Version
from versions_seen import SEEN

from conformance.commands.replayed import FAILS, NOT_INSTALLED, OTHERWISE, PASSES, UNTRIED

PAGE = ROOT / "docs" / "versions.md"
HEAD = """# Since when

For maintainers of a framework, and for users who choose a release: when a divergence came and went.

Written by `tools/versions_table.py` from [versions.json](data/versions.json). Every cell is a run
of the pinned calls of a [finding](findings.md) on that release; none is inferred. Findings whose
calls fail by chance are left out. `nn-conformance bisect` does the same for one failure of yours
([commands](commands.md#since-when)). [Reports](reports) of the worst are ready to be sent.

✗ fails as listed, ≠ fails in another way, ✓ passes, · nothing to say: the release lacks the layer
or the option, or declines the call.
"""
SYMBOLS = {FAILS: "✗", OTHERWISE: "≠", PASSES: "✓", NOT_INSTALLED: "?"}


def history(outcomes: Mapping[str, str], versions: Sequence[str]) -> tuple[str, str]:
    """The release with which a finding came, and that in which it was mended; empty if unknown.

    Only a failure as listed and a pass count. A finding that fails in the oldest release has no
    beginning here.
    """
    known = [(v, outcomes[v]) for v in versions if outcomes.get(v) in (FAILS, PASSES)]
    began = [v for (_, before), (v, x) in pairwise(known) if (before, x) == (PASSES, FAILS)]
    ended = [v for (_, before), (v, x) in pairwise(known) if (before, x) == (FAILS, PASSES)]
    return ", ".join(began), ", ".join(ended)


def _sections(backend: str, facts: Mapping[str, Any]) -> Iterator[str]:
    versions = sorted(facts["releases"], key=Version)
    rows = {
        key: outcomes for key, outcomes in facts["findings"].items() if FAILS in outcomes.values()
    }
    histories = {key: history(outcomes, versions) for key, outcomes in rows.items()}
    cells = sum(x != UNTRIED for outcomes in rows.values() for x in outcomes.values())
    minutes = sum(x["seconds"] for x in facts["releases"].values()) / 60
    began = Counter(began for began, _ in histories.values() if began)
    ended = Counter(ended for _, ended in histories.values() if ended)
    newest = sum(outcomes.get(versions[-1]) == FAILS for outcomes in rows.values())
    yield f"## {backend}\n"
    yield (
        f"{len(rows)} findings on {len(versions)} releases: {cells:,} cells, run in "
        f"{minutes:.0f} minutes on {facts['place']}. In {versions[-1]}: {newest}; came after "
        f"{versions[0]}: {sum(began.values())}; mended: {sum(ended.values())}.\n"
    )
    changed = sorted(
        (key for key in rows if any(histories[key])),
        key=lambda key: [Version(x.split(", ")[0]) if x else Version("0") for x in histories[key]],
    )
    order = [*changed, *(key for key in rows if key not in changed)]
    cells_of = {
        key: [SYMBOLS.get(rows[key].get(version, ""), "·") for version in versions] for key in order
    }
    yield table(
        ["finding", "came with", "mended in", *versions],
        [[escape(key), *histories[key], *cells_of[key]] for key in order],
        left=3,
    )


def page() -> str:
    """The text of the page."""
    parts = [HEAD]
    for backend, facts in read(SEEN).items():
        parts.append("\n".join(_sections(backend, facts)) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
