"""The outcome of a run: one word, and sentences that explain it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from conformance.reports.claim import claim
from conformance.reports.divergences import divergences
from conformance.reports.lead_sentence import lead_sentence
from conformance.reports.results import Run
from conformance.reports.statuses import (
    BAD,
    SEVERITY,
    count_statuses,
    has_run_error,
    is_left_out,
    is_run_error,
    is_stale,
    items_without_verdict,
)

from conformance.model.shards import missing_shard_names, parse_shards

CONFORMANT = "conformant"
NOT_CONFORMANT = "not conformant"
INCOMPLETE = "incomplete"
NOTHING_PASSED = "nothing passed"
SURVEYED = "surveyed"
WENT_WRONG = "survey went wrong"


@dataclass(frozen=True)
class RunOutcome:
    """The outcome of a run in one word, and sentences that explain it.

    Args:
        name: `CONFORMANT`, `NOT_CONFORMANT`, `INCOMPLETE` or `NOTHING_PASSED`; for a survey
            `SURVEYED`, `WENT_WRONG` or `INCOMPLETE`.
        reason: the counts behind the name, with their totals.
        gap: why the run is incomplete; empty for a complete one.
        missing: ids of the items without a verdict.
        headline: the backend, the share of cases that conform, how many divergences are known
            and new, and the gaps; empty if nothing was checked.
        claim: what the run shows about the standard that it is checked against; empty without one.
        lead: one sentence for readers who know neither checks nor items.
        untested: the checks that compared nothing or too little, as sentences; else empty.
    """

    name: str
    reason: str
    gap: str
    missing: tuple[str, ...]
    headline: str = ""
    claim: str = ""
    lead: str = ""
    untested: str = ""

    @property
    def sentence(self) -> str:
        """The reason, followed by the gap."""
        return f"{self.reason} {self.gap}".rstrip()


def outcome(run: Run) -> RunOutcome:
    """Judge a run, complete or not."""
    status_counts = count_statuses(run)
    total = sum(status_counts.values())
    without_verdict = items_without_verdict(run)
    gap = _gap(run, without_verdict)
    bad = [name for name in BAD if status_counts[name]]
    if run.identity.survey and total and not gap:
        name = WENT_WRONG if has_run_error(run) else SURVEYED
        summary = _survey_summary(run, status_counts, total)
    elif bad and (status_counts["passed"] or bad != ["unchecked"]):
        name = NOT_CONFORMANT
        number = _join([f"{status_counts[name]:d} {name}" for name in bad])
        summary = (
            f"Of {_items(total)}, {number}; {_number_or_none(status_counts['passed'])} passed."
        )
    elif gap:
        name = INCOMPLETE
        passed = _number_or_none(status_counts["passed"]).capitalize()
        summary = f"{passed} of {_items(total)} passed so far."
    elif not status_counts["passed"] and not status_counts["known"]:
        name = NOTHING_PASSED
        other_counts = _join(
            [f"{status_counts[name]:d} {name}" for name in SEVERITY if status_counts[name]]
        )
        summary = f"Of {_items(total)} none passed: {other_counts}." if total else _empty(run)
    else:
        name = CONFORMANT
        summary = (
            f"{_number_or_none(status_counts['passed'])} of {_items(total)} passed, none failed."
        )
        summary = summary[0].upper() + summary[1:]
    if status_counts["passed"] and status_counts["unsupported"]:
        summary += f" The backend does not support {status_counts['unsupported']:d}."
    if status_counts["known"]:
        summary += (
            f" {status_counts['known']:d} failed in part, as listed among the known failures."
        )
    if run.identity.shard != "1/1":
        summary += (
            f" This is shard {run.identity.shard}: {len(run.identity.items):d} of the whole run's"
            f" {_items(run.identity.total)}."
        )
    conformant = name == CONFORMANT or (name == SURVEYED and not bad)
    claim_sentence = claim(run, conformant=conformant)
    gaps = [f"{text[0].upper()}{text[1:]}." for text in divergences(run).gaps]
    return RunOutcome(
        name,
        summary,
        gap,
        without_verdict,
        _headline(run),
        claim_sentence,
        lead_sentence(run),
        " ".join(gaps),
    )


def _survey_summary(run: Run, number: Mapping[str, int], total: int) -> str:
    """Count the items of a survey that conform, differ, are stale, or went wrong."""
    errors = sum(map(is_run_error, run.verdicts))
    stale = sum(map(is_stale, run.verdicts))
    left_out = sum(map(is_left_out, run.verdicts))
    differing = sum(number[name] for name in BAD) - errors - stale - left_out
    parts = [f"{number['passed']:d} of {_items(total)} conform"]
    if differing:
        verb = "differs" if differing == 1 else "differ"
        parts.append(f"{differing:d} {verb} in a way that is not listed")
    parts += [f"of {stale:d} a known failure has gone stale"] if stale else []
    parts += [f"the time budget left out {left_out:d}"] if left_out else []
    parts += [f"in {errors:d} the run itself went wrong"] if errors else []
    return f"{'; '.join(parts)}."


def _headline(run: Run) -> str:
    totals = divergences(run)
    if not totals.checked:
        return ""
    who = run.identity
    version = who.info.get(who.backend) or ""
    return f"{f'{who.backend} {version}'.rstrip()}: {totals.headline}."


def _gap(run: Run, without_verdict: tuple[str, ...]) -> str:
    gaps = []
    if run.footer is None:
        gaps.append("the results have no last line, so the session was cut short or still runs")
    elif run.footer.verdicts > len(run.verdicts):
        gaps.append(f"{run.footer.verdicts - len(run.verdicts):d} verdicts cannot be read")
    if without_verdict:
        verb = "has" if len(without_verdict) == 1 else "have"
        total = len(set(run.identity.items))
        gaps.append(f"{len(without_verdict):d} of {_items(total)} {verb} no verdict")
    if missing_shards := _shards_missing(run.identity.shard):
        gaps.append(
            f"shard{'' if len(missing_shards) == 1 else 's'} {', '.join(missing_shards)} missing"
        )
    text = "; ".join(gaps)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _shards_missing(shard: str) -> tuple[str, ...]:
    """The shards that a merged run lacks; a single shard counts as a run of its own."""
    try:
        present, count = parse_shards(shard)
    except ValueError:  # a run that was not read from a file
        return ()
    return missing_shard_names(present, count) if 1 < len(present) < count else ()


def _empty(run: Run) -> str:
    timed = f": it holds benchmarks, {len(run.benchmarks):d}" if run.benchmarks else ""
    return f"The run holds no verdict{timed}."


def _items(number: int) -> str:
    return f"{number:d} item" if number == 1 else f"{number:d} items"


def _number_or_none(number: int) -> str:
    return f"{number:d}" if number else "none"


def _join(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
