"""Reports that are ready to be sent, `docs/reports/`: the worst findings, one file each.

    python tools/issue_reports.py results/torch.jsonl

Memory errors, ends of the process and wrong numbers come first, and of these the gravest of
`docs/data/gravest.json`. Each report is that of `nn-conformance bug-report`, with the releases of
`docs/data/versions.json` in which the finding shows. A finding whose pinned call does not fail on
this machine has none.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from conformance.reports import bug_report
from conformance.reports.results import Run
from conformance.reports.results import read as read_results
from findings import ROOT, Bug, bugs, pinned_cases
from findings_table import GRAVEST
from measured import read
from packaging.version import Version
from versions_seen import SEEN

from conformance.commands.explanation import Explanation, explain
from conformance.commands.replayed import FAILS, PASSES
from conformance.model.case import Excuse

FOLDER = ROOT / "docs" / "reports"
COUNT = 20
KINDS = ("memory", "crash", "hang", "wrong value", "wrong gradient")
TRIED = 3
"""Pinned calls of a finding that run, at most: one that hangs takes a minute."""
SCRIPT_LINES = 100
"""Lines of a script, at most: who reads a report runs a short one."""


def candidates(backend: str) -> list[Bug]:
    """The findings of a backend that the newest release still has, the gravest first."""
    gravest, facts = list(read(GRAVEST)), read(SEEN).get(backend, {"releases": {}, "findings": {}})
    newest = max(facts["releases"], key=Version, default="")
    mended = {key for key, x in facts["findings"].items() if x.get(newest) == PASSES}
    own = [
        bug
        for bug in bugs()
        if bug.owner == backend and bug.kind in KINDS and f"{bug.kind}: {bug.what}" not in mended
    ]
    return sorted(
        own,
        key=lambda bug: (
            gravest.index(bug.key) if bug.key in gravest else len(gravest),
            KINDS.index(bug.kind),
        ),
    )


def explain_finding(run: Run, bug: Bug) -> Explanation | None:
    """Of a few pinned calls that fail here the one with the shortest script; None without one."""
    explanations = list[Explanation]()
    # A call whose values are wrong says more than the same in another check.
    cases = sorted(pinned_cases(bug), key=lambda x: "values" not in (x[1] or x[0].check))
    for entry, check, case in cases[:TRIED]:
        check = check or next(x for x in entry.check.split(",") if x != "shape")
        id = f"{case.call.layer}-{check}-{case.call.dtype}-{case.call.device}"
        verdict = replace(
            run.verdicts[0],
            id=id, layer=case.call.layer, check=check, dtype=case.call.dtype,
            device=case.call.device, status="known", case=None, reproducer=None, message="",
            failure=None, call=None, excuses=(Excuse(entry.reason, entry.link, 1, 1),),
        )  # fmt: skip
        subject = explain(replace(run, verdicts=(verdict,)), id)
        fails = subject.failure is not None or entry.ends_process
        is_alone = "from conformance" not in str(subject.script)
        if subject.message and subject.script and fails and is_alone:
            explanations.append(replace(subject, reason=f"{bug.kind}: {bug.what}"))
            if entry.status == "hung":
                break
    return min(explanations, key=lambda x: len(str(x.script).splitlines()), default=None)


def earlier_issues(bug: Bug) -> Iterator[str]:
    """The section of issues and pull requests about the finding, or that a search found none."""
    links = sorted({entry.link for entry in bug.owner_entries if entry.link})
    yield "\n## Known already\n"
    yield from (f"- <{link}>" for link in links)
    if not links:
        yield "A search of the framework's issues and pull requests found nothing about this."


def releases(bug: Bug) -> Iterator[str]:
    """The section of the releases in which the finding shows."""
    facts = read(SEEN).get(bug.owner, {})
    outcomes = facts.get("findings", {}).get(f"{bug.kind}: {bug.what}", {})
    failing = sorted((v for v, x in outcomes.items() if x == FAILS), key=Version)
    passing = sorted((v for v, x in outcomes.items() if x == PASSES), key=Version)
    if failing:
        yield "\n## Releases\n"
        yield f"The calls of this finding were run on each. They fail in {', '.join(failing)}" + (
            f", and pass in {', '.join(passing)}." if passing else "; in none do they pass."
        )


def main(path: Path) -> None:
    """Write the reports of the backend of a results file, in place of those that are there."""
    run = read_results(path)
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.md"):
        old.unlink()
    written = 0
    for bug in candidates(run.identity.backend):
        if written == COUNT:
            break
        subject = explain_finding(run, bug)
        if subject is None or len(str(subject.script).splitlines()) > SCRIPT_LINES:
            continue
        written += 1
        words = re.findall(r"[a-z0-9]+", f"{subject.verdict.layer} {bug.kind}".lower())
        text = bug_report.render(replace(run, verdicts=(subject.verdict,)), subject).rstrip()
        name = f"{written:02}-{'-'.join(words)}.md"
        (FOLDER / name).write_text(
            "\n".join([text, *earlier_issues(bug), *releases(bug), ""]), encoding="utf-8"
        )
        print(name)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
