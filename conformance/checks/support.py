"""`support`: the backend declines calls by a rule, and for the reason that it gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from conformance.checks.trial import Evidence, Trial
from conformance.generation.variants import varied
from conformance.layers.describe import case_text
from conformance.matching.decline_reasons import claims, topic
from conformance.matching.features import features, structure
from conformance.matching.rule_search import Table, format_rules, tightest
from conformance.model.case import Case, Unsupported
from conformance.model.failure import Failure
from conformance.model.finding import Finding

NOWHERE = "none; arguments, dimensions and sizes do not tell them from supported cases"
SHOWN = 6  # reasons listed for one topic


def check(trial: Trial) -> Evidence:
    """Ask three times whether a call is supported: twice the same, once with other values.

    A call is supported if the layer can be built, its inputs put and the call made; the outputs'
    values do not matter here.

    Raises:
        Failure: if the answers differ, or the backend accepts the call and fails.
        Unsupported: if the backend declines each time.
    """
    first = _declined(trial)
    for what, case in (
        ("the same call again", trial.case),
        ("the same call with its values in other places", varied(trial.case, 1)),
    ):
        again = _declined(trial.other(case))
        if (first is None) is not (again is None):
            reason = (again if first is None else first) or ""
            before, after = (
                ("supported", "declined") if first is None else ("declined", "supported")
            )
            raise Failure(Finding("support", "call", what, got=after, wanted=before, says=reason))
    if first is not None:
        raise Unsupported(first)
    return Evidence(3)


def _declined(trial: Trial) -> str | None:
    """The reason for which the call is declined; None if it is supported."""
    try:
        outputs = trial.outputs
    except Unsupported as declined:
        return str(declined) or "no reason given"
    for output in outputs:
        try:
            # A backend that computes lazily fails only here.
            trial.get(output)
        except Unsupported:
            continue  # a device that holds no values
    return None


@dataclass(frozen=True)
class Answer:
    """Whether one case is supported: `reason` says why it was declined; None = supported."""

    case: Case
    reason: str | None = None


@dataclass(frozen=True)
class Declared:
    """Cases that were declined for reasons that differ in values only.

    Args:
        topic: the common part of the reasons: `"stride=…"`.
        reasons: reason → number of cases declined for it.
        least: the least restrictive condition found that separates the declined cases from the
            supported ones; None if none was found.
        most: the conjunction of all that the declined cases have in common.
        contradictions: observations that show that a reason is not true.
        witness: a case of the first contradiction.
    """

    topic: str
    reasons: Mapping[str, int]
    least: str | None
    most: str
    contradictions: tuple[str, ...] = ()
    witness: Case | None = None

    @property
    def count(self) -> int:
        """Number of cases declined."""
        return sum(self.reasons.values())


@dataclass(frozen=True)
class Conclusion:
    """Conclusion from the answers to all cases of an item.

    Args:
        status: `"passed"`, `"failed"`, `"unsupported"` or `"unchecked"`.
        message: the table of declined topics, as text.
        declared: the topics, the one with most cases first.
        case: a case that contradicts a reason, if the status is failed.
    """

    status: str
    message: str
    declared: tuple[Declared, ...] = field(default=())
    case: Case | None = None


def conclude(answers: Sequence[Answer]) -> Conclusion:
    """Compare each reason with the declined and the supported cases of an item."""
    declared = survey(answers)
    declined = sum(line.count for line in declared)
    if not answers:
        return Conclusion("unchecked", "nothing was asked")
    contradicted = next((line for line in declared if line.contradictions), None)
    unexplained = [line for line in declared if line.least is None]
    if contradicted is not None:
        status = "failed"
    elif declined == len(answers):
        status = "unsupported"
    else:
        status = "unchecked" if unexplained else "passed"
    return Conclusion(
        status,
        "\n".join(_lines(declared, len(answers))),
        declared,
        contradicted.witness if contradicted else None,
    )


def _lines(declared: Sequence[Declared], asked: int) -> Iterator[str]:
    declined = sum(line.count for line in declared)
    yield (
        f"supported: {asked - declined} of {asked} cases ({(asked - declined) / asked:.1%}); "
        f"declined: {declined}"
    )
    for line in declared:
        yield f"{line.topic}: {_cases(line.count)} declined"
        if declined == asked:
            continue  # there are no supported cases to separate from
        if len(line.reasons) > 1:
            shown = [f"{reason} ({n})" for reason, n in list(line.reasons.items())[:SHOWN]]
            more = [f"{len(line.reasons) - SHOWN} more"] if len(line.reasons) > SHOWN else []
            yield f"  reasons: {', '.join(shown + more)}"
        yield f"  least restrictive condition found: {line.least or NOWHERE}"
        yield f"  most restrictive: {line.most}"
        for contradiction in line.contradictions:
            yield f"  contradicted: {contradiction}"


def survey(answers: Sequence[Answer]) -> tuple[Declared, ...]:
    """Group the declined cases of an item by topic, the topic with most cases first."""
    topics: dict[str, list[int]] = {}
    for index, answer in enumerate(answers):
        if answer.reason is not None:
            topics.setdefault(topic(answer.reason), []).append(index)
    if not topics:
        return ()
    table = Table([features(answer.case) for answer in answers])
    supported = np.array([answer.reason is None for answer in answers])
    ordered = sorted(topics.items(), key=lambda pair: -len(pair[1]))
    return tuple(_line(name, indices, answers, table, supported) for name, indices in ordered)


def _line(
    name: str, indices: list[int], answers: Sequence[Answer], table: Table, supported: np.ndarray
) -> Declared:
    chosen = np.zeros(len(answers), dtype=bool)
    chosen[indices] = True
    reasons = Counter(answers[k].reason or "" for k in indices)
    found = table.least(chosen, supported, _mentioned(name, table))
    contradictions, witness = _contradictions(indices, answers)
    least = None if found is None else format_rules(found)
    if least is None and not contradictions and all(map(claims, reasons)):
        least = "what each reason says"
    return Declared(
        name,
        dict(reasons.most_common()),
        least,
        format_rules([tightest(table.common(chosen))]),
        contradictions,
        witness,
    )


def _mentioned(name: str, table: Table) -> list[str]:
    """The arguments that a topic mentions."""
    names = {feature.split()[0].split(".")[0] for row in table.rows[:1] for feature in row}
    return [known for known in names if len(known) > 2 and known in name]


def _contradictions(
    indices: list[int], answers: Sequence[Answer]
) -> tuple[tuple[str, ...], Case | None]:
    found: list[tuple[str, Case]] = []
    supported = [answer.case for answer in answers if answer.reason is None]
    alike = {structure(case): case for case in supported}
    twins = [answers[k].case for k in indices if structure(answers[k].case) in alike]
    if twins:
        first = case_text(twins[0])
        text = f"{_cases(len(twins))} of a structure that was supported elsewhere, first {first}"
        found.append((text, twins[0]))
    by_reason: dict[str, list[Case]] = {}
    for k in indices:
        by_reason.setdefault(answers[k].reason or "", []).append(answers[k].case)
    for reason, cases in by_reason.items():
        found += _claimed(reason, cases, supported)
    return tuple(text for text, _ in found), found[0][1] if found else None


def _claimed(
    reason: str, cases: Sequence[Case], supported: Sequence[Case]
) -> Iterator[tuple[str, Case]]:
    """Contradictions between the arguments that a reason states and the arguments of cases."""
    stated = claims(reason)
    if not stated or not all(claim.about(case) for claim in stated for case in cases):
        return
    lacking = [case for case in cases if not all(claim.may_hold(case) for claim in stated)]
    if lacking:
        first = case_text(lacking[0])
        false = f"{len(lacking)} of its {_cases(len(cases))}"
        yield f"{reason!r} is not true of {false}, first {first}", lacking[0]
        return
    written = [claim.name for claim in stated if all(_written(claim.name, case) for case in cases)]
    against = [
        case
        for case in supported
        if all(claim.holds(case) for claim in stated)
        and all(_written(name, case) for name in written)
    ]
    if against:
        text = " and ".join(str(claim) for claim in stated)
        yield f"declined although {_cases(len(against))} with {text} were supported", cases[0]


def _written(name: str, case: Case) -> bool:
    return name in case.call.arguments or name in case.keywords


def _cases(number: int) -> str:
    return f"{number} case" if number == 1 else f"{number} cases"
