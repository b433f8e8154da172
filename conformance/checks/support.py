"""`support`: the backend declines calls by a rule, and for the reason that it gives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from conformance.checks.trial import Evidence, Trial
from conformance.generation.variants import permuted
from conformance.layers.describe import case_text
from conformance.matching.decline_reasons import parse_claims, reason_topic
from conformance.matching.features import features, structure
from conformance.matching.rule_search import FeatureTable, format_rules, simplify_terms
from conformance.model.case import Case, Unsupported
from conformance.model.failure import Failure
from conformance.model.finding import Finding

NO_CONDITION = "none; arguments, dimensions and sizes do not tell them from supported cases"
MAX_REASONS = 6  # reasons listed for one topic


def check(trial: Trial) -> Evidence:
    """Ask three times whether a call is supported: twice the same, once with other values.

    A call is supported if the layer can be built, its inputs put and the call made; the outputs'
    values do not matter here.

    Raises:
        Failure: if the answers differ, or the backend accepts the call and fails.
        Unsupported: if the backend declines each time.
    """
    first_reason = _decline_reason(trial)
    for situation, case in (
        ("the same call again", trial.case),
        ("the same call with its values in other places", permuted(trial.case, 1)),
    ):
        reason_again = _decline_reason(trial.trial_of(case))
        if (first_reason is None) is not (reason_again is None):
            reason = (reason_again if first_reason is None else first_reason) or ""
            before, after = (
                ("supported", "declined") if first_reason is None else ("declined", "supported")
            )
            raise Failure(
                Finding("support", "call", situation, got=after, wanted=before, says=reason)
            )
    if first_reason is not None:
        raise Unsupported(first_reason)
    return Evidence(3)


def _decline_reason(trial: Trial) -> str | None:
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
class DeclinedTopic:
    """Cases that were declined for reasons that differ in values only.

    Args:
        topic: the common part of the reasons: `"stride=…"`.
        reasons: reason → number of cases declined for it.
        loosest_condition: the least restrictive condition found that separates the declined cases
            from the supported ones; None if none was found.
        tightest_condition: the conjunction of all that the declined cases have in common.
        contradictions: observations that show that a reason is not true.
        witness: a case of the first contradiction.
    """

    topic: str
    reasons: Mapping[str, int]
    loosest_condition: str | None
    tightest_condition: str
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
    declared: tuple[DeclinedTopic, ...] = field(default=())
    case: Case | None = None


def conclude(answers: Sequence[Answer]) -> Conclusion:
    """Compare each reason with the declined and the supported cases of an item."""
    declared = group_declined(answers)
    declined = sum(declined_topic.count for declined_topic in declared)
    if not answers:
        return Conclusion("unchecked", "nothing was asked")
    contradicted = next(
        (declined_topic for declined_topic in declared if declined_topic.contradictions), None
    )
    unexplained = [
        declined_topic for declined_topic in declared if declined_topic.loosest_condition is None
    ]
    if contradicted is not None:
        status = "failed"
    elif declined == len(answers):
        status = "unsupported"
    else:
        status = "unchecked" if unexplained else "passed"
    return Conclusion(
        status,
        "\n".join(_format_topics(declared, len(answers))),
        declared,
        contradicted.witness if contradicted else None,
    )


def _format_topics(declared: Sequence[DeclinedTopic], total: int) -> Iterator[str]:
    declined = sum(declined_topic.count for declined_topic in declared)
    yield (
        f"supported: {total - declined} of {total} cases ({(total - declined) / total:.1%}); "
        f"declined: {declined}"
    )
    for declined_topic in declared:
        yield f"{declined_topic.topic}: {_count_cases(declined_topic.count)} declined"
        if declined == total:
            continue  # there are no supported cases to separate from
        if len(declined_topic.reasons) > 1:
            listed_reasons = [
                f"{reason} ({n})"
                for reason, n in list(declined_topic.reasons.items())[:MAX_REASONS]
            ]
            omitted = (
                [f"{len(declined_topic.reasons) - MAX_REASONS} more"]
                if len(declined_topic.reasons) > MAX_REASONS
                else []
            )
            yield f"  reasons: {', '.join(listed_reasons + omitted)}"
        loosest_condition = declined_topic.loosest_condition or NO_CONDITION
        yield f"  least restrictive condition found: {loosest_condition}"
        yield f"  most restrictive: {declined_topic.tightest_condition}"
        for contradiction in declined_topic.contradictions:
            yield f"  contradicted: {contradiction}"


def group_declined(answers: Sequence[Answer]) -> tuple[DeclinedTopic, ...]:
    """Group the declined cases of an item by topic, the topic with most cases first."""
    topics: dict[str, list[int]] = {}
    for index, answer in enumerate(answers):
        if answer.reason is not None:
            topics.setdefault(reason_topic(answer.reason), []).append(index)
    if not topics:
        return ()
    table = FeatureTable([features(answer.case) for answer in answers])
    supported = np.array([answer.reason is None for answer in answers])
    ordered = sorted(topics.items(), key=lambda pair: -len(pair[1]))
    return tuple(
        _declined_topic(name, indices, answers, table, supported) for name, indices in ordered
    )


def _declined_topic(
    topic_name: str,
    indices: list[int],
    answers: Sequence[Answer],
    table: FeatureTable,
    supported: np.ndarray,
) -> DeclinedTopic:
    chosen = np.zeros(len(answers), dtype=bool)
    chosen[indices] = True
    reasons = Counter(answers[k].reason or "" for k in indices)
    conditions = table.find_least_restrictive(
        chosen, supported, _mentioned_arguments(topic_name, table)
    )
    contradictions, witness = _contradictions(indices, answers)
    loosest = None if conditions is None else format_rules(conditions)
    if loosest is None and not contradictions and all(map(parse_claims, reasons)):
        loosest = "what each reason says"
    return DeclinedTopic(
        topic_name,
        dict(reasons.most_common()),
        loosest,
        format_rules([simplify_terms(table.common_terms(chosen))]),
        contradictions,
        witness,
    )


def _mentioned_arguments(name: str, table: FeatureTable) -> list[str]:
    """The arguments that a topic mentions."""
    names = {feature.split()[0].split(".")[0] for row in table.rows[:1] for feature in row}
    return [argument for argument in names if len(argument) > 2 and argument in name]


def _contradictions(
    indices: list[int], answers: Sequence[Answer]
) -> tuple[tuple[str, ...], Case | None]:
    contradictions: list[tuple[str, Case]] = []
    supported = [answer.case for answer in answers if answer.reason is None]
    supported_structures = {structure(case): case for case in supported}
    twins = [answers[k].case for k in indices if structure(answers[k].case) in supported_structures]
    if twins:
        first = case_text(twins[0])
        text = (
            f"{_count_cases(len(twins))} of a structure that was supported elsewhere, first {first}"
        )
        contradictions.append((text, twins[0]))
    by_reason: dict[str, list[Case]] = {}
    for k in indices:
        by_reason.setdefault(answers[k].reason or "", []).append(answers[k].case)
    for reason, cases in by_reason.items():
        contradictions += _check_claims(reason, cases, supported)
    return tuple(text for text, _ in contradictions), contradictions[0][
        1
    ] if contradictions else None


def _check_claims(
    reason: str, cases: Sequence[Case], supported: Sequence[Case]
) -> Iterator[tuple[str, Case]]:
    """Contradictions between the arguments that a reason states and the arguments of cases."""
    claimed = parse_claims(reason)
    if not claimed or not all(claim.applies_to(case) for claim in claimed for case in cases):
        return
    refuting = [case for case in cases if not all(claim.may_apply(case) for claim in claimed)]
    if refuting:
        first = case_text(refuting[0])
        share = f"{len(refuting)} of its {_count_cases(len(cases))}"
        yield f"{reason!r} is not true of {share}, first {first}", refuting[0]
        return
    given_names = [
        claim.name for claim in claimed if all(_is_given(claim.name, case) for case in cases)
    ]
    counterexamples = [
        case
        for case in supported
        if all(claim.holds(case) for claim in claimed)
        and all(_is_given(name, case) for name in given_names)
    ]
    if counterexamples:
        text = " and ".join(str(claim) for claim in claimed)
        yield (
            f"declined although {_count_cases(len(counterexamples))} with {text} were supported",
            cases[0],
        )


def _is_given(name: str, case: Case) -> bool:
    return name in case.call.arguments or name in case.keywords


def _count_cases(number: int) -> str:
    return f"{number} case" if number == 1 else f"{number} cases"
