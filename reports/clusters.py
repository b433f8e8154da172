"""Clusters of failing verdicts that are likely to have one cause."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from conformance.reports.causes import (
    independent_arguments,
    law_statement,
    manner_key,
    needed_arguments,
    needed_conditions,
    needs_relation,
    title,
)
from conformance.reports.statuses import SEVERITY, is_left_out, severity_rank, status

from conformance.model.case import Verdict
from conformance.model.cause import NEEDS
from conformance.model.checks import facts_of
from conformance.model.layer_facts import LayerFacts, facts_of_unknown_layer

MAX_LAWS = 3
"""The largest number of laws that a cluster names."""

# Status, family of layers, manner of failing, whether the check follows `values`.
GroupKey = tuple[str, str, tuple[str, ...], bool]


@dataclass(frozen=True)
class Cluster:
    """Verdicts that are likely to have one cause.

    Args:
        id: stable between runs: made from the layers' family, the kind of failure and its needs.
        title: the kind of failure, in words.
        members: worst first; at least one.
        needs: conditions that all verdicts of the first member's check need:
            `("groups > 1", "dilation > 1")`.
        one_of: alternatives of which the failure needs one in addition.
        independent: arguments that can be changed without removing the failure.
    """

    id: str
    title: str
    members: tuple[Verdict, ...]
    needs: tuple[str, ...] = ()
    one_of: tuple[tuple[str, ...], ...] = ()
    independent: tuple[str, ...] = ()

    @property
    def first(self) -> Verdict:
        """The representative member: it has the worst status and the simplest minimal call."""
        return self.members[0]

    @property
    def status(self) -> str:
        """The worst status among the members."""
        return status(self.first)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of the members."""
        return _unique(v.layer for v in self.members)

    @property
    def checks(self) -> tuple[str, ...]:
        """The checks of the members."""
        return _unique(v.check for v in self.members)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes of the members."""
        return _unique(v.dtype for v in self.members)

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices of the members."""
        return _unique(v.device for v in self.members)

    @property
    def law_statements(self) -> tuple[str, ...]:
        """What laws of the first member's layer state that fail beside it: they hint at causes."""
        own = law_statement(self.first)
        return _unique(
            text
            for verdict in self.members
            if verdict.layer == self.first.layer
            and (text := law_statement(verdict)) not in ("", own)
        )[:MAX_LAWS]

    @property
    def needs_words(self) -> str:
        """The conditions of the failure, as a clause; empty if the simplest call fails."""
        choices = "; ".join(" and ".join(alternative) for alternative in self.one_of)
        parts = [*self.needs, *([f"one of: {choices}"] if choices else [])]
        return " and ".join(parts)

    @property
    def relation(self) -> str:
        """The words before `needs_words`, by the evidence of its cases: `"needs"`."""
        if not self.one_of:
            return needs_relation(self.first)
        # Each alternative has a part of the failing cases.
        shares = [verdict.share for _, verdict, _ in self.alternatives]
        return NEEDS if all(x is None or x.is_separating for x in shares) else "fails with"

    @property
    def items(self) -> tuple[Verdict, ...]:
        """The members, each item once."""
        return tuple({v.id: v for v in reversed(self.members)}.values())[::-1]

    @property
    def alternatives(self) -> tuple[tuple[str, Verdict, str], ...]:
        """Each alternative of `one_of`, with the simplest member that needs it, and its share."""
        first_by_words = dict[str, Verdict]()
        for verdict in self.members:
            conditions = tuple(
                term for term in needed_conditions(verdict) if term not in self.needs
            )
            if verdict.check == self.first.check and conditions in self.one_of:
                first_by_words.setdefault(" and ".join(conditions), verdict)
        return tuple((words, v, share_words(v)) for words, v in first_by_words.items())

    @property
    def share(self) -> str:
        """How many failing and passing cases have what the failure needs; empty if unknown."""
        return (
            share_words(self.first) if set(needed_conditions(self.first)) == set(self.needs) else ""
        )

    @property
    def examples(self) -> tuple[int, int]:
        """The numbers of failed and of checked examples of the first member; 0 if not counted."""
        return self.first.examples.failed, self.first.examples.checked


def clusters(
    failing: Iterable[Verdict], layers: Mapping[str, LayerFacts] | None = None
) -> tuple[Cluster, ...]:
    """Group failing verdicts by cause, worst first, then those with most items.

    Two verdicts belong together if they are of the same layer or its lazy or functional form, fail
    in the same manner, and need a common argument. A manner is the same exception, wrong numbers, a
    wrong shape, …. A verdict without needs joins them, too: the simplest call fails, and others
    fail with it. Where a layer's values are wrong, verdicts of other checks join that cluster if
    they need the same, or make calls of their own.

    Args:
        failing: the verdicts, in the order of the clusters.
        layers: facts about each layer in the run.
    """
    layers = layers or {}
    groups: dict[GroupKey, list[_Group]] = {}
    for verdict in (
        verdict_of_cause
        for failing_verdict in failing
        for verdict_of_cause in split_by_cause(failing_verdict)
    ):
        facts = layers.get(verdict.layer) or facts_of_unknown_layer(verdict.layer)
        manner_of_failing, needs = manner_key(verdict), frozenset(needed_arguments(verdict, facts))
        # An invalid call breaks a rule that layers of all dimensions share.
        family = facts.stem if facts_of(verdict.check).invalid else facts.kin
        kin = facts.kin.lower()
        # The same exception text, or the same frame, is one cause in any family.
        any_family = (
            manner_of_failing[0] == "exception"
            or (manner_of_failing[0] == "lost" and len(manner_of_failing) > 2)
            or is_left_out(verdict)
        )
        family = "" if any_family else family.lower()
        if verdict.failure is not None and verdict.failure.layouts:
            manner_of_failing = (*manner_of_failing, "in a layout")
        follows = bool(family) and facts_of(verdict.check).follows_values
        key = (status(verdict), family, manner_of_failing, follows)
        _merge_related(groups.setdefault(key, []), _Group(key, kin, [(verdict, needs)]))
    all_clusters = [
        _make_cluster(part)
        for part in _absorb_consequences([x for parts in groups.values() for x in parts])
    ]
    return tuple(sorted(all_clusters, key=lambda c: (SEVERITY.index(c.status), -len(c.members))))


