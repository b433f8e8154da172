"""What a failing verdict says of its cause: the kind of failure, the numbers, what it needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conformance.reports.statuses import status

from conformance.model.case import Verdict
from conformance.model.checks import facts_of
from conformance.model.finding import IN_TRAIN_MODE
from conformance.model.finding_text import bound_text, element, error_text, named, words
from conformance.model.layer_facts import LayerFacts

# Digits of what a backend says are those of the case.
_DIGITS = re.compile(r"[+-]?\d[\d.,e+-]*|\[[^\]]*\]|\([^)]*\)")
LONGEST = 1000
"""Characters of a line that are looked at."""
SHOWN = 120
"""Characters of it that tell one cause from another."""
# Kinds that are one cause for each thing that they are about, and those that only words tell.
_NAMED = ("count", "names", "attribute", "random", "contract", "allowance", "unchecked")
_VERBATIM = ("stale", "lost", "internal", "other")


@dataclass(frozen=True)
class Numbers:
    """What was got in place of what, as a page shows it.

    Args:
        what: the worst element, or the fact that is wrong.
        got, wanted: as text.
        bound, error: empty where it is no number.
        arrays: name, got and wanted of each array of which an excerpt is shown.
    """

    what: str
    got: str
    wanted: str
    bound: str = ""
    error: str = ""
    arrays: tuple[tuple[str, str, str], ...] = ()


def numbers(verdict: Verdict) -> Numbers | None:
    """Got, wanted and bound of a failure; None where there are none, or they were not recorded."""
    failure = verdict.failure
    if failure is None or not (failure.got and failure.wanted):
        return None
    arrays = () if failure.excerpt is None else ((named(failure), *failure.excerpt),)
    return Numbers(
        f"{failure.during}: {element(failure)}" if failure.during else element(failure),
        failure.got,
        failure.wanted,
        "" if failure.bound is None else bound_text(failure.bound),
        "" if failure.error is None else error_text(failure.error),
        arrays,
    )


def manner(verdict: Verdict) -> tuple[str, ...]:
    """How it fails, whatever the words for it and the numbers of its case."""
    failure = verdict.failure
    if status(verdict) == "known":
        return "known", *(_reasons(verdict) or (_first_line(verdict),))
    if failure is None:
        return "message", _first_line(verdict)
    if failure.kind == "refusal":
        return failure.kind, failure.what, failure.exception
    if failure.kind == "exception":
        return failure.kind, failure.exception, _says(verdict)
    if failure.kind == "lost" and failure.frame:
        return failure.kind, failure.frame, _says(verdict)
    if failure.kind in _VERBATIM:
        return failure.kind, _says(verdict)
    return failure.kind, failure.what if failure.kind in _NAMED else "", failure.during


def title(verdict: Verdict) -> str:
    """What kind of failure it is, in words."""
    failure = verdict.failure
    if status(verdict) == "known":
        reasons = _reasons(verdict)
        return f"known failure: {'; '.join(reasons)}" if reasons else _first_line(verdict)
    if failure is None:
        return _first_line(verdict)
    if failure.kind == "refusal":
        how = f"refused by {failure.exception}" if failure.exception else "not refused"
        return f"invalid call {how}: {failure.what}"
    if failure.exception:
        first_line = failure.says.partition("\n")[0]
        step = f" in {failure.what}" if failure.what == "build" else ""
        return f"raises {failure.exception}{step}: {first_line[:LONGEST]}"
    return words(failure)


def _reasons(verdict: Verdict) -> tuple[str, ...]:
    return tuple(excuse.reason for excuse in verdict.excuses if excuse.excused)


def _says(verdict: Verdict) -> str:
    """What the backend says of a failure, without the numbers of the case."""
    says = "" if verdict.failure is None else verdict.failure.says
    return _DIGITS.sub("…", says.partition("\n")[0][:LONGEST])[:SHOWN]


def _first_line(verdict: Verdict) -> str:
    """Files of schema 1 and 2 have a message and no more: its first line after the call."""
    first_line = (verdict.message or "").removeprefix(f"{verdict.call}\n")
    return first_line.partition("\n")[0][:LONGEST].strip() or status(verdict)


def signature(verdict: Verdict, facts: LayerFacts) -> tuple[str, ...]:
    """The names of the arguments that a failure hangs on, sizes left out."""
    if facts_of(verdict.check).invalid:
        return ()  # an invalid call's arguments are its fault
    if verdict.needs:
        names = {need.argument for need in verdict.needs if not need.fails}
    else:
        names = _unusual(verdict.case, facts)
    failure = verdict.failure
    if failure is not None and (failure.kind == "random" or failure.during == IN_TRAIN_MODE):
        names.add("training")  # the check sets it
    return tuple(sorted(name for name in names - set(facts.sizes) if "." not in name))


def _unusual(case: Mapping[str, Any] | None, facts: LayerFacts) -> set[str]:
    """Where nothing was tried: the arguments of the minimal case that are not the defaults."""
    call = case.get("call") if isinstance(case, dict) else None
    arguments = call.get("arguments") if isinstance(call, dict) else None
    if not isinstance(arguments, dict) or not isinstance(case, dict):
        return set()
    keywords = case.get("keywords")
    names = set(keywords) if isinstance(keywords, dict) else set()
    for name, value in arguments.items():
        rich = value.get("tuple") if isinstance(value, dict) else value
        values = rich if isinstance(rich, list) else [rich]
        plain = name in facts.defaults and all(v == facts.defaults[name] for v in values)
        if not plain:
            names.add(str(name))
    return names


def needed(verdict: Verdict) -> tuple[str, ...]:
    """What a failure needs, a phrase each: `"groups > 1"`."""
    return tuple(need.words for need in verdict.needs if not need.fails)


def independent_of(verdict: Verdict) -> tuple[str, ...]:
    """The arguments that were changed, and the failure stayed."""
    return tuple(dict.fromkeys(need.argument for need in verdict.needs if need.fails))
