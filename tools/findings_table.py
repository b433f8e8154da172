"""The page of findings, `docs/findings.md`, from the known failures that ship; run, it writes.

python tools/findings_seen.py torch mlx   # runs the pinned cases of these backends
python tools/findings_table.py            # writes the page
python tools/findings_table.py --all      # prints every finding
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from contract_tables import shorten_dimensions
from findings import (
    BACKENDS,
    CLASSES,
    NO_BUG,
    ROOT,
    Bug,
    bugs,
    call_text,
    pinned_cases,
    read_outcomes,
    shorten,
)
from measured import DATA, read

from conformance.known.entry import KnownFailure
from conformance.layers import CATALOGUE, COMPLEX, DTYPES
from conformance.matching.fact_schema import find_layers

PAGE = ROOT / "docs" / "findings.md"
GRAVEST = DATA / "gravest.json"
"""The gravest findings, written by hand: key → what is wrong, in plain words."""

HEAD = """# What the suite has found

For users who meet a strange result, and for maintainers of a framework: is it a known bug?

Written by `tools/findings_table.py` from the [known
failures](../conformance/known_failures) that ship with the package. A bug of several layers,
checks or dtypes counts once. What other backends do as torch does counts for torch only.
"""
MORE = """
## See all of them

- The [files of known failures](../conformance/known_failures) have the conditions of each, pinned
  calls and links to reports. For frameworks other than torch they also have scripts.
- `python tools/findings_table.py --all` prints each finding with its smallest call, the result and
  the expected one. The documentation site has that page, and lists the findings of each layer.
- `nn-conformance known --seen FILE` runs the pinned calls of a file, and adds your machine to those
  that fail.

## The gravest
"""
FULL_HEAD = """# All findings

For users and maintainers of a framework who look for a divergence: each with its smallest call.

By backend and class, from [the known failures](../conformance/known_failures) that ship with the
package. What other backends do as torch does stands with torch. A bug reported before is linked.

