"""Write `docs/findings.md`, the list of what the suite has found, from the shipped known failures.

python tools/findings_seen.py torch mlx   # runs the pinned cases of these backends
python tools/findings_table.py
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from contract_tables import ranges
from findings import (
    BACKENDS,
    CLASSES,
    NO_BUG,
    ROOT,
    Bug,
    bugs,
    call_text,
    cut,
    pinned,
    seen,
)

from conformance.known.entry import Known
from conformance.layers import CATALOGUE, COMPLEX, DTYPES
from conformance.matching.fact_schema import layers_named

PAGE = ROOT / "docs" / "findings.md"

HEAD = """# What the suite has found

Genuine divergences from the documentation of torch, or from a framework's own documentation, by
backend and class. `tools/findings_table.py` writes this page from the [known
failures](../conformance/known_failures) that ship with the package. They hold conditions, pinned
cases and, for frameworks other than torch, a script for each. The page counts bugs, not failing
items: a bug of several layers, checks or dtypes counts once. A bug that torch has too stands with
torch. If somebody reported a bug before, the page links to the report.

Each bug has its smallest pinned call. If the call was run, its result and the expected value with
its bound follow; of an array the page shows the element with the largest error. A bug without a
call depends on the CPU, on memory or on chance.
"""
RESULT, NAMES = 100, 4
"""Characters of a result and layers to name, at most."""


def _code(text: str) -> str:
    """Inline code, also for text that holds a backtick."""
    fence = "``" if "`" in text else "`"
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _lines(bug: Bug, seen: Mapping[str, Any]) -> Iterator[str]:
    """A bug as an item of a Markdown list."""
    yield f"- **{_escaped(bug.what)}** \\"
    here, calls = seen.get(bug.key, {}), pinned(bug)
    called = here.get("call") or (call_text(calls[0][2]) if calls else "")
    yield f"  {'; '.join(_facts(bug, here))}" + (" \\" if called else "")
    if called:
        yield f"  {_code(called)}" + (f": {_result(here)}" if here else "")


def _facts(bug: Bug, here: Mapping[str, str]) -> Iterator[str]:
    """The layers, dtypes, CPUs, versions, backends and links of a bug."""
    yield _layers(bug.own)
    dtypes = {e.dtype for e in bug.own}
    if "*" not in dtypes:
        given = {x for d in dtypes for x in d.split(",")}
        yield ", ".join([x for x in (*DTYPES, *COMPLEX) if x in given])
    if all(e.cpu for e in bug.own):
        features = dict.fromkeys(x for e in bug.own for x in e.cpu)
        yield f"depends on the CPU ({', '.join(features)})"
    yield from dict.fromkeys(
        f"{package} {wanted}" for e in bug.own for package, wanted in e.versions.items()
    )
    if here:
        yield f"seen in {here['version']}"
    if len(bug.backends) > 1:
        yield f"also {', '.join(bug.backends[1:])}"
    links = dict.fromkeys(e.link for e in bug.own if e.link)
    yield from (f"[{_link(url)}]({url})" if url.startswith("http") else url for url in links)


def _layers(entries: Sequence[Known]) -> str:
    """The layers of entries; functions and lazy modules only if there are no others."""
    named = {name for e in entries for name in layers_named(e.layer)}
    modules = [x for x in CATALOGUE if x in named and "." not in x and not x.startswith("Lazy")]
    found = list(ranges(modules or [x for x in CATALOGUE if x in named]))
    more = f" and {len(found) - NAMES} more" if len(found) > NAMES else ""
    return ", ".join(found[:NAMES]) + more


def _result(here: Mapping[str, str]) -> str:
    what = f"{_escaped(here['what'])}" if here.get("what") else ""
    if here.get("says"):
        return ": ".join(x for x in (what, _escaped(cut(here["says"], 2 * RESULT))) if x)
    wanted = f", wanted {_code(cut(here['wanted'], RESULT))}"
    return f"{what} is {_code(cut(here['got'], RESULT))}{wanted}"


def _link(url: str) -> str:
    *_, repository, _, number = url.rstrip("/").split("/")
    return f"{repository} {number}"


def _escaped(text: str) -> str:
    """Escape the characters that Markdown would read as markup."""
    return "".join(f"\\{c}" if c in "*_<>[]`|" else c for c in text)


def _table(found: Sequence[Bug]) -> str:
    counts = Counter((bug.owner, bug.kind) for bug in found)
    head = "| | " + " | ".join(f"[{name}](#{name})" for name in BACKENDS) + " | all |"
    lines = [head, "|---|" + "---:|" * (len(BACKENDS) + 1)]
    for kind, meaning in CLASSES.items():
        row = [counts[name, kind] for name in BACKENDS]
        cells = " | ".join(str(n or "") for n in row)
        lines.append(f"| **{kind}**: {meaning} | {cells} | {sum(row)} |")
    totals = [sum(bug.owner == name for bug in found) for name in BACKENDS]
    cells = " | ".join(f"**{n}**" for n in (*totals, sum(totals)))
    return "\n".join([*lines, f"| **all** | {cells} |"])


def page(seen: Mapping[str, Any]) -> str:
    """The text of the page.

    Args:
        seen: key of a bug → the outcome of its pinned case, from `SEEN`.
    """
    all_of = bugs()
    found = [bug for bug in all_of if bug.kind != NO_BUG]
    lines = [HEAD, _table(found)]
    for name in BACKENDS:
        lines.append(f"\n## {name}")
        for kind in CLASSES:
            of_kind = [bug for bug in found if (bug.owner, bug.kind) == (name, kind)]
            if of_kind:
                lines.append(f"\n### {name}: {kind}\n")
                lines += [line for bug in of_kind for line in _lines(bug, seen)]
    none = [bug for bug in all_of if bug.kind == NO_BUG]
    lines.append("\n## Listed, and no bug\n")
    lines += [f"- {bug.owner}: {_escaped(bug.what)}" for bug in none]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(seen()), encoding="utf-8")
