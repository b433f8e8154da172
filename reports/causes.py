"""The cause of a failing verdict: the kind of failure, its numbers, and what it needs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conformance.reports.statuses import status

from conformance.model.case import Verdict
from conformance.model.cause import NEEDS
from conformance.model.checks import facts_of
from conformance.model.finding import IN_TRAIN_MODE, OPERANDS_PREFIX
from conformance.model.finding_text import (
    bound_text,
    element_phrase,
    error_text,
    kind_and_part,
    tensor_phrase,
)
from conformance.model.layer_facts import LayerFacts

# Digits in a backend's message belong to the case.
_DIGITS = re.compile(r"[+-]?\d[\d.,e+-]*|\[[^\]]*\]|\([^)]*\)")
MAX_READ = 1000
"""Characters of a message's first line that are read."""
MAX_KEY = 120
"""Characters of it that distinguish causes."""
# Kinds with one cause for each subject, and kinds that only their message distinguishes.
_BY_SUBJECT = ("count", "names", "attribute", "random", "contract", "allowance", "unchecked")
_BY_MESSAGE = ("stale", "lost", "internal", "other")


@dataclass(frozen=True)
class Numbers:
    """Got and wanted, as a page shows them.

    Args:
        what: the worst element, or the fact that is wrong.
        got, wanted: as text.
        bound, error: as text; empty where there is no number.
        arrays: name, got and wanted of each array shown as an excerpt.
    """

    what: str
    got: str
    wanted: str
    bound: str = ""
    error: str = ""
    arrays: tuple[tuple[str, str, str], ...] = ()


def numbers(verdict: Verdict) -> Numbers | None:
    """Got, wanted and bound of a failure; None if there are none, or they were not recorded."""
    failure = verdict.failure
    if failure is None or not (failure.got and failure.wanted):
        return None
    arrays = () if failure.excerpt is None else ((tensor_phrase(failure), *failure.excerpt),)
    return Numbers(
        f"{failure.during}: {element_phrase(failure)}"
        if failure.during
        else element_phrase(failure),
        failure.got,
        failure.wanted,
        "" if failure.bound is None else bound_text(failure.bound),
        "" if failure.error is None else error_text(failure.error),
        arrays,
    )


def small_operands(verdict: Verdict) -> str:
    """The numbers of small inputs and state of the minimal call; empty if there are none."""
    notes = () if verdict.failure is None else verdict.failure.notes
    return next((note.strip() for note in notes if note.startswith(OPERANDS_PREFIX)), "")


def law_statement(verdict: Verdict) -> str:
    """The line that names the law that does not hold, and what it states; else empty."""
    failure = verdict.failure
    if failure is None or not failure.law:
        return ""
    return next((line for line in failure.context if line.startswith("law ")), "")


def manner_key(verdict: Verdict) -> tuple[str, ...]:
    """A key for the manner of failing, without wording and without numbers of the case."""
    failure = verdict.failure
    if status(verdict) == "known":
        return "known", *(_reasons(verdict) or (_first_line(verdict),))
    if failure is None:
        return "message", _first_line(verdict)
    if failure.kind == "refusal":
        return failure.kind, failure.what, failure.exception
    if failure.kind == "exception":
        return failure.kind, failure.exception, _message_without_numbers(verdict)
    if failure.kind == "lost" and failure.frame:
        return failure.kind, failure.frame, _message_without_numbers(verdict)
    if failure.kind in _BY_MESSAGE:
        return failure.kind, _message_without_numbers(verdict)
    return failure.kind, failure.what if failure.kind in _BY_SUBJECT else "", failure.during


def title(verdict: Verdict) -> str:
    """The kind of failure, in words."""
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
        return f"raises {failure.exception}{step}: {first_line[:MAX_READ]}"
    return kind_and_part(failure)


def _reasons(verdict: Verdict) -> tuple[str, ...]:
    return tuple(excuse.reason for excuse in verdict.excuses if excuse.excused)


def _message_without_numbers(verdict: Verdict) -> str:
    """The backend's message for a failure, without the numbers of the case."""
    says = "" if verdict.failure is None else verdict.failure.says
    return _DIGITS.sub("…", says.partition("\n")[0][:MAX_READ])[:MAX_KEY]


def _first_line(verdict: Verdict) -> str:
    """The message's first line after the call; files of schema 1 and 2 have nothing else."""
    first_line = (verdict.message or "").removeprefix(f"{verdict.call}\n")
    return first_line.partition("\n")[0][:MAX_READ].strip() or status(verdict)


def needed_arguments(verdict: Verdict, facts: LayerFacts) -> tuple[str, ...]:
    """The names of the arguments that a failure depends on, without sizes.

    A word is part of the name: `"mode='bicubic'"`. Other words make other calls.
    """
    if facts_of(verdict.check).invalid:
        return ()  # the arguments are what makes the call invalid
    if verdict.needs:
        needs = [need for need in verdict.needs if not need.fails]
        names = {_with_word(need.argument, need.value) for need in needs}
    else:
        names = _non_default_arguments(verdict.case, facts)
    failure = verdict.failure
    if failure is not None and (failure.kind == "random" or failure.during == IN_TRAIN_MODE):
        names.add("training")  # the check sets it
    return tuple(sorted(x for x in names - set(facts.sizes) if "." not in x.partition("=")[0]))


def _with_word(name: str, value: str) -> str:
    """The name of an argument, with its value if that is a word in quotation marks."""
    return f"{name}={value}" if value.startswith("'") else name


def _non_default_arguments(case: Mapping[str, Any] | None, facts: LayerFacts) -> set[str]:
    """The arguments of the minimal case that differ from their defaults."""
    call = case.get("call") if isinstance(case, dict) else None
    arguments = call.get("arguments") if isinstance(call, dict) else None
    if not isinstance(arguments, dict) or not isinstance(case, dict):
        return set()
    keywords = case.get("keywords")
    names = set(keywords) if isinstance(keywords, dict) else set()
    for name, value in arguments.items():
        unpacked = value.get("tuple") if isinstance(value, dict) else value
        values = unpacked if isinstance(unpacked, list) else [unpacked]
        is_default = name in facts.defaults and all(v == facts.defaults[name] for v in values)
        if not is_default:
            names.add(_with_word(str(name), repr(unpacked)))
    return names


def needed_conditions(verdict: Verdict) -> tuple[str, ...]:
    """The conditions that a failure needs, as phrases: `"groups > 1"`."""
    return tuple(need.phrase for need in verdict.needs if not need.fails)


def needs_relation(verdict: Verdict) -> str:
    """The words before the conditions that a failure needs, by the evidence: `"needs"`."""
    return NEEDS if verdict.share is None else verdict.share.relation


def independent_arguments(verdict: Verdict) -> tuple[str, ...]:
    """The arguments that were changed without removing the failure."""
    return tuple(dict.fromkeys(need.argument for need in verdict.needs if need.fails))