@dataclass
class _Group:
    """Verdicts that fail in one manner, each with the arguments that it needs."""

    key: GroupKey
    kin: str
    members: list[tuple[Verdict, frozenset[str]]]

    @property
    def values(self) -> list[tuple[Verdict, frozenset[str]]]:
        """The members of the check `values`, which says most directly what is wrong."""
        return [member for member in self.members if member[0].check == "values"]

    def is_related(self, other: _Group) -> bool:
        """Whether two members need a common argument, or one of them needs none."""
        if not self.key[1]:
            return True
        return any(
            own_needs == other_needs
            or own_needs & other_needs
            or (
                (not own_needs or not other_needs)
                and (not self.key[3] or own_verdict.check == other_verdict.check)
            )
            for own_verdict, own_needs in self.members
            for other_verdict, other_needs in other.members
        )


def _merge_related(parts: list[_Group], new: _Group) -> None:
    """Merge a part with all parts that it is related to."""
    for part in [part for part in parts if part.is_related(new)]:
        parts.remove(part)
        new = replace(new, members=[*part.members, *new.members])
    parts.append(new)


def split_by_cause(verdict: Verdict) -> tuple[Verdict, ...]:
    """Split a verdict into one for each of its causes."""
    if not verdict.others:
        return (verdict,)
    first = replace(verdict, message=verdict.own_message, others=())
    fields = (
        "message", "status", "call", "case", "needs", "share", "excess",
        "reproducer", "reference", "failure",
    )  # fmt: skip
    return (
        first,
        *(
            replace(first, **{name: getattr(cause, name) for name in fields})
            for cause in verdict.others
        ),
    )


def _absorb_consequences(parts: Sequence[_Group]) -> list[_Group]:
    """Move verdicts that follow from wrong values to the part of these values."""
    sources = [part for part in parts if part.values]
    others = [part for part in parts if not part.values]
    for part in others:
        if not part.key[1] and not all(facts_of(v.check).follows_values for v, _ in part.members):
            continue  # an exception that occurs in other checks, too, has another cause
        for verdict, needs in [*part.members]:
            near = [x for x in sources if x.kin == part.kin and x.key[0] == part.key[0]]
            followed = [x for x in near if _follows_from(verdict, needs, x, alone=len(near) == 1)]
            if followed:
                followed[0].members.append((verdict, needs))
                part.members.remove((verdict, needs))
    return [*sources, *(part for part in others if part.members)]


def _follows_from(verdict: Verdict, needs: frozenset[str], source: _Group, *, alone: bool) -> bool:
    """Whether a check's verdict is likely to follow from the layer's wrong values.

    A check that makes other calls of a case may need fewer arguments, or more. A law makes calls of
    its own, and says itself which of them is wrong.
    """
    failure = verdict.failure
    wrong = [
        source_needs
        for source_verdict, source_needs in source.values
        if source_verdict.dtype == verdict.dtype
    ]
    follows = facts_of(verdict.check).follows_values
    if not follows or not wrong or failure is None or failure.layouts:
        return False
    if failure.exception:
        return any(source_needs and source_needs == needs for source_needs in wrong)
    if failure.law and alone:
        return True
    return any(source_needs <= needs or source_needs & needs for source_needs in wrong)


def _make_cluster(part: _Group) -> Cluster:
    # `values` says most directly what is wrong, and a short call is a simple one.
    order = sorted(
        (verdict for verdict, _ in part.members),
        key=lambda v: (severity_rank(v), not facts_of(v.check).clearest, len(v.call or "")),
    )
    first = order[0]
    fewest = min((needs for _, needs in part.members), key=lambda n: (len(n), sorted(n)))
    key = (*part.key, () if not part.key[1] else tuple(sorted(fewest)))
    digest = hashlib.sha256(repr(key).encode("utf-8", "surrogatepass")).hexdigest()[:10]
    name = re.sub(r"[^a-z0-9]+", "-", (part.key[1] or first.layer).lower())[:40]
    conditions = [needed_conditions(v) for v in order if v.check == first.check and v.needs]
    common = tuple(
        term for term in needed_conditions(first) if all(term in terms for terms in conditions)
    )
    alternatives = [tuple(term for term in terms if term not in common) for terms in conditions]
    # An alternative that contains another adds nothing to it.
    least_rests = [
        x
        for x in alternatives
        if not any(set(other_alternative) < set(x) for other_alternative in alternatives)
    ]
    one_of = () if () in alternatives else tuple(dict.fromkeys(least_rests))
    return Cluster(
        f"bug_{name}_{digest}",
        title(first),
        tuple(order),
        common,
        one_of,
        independent_arguments(first),
    )


def share_words(verdict: Verdict) -> str:
    """`"18 of 18 failing and 0 of 140 passing cases"`, after a further condition if any."""
    share = verdict.share
    if share is None or not share.terms:
        return ""
    further = [term for term in share.terms if term not in needed_conditions(verdict)]
    return f"{f'with {further[0]}: ' if further else ''}{share.phrase}"


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
