"""What comes out of the pinned cases of known failures: `docs/data/findings.json`.

    python tools/findings_seen.py torch torch-meta torch-compile onnxruntime onnx-reference mlx

The cases run on the named backends in separate processes. The file keeps the outcomes of other
backends. It has no outcome of a case that does not fail on this CPU or that never returns.
"""

from __future__ import annotations

import fnmatch
import json
import sys
from dataclasses import asdict
from typing import Any

import findings

from conformance.backends.capabilities import devices_of, info_of
from conformance.backends.registry import load
from conformance.checks import EVERY_CHECK
from conformance.commands.replay import process_of
from conformance.isolation.process import Child, Died
from conformance.items.planning import Item
from conformance.known.entry import Known, named, on
from conformance.layers import CATALOGUE
from conformance.model.case import Case

LONGEST = 200
"""Characters of an exception's message, at most."""


def outcomes(child: Child, bug: findings.Bug, device: str) -> dict[str, str] | None:
    """The outcome of the smallest pinned case that fails as its entry says; None without one.

    Args:
        child: the process that runs the cases.
        bug: the finding whose cases are tried.
        device: a device of the backend.
    """
    for entry, check, pinned in findings.pinned(bug):
        case = on(pinned, pinned.call.dtype, device)
        for name in [check] if check else _checks(entry, case):
            found = _tried(child, entry, name, case)
            if found is not None:
                return {"call": findings.call_text(case), "check": name, **found}
    return None


def _checks(entry: Known, case: Case) -> list[str]:
    row, invalid = CATALOGUE[case.call.layer], "broken" in case.labels
    return [
        name
        for name, check in EVERY_CHECK.items()
        if check.invalid == invalid and check.applies(row) and named(name, entry.check)
    ]


def _tried(child: Child, entry: Known, check: str, case: Case) -> dict[str, str] | None:
    if entry.status == "hung":
        return None
    call = case.call
    try:
        outcome = child.outcome(Item(call.layer, check, call.dtype, call.device), case)
    except Died as died:
        return {"says": f"{died.status}: {died.how}"} if died.status == entry.status else None
    if outcome.failure is None or entry.status != "failed":
        return None
    if not fnmatch.fnmatchcase(outcome.message, entry.said):
        return None
    return _shown(asdict(outcome.failure), outcome.message)


def _shown(failure: dict[str, Any], message: str) -> dict[str, str]:
    """The facts of a failure for the page: got and wanted numbers, or what the backend says."""
    found: dict[str, str] = {}
    if failure["exception"]:
        step = "" if failure["accepted"] else f"{failure['what']} raised "
        says = findings.cut(failure["says"], LONGEST)
        found["says"] = f"{step}{failure['exception']}: {says}"
    elif failure["kind"] == "refusal":
        found["says"] = "accepted"
    elif failure["got"] and failure["wanted"]:
        where = failure["where"]
        at = f"[{', '.join(map(str, where))}]" if where else ""
        kind = f"{failure['kind']} of " if failure["kind"] in ("shape", "dtype", "sign") else ""
        during = " ".join(x for x in (failure["when"], failure["during"]) if x)
        found["what"] = f"{kind}{failure['what']}{at}{during and f' ({during})'}"
        found["got"], found["wanted"] = str(failure["got"]), str(failure["wanted"])
        if failure["bound"] not in (None, 0):
            bound = failure["bound"]
            found["wanted"] += f" ± {bound if isinstance(bound, str) else format(bound, '.2g')}"
    else:
        found["says"] = message.splitlines()[-1]
    if failure["law"]:
        found["what"] = f"law {failure['law']}: {found.get('what', '')}".rstrip(": ")
    return found


COMMENT = {"$comment": "Written by `tools/findings_seen.py`."}


def main(names: list[str]) -> None:
    """Run the cases of the named backends, and update the file."""
    seen = findings.seen() if findings.SEEN.exists() else {}
    all_of = [bug for bug in findings.bugs() if bug.kind != findings.NO_BUG]
    keys = {bug.key for bug in all_of if bug.owner not in names}
    seen = {key: value for key, value in seen.items() if key in keys}
    for name in names:
        backend = load(name)
        info, device = info_of(backend), devices_of(backend)[0]
        package = next((x for x in info if name.startswith(x)), next(iter(info)))
        version = f"{package} {info[package].partition('-')[0]}"
        with process_of(name) as child:
            for bug in all_of:
                found = outcomes(child, bug, device) if bug.owner == name else None
                if found is not None:
                    seen[bug.key] = {"version": version, **found}
    text = json.dumps({**COMMENT, **dict(sorted(seen.items()))}, ensure_ascii=False, indent=1)
    findings.SEEN.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
