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
from conformance.commands.environments import package_of
from conformance.commands.replay import backend_process
from conformance.isolation.process import Child, ChildDied
from conformance.items.planning import Item
from conformance.known.entry import KnownFailure, matches_globs, with_dtype_and_device
from conformance.layers import CATALOGUE
from conformance.model.case import Case

MAX_MESSAGE_LENGTH = 200
"""Characters of an exception's message, at most."""


def case_outcome(child: Child, bug: findings.Bug, device: str) -> dict[str, str] | None:
    """The outcome of the smallest pinned case that fails as its entry says; None without one.

    Args:
        child: the process that runs the cases.
        bug: the finding whose cases are tried.
        device: a device of the backend.
    """
    for entry, check, pinned in findings.pinned_cases(bug):
        case = with_dtype_and_device(pinned, pinned.call.dtype, device)
        for name in [check] if check else _applicable_checks(entry, case):
            outcome = _try_case(child, entry, name, case)
            if outcome is not None:
                return {"call": findings.call_text(case), "check": name, **outcome}
    return None


def _applicable_checks(entry: KnownFailure, case: Case) -> list[str]:
    spec, invalid = CATALOGUE[case.call.layer], "broken" in case.labels
    return [
        name
        for name, check in EVERY_CHECK.items()
        if check.invalid == invalid and check.applies(spec) and matches_globs(name, entry.check)
    ]


def _try_case(child: Child, entry: KnownFailure, check: str, case: Case) -> dict[str, str] | None:
    if entry.status == "hung":
        return None
    call = case.call
    try:
        outcome = child.outcome(Item(call.layer, check, call.dtype, call.device), case)
    except ChildDied as died:
        return {"says": f"{died.status}: {died.cause}"} if died.status == entry.status else None
    if outcome.failure is None or entry.status != "failed":
        return None
    if not fnmatch.fnmatchcase(outcome.message, entry.said):
        return None
    return _failure_facts(asdict(outcome.failure), outcome.message)


def _failure_facts(failure: dict[str, Any], message: str) -> dict[str, str]:
    """The facts of a failure for the page: got and wanted numbers, or what the backend says."""
    facts: dict[str, str] = {}
    if failure["exception"]:
        step = "" if failure["accepted"] else f"{failure['what']} raised "
        says = findings.shorten(failure["says"], MAX_MESSAGE_LENGTH)
        facts["says"] = f"{step}{failure['exception']}: {says}"
    elif failure["kind"] == "refusal":
        facts["says"] = "accepted"
    elif failure["got"] and failure["wanted"]:
        where = failure["where"]
        index = f"[{', '.join(map(str, where))}]" if where else ""
        kind = f"{failure['kind']} of " if failure["kind"] in ("shape", "dtype", "sign") else ""
        during = " ".join(x for x in (failure["when"], failure["during"]) if x)
        facts["what"] = f"{kind}{failure['what']}{index}{during and f' ({during})'}"
        facts["got"], facts["wanted"] = str(failure["got"]), str(failure["wanted"])
        if failure["bound"] not in (None, 0):
            bound = failure["bound"]
            facts["wanted"] += f" ± {bound if isinstance(bound, str) else format(bound, '.2g')}"
    else:
        facts["says"] = message.splitlines()[-1]
    if failure["law"]:
        facts["what"] = f"law {failure['law']}: {facts.get('what', '')}".rstrip(": ")
    return facts


COMMENT = {"$comment": "Written by `tools/findings_seen.py`."}


def main(names: list[str]) -> None:
    """Run the cases of the named backends, and update the file."""
    outcomes_by_key = findings.read_outcomes() if findings.SEEN.exists() else {}
    all_bugs = [bug for bug in findings.bugs() if bug.kind != findings.NO_BUG]
    keys = {bug.key for bug in all_bugs if bug.owner not in names}
    outcomes_by_key = {key: value for key, value in outcomes_by_key.items() if key in keys}
    for name in names:
        backend = load(name)
        info, device = info_of(backend), devices_of(backend)[0]
        package = package_of(name, info)
        version = f"{package} {info[package].partition('-')[0]}"
        with backend_process(name) as child:
            for bug in all_bugs:
                outcome = case_outcome(child, bug, device) if bug.owner == name else None
                if outcome is not None:
                    outcomes_by_key[bug.key] = {"version": version, **outcome}
    text = json.dumps(
        {**COMMENT, **dict(sorted(outcomes_by_key.items()))}, ensure_ascii=False, indent=1
    )
    findings.SEEN.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