Each finding has the smallest pinned call and, where it ran, the result, the expected one and the
bound. Of arrays it is the element that is farthest off. A finding without a call depends on the
CPU, on memory or on chance.
"""
RESULT, NAMES = 100, 4
"""Characters of a result and layers to name, at most."""


def _inline_code(text: str) -> str:
    """Inline code, also for text that holds a backtick."""
    fence = "``" if "`" in text else "`"
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _bug_lines(bug: Bug, outcomes: Mapping[str, Any]) -> Iterator[str]:
    """A bug as an item of a Markdown list."""
    yield f"- **{escape(bug.what)}** \\"
    outcome, calls = outcomes.get(bug.key, {}), pinned_cases(bug)
    call = outcome.get("call") or (call_text(calls[0][2]) if calls else "")
    yield f"  {'; '.join(_bug_facts(bug, outcome))}" + (" \\" if call else "")
    if call:
        yield f"  {_inline_code(call)}" + (f": {_result_text(outcome)}" if outcome else "")


def _bug_facts(bug: Bug, outcome: Mapping[str, str]) -> Iterator[str]:
    """Layers, dtypes, CPUs, versions, backends, links."""
    yield from _where(bug)
    if all(e.cpu for e in bug.owner_entries):
        features = dict.fromkeys(x for e in bug.owner_entries for x in e.cpu)
        yield f"depends on the CPU ({', '.join(features)})"
    yield from dict.fromkeys(
        f"{package} {wanted}" for e in bug.owner_entries for package, wanted in e.versions.items()
    )
    if outcome:
        yield f"seen in {outcome['version']}"
    if len(bug.backends) > 1:
        yield f"also {', '.join(bug.backends[1:])}"
    yield from _links(bug)


def _where(bug: Bug) -> Iterator[str]:
    """Layers and dtypes."""
    yield _layers_text(bug.owner_entries)
    dtypes = {e.dtype for e in bug.owner_entries}
    if "*" not in dtypes:
        given = {x for d in dtypes for x in d.split(",")}
        yield ", ".join([x for x in (*DTYPES, *COMPLEX) if x in given])


def _links(bug: Bug) -> Iterator[str]:
    """Reports of the bug before."""
    links = dict.fromkeys(e.link for e in bug.owner_entries if e.link)
    yield from (f"[{_link_text(url)}]({url})" if url.startswith("http") else url for url in links)


def _layers_text(entries: Sequence[KnownFailure]) -> str:
    """The layers of entries; functions and lazy modules only if there are no others."""
    names = {name for e in entries for name in find_layers(e.layer)}
    modules = [x for x in CATALOGUE if x in names and "." not in x and not x.startswith("Lazy")]
    texts = list(shorten_dimensions(modules or [x for x in CATALOGUE if x in names]))
    suffix = f" and {len(texts) - NAMES} more" if len(texts) > NAMES else ""
    return ", ".join(texts[:NAMES]) + suffix


def _result_text(outcome: Mapping[str, str]) -> str:
    what = f"{escape(outcome['what'])}" if outcome.get("what") else ""
    if outcome.get("says"):
        return ": ".join(x for x in (what, escape(shorten(outcome["says"], 2 * RESULT))) if x)
    wanted = f", wanted {_inline_code(shorten(outcome['wanted'], RESULT))}"
    return f"{what} is {_inline_code(shorten(outcome['got'], RESULT))}{wanted}"


def _link_text(url: str) -> str:
    *_, repository, _, number = url.rstrip("/").split("/")
    return f"{repository} {number}"


def escape(text: str) -> str:
    """Escape the characters that Markdown would read as markup."""
    return "".join(f"\\{c}" if c in "*_<>[]`|" else c for c in text)


def _counts_table(findings: Sequence[Bug]) -> str:
    counts = Counter((bug.owner, bug.kind) for bug in findings)
    head = "| | " + " | ".join(f"[{name}](#{name})" for name in BACKENDS) + " | all |"
    lines = [head, "|---|" + "---:|" * (len(BACKENDS) + 1)]
    for kind, meaning in CLASSES.items():
        row = [counts[name, kind] for name in BACKENDS]
        cells = " | ".join(str(n or "") for n in row)
        lines.append(f"| **{kind}**: {meaning} | {cells} | {sum(row)} |")
    totals = [sum(bug.owner == name for bug in findings) for name in BACKENDS]
    cells = " | ".join(f"**{n}**" for n in (*totals, sum(totals)))
    return "\n".join([*lines, f"| **all** | {cells} |"])


def page() -> str:
    """The text of `docs/findings.md`: counts, and the gravest findings."""
    all_bugs = {bug.key: bug for bug in bugs()}
    gravest = read(GRAVEST)
    lines = [HEAD, _counts_table([bug for bug in all_bugs.values() if bug.kind != NO_BUG]), MORE]
    for name in BACKENDS:
        lines.append(f"### {name}\n")
        lines += [
            f"- {', '.join([f'**{all_bugs[key].kind}**', *_where(all_bugs[key])])}: {text}"
            + "".join(f"; {link}" for link in _links(all_bugs[key]))
            for key, text in gravest.items()
            if all_bugs[key].owner == name
        ]
        lines.append("")
    return "\n".join(lines)


def full_page(seen: Mapping[str, Any]) -> str:
    """Every finding, for the site.

    Args:
        seen: from `SEEN`: finding → result of its pinned case.
    """
    all_of = bugs()
    found = [bug for bug in all_of if bug.kind != NO_BUG]
    lines = [FULL_HEAD, _counts_table(found)]
    for name in BACKENDS:
        lines.append(f"\n## {name}")
        for kind in CLASSES:
            of_kind = [bug for bug in found if (bug.owner, bug.kind) == (name, kind)]
            if of_kind:
                lines.append(f"\n### {name}: {kind}\n")
                lines += [line for bug in of_kind for line in _bug_lines(bug, seen)]
    none = [bug for bug in all_of if bug.kind == NO_BUG]
    lines.append("\n## Listed, and no bug\n")
    lines += [f"- {bug.owner}: {escape(bug.what)}" for bug in none]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the page, or print every finding."""
    parser = argparse.ArgumentParser(description="Writes docs/findings.md.")
    parser.add_argument("--all", action="store_true", help="print every finding, write nothing")
    if parser.parse_args(arguments).all:
        print(full_page(read_outcomes()), end="")
    else:
        PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
