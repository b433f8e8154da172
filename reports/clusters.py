"""Clusters of failing verdicts that are likely to have one cause."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from conformance.reports.causes import independent_of, manner, needed, signature, title
from conformance.reports.statuses import SEVERITY, rank, status

from conformance.model.case import Verdict
from conformance.model.checks import facts_of
from conformance.model.layer_facts import LayerFacts, unknown

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
    def needs_words(self) -> str:
        """What the failure needs, as a clause; empty if the simplest call fails."""
        choices = "; ".join(" and ".join(rest) for rest in self.one_of)
        parts = [*self.needs, *([f"one of: {choices}"] if choices else [])]
        return " and ".join(parts)

    @property
    def items(self) -> tuple[Verdict, ...]:
        """The members, each item once."""
        return tuple({v.id: v for v in reversed(self.members)}.values())[::-1]

    @property
    def alternatives(self) -> tuple[tuple[str, Verdict, str], ...]:
        """Each alternative of `one_of`, with the simplest member that needs it, and its share."""
        found = dict[str, Verdict]()
        for verdict in self.members:
            rest = tuple(term for term in needed(verdict) if term not in self.needs)
            if verdict.check == self.first.check and rest in self.one_of:
                found.setdefault(" and ".join(rest), verdict)
        return tuple((words, v, share_words(v)) for words, v in found.items())

    @property
    def share(self) -> str:
        """How many failing and passing cases have what the failure needs; empty if unknown."""
        return share_words(self.first) if set(needed(self.first)) == set(self.needs) else ""

    @property
    def examples(self) -> tuple[int, int]:
        """The numbers of failed and of checked examples of the first member; 0 if not counted."""
        return self.first.examples.failed, self.first.examples.checked


def clusters(
    failing: Iterable[Verdict], layers: Mapping[str, LayerFacts] | None = None
) -> tuple[Cluster, ...]:
    """Group failing verdicts by cause, worst first, then those with most items.

    Two verdicts belong together if they fail in the same manner (the same exception, wrong numbers,
    a wrong shape, …) on the same layer or its lazy or functional form, and need a common argument.
    A verdict without needs joins them, too: the simplest call fails, and others fail with it.
    Where a layer's values are wrong, verdicts of other checks join that cluster if they need the
    same, or make calls of their own.

    Args:
        failing: the verdicts, in the order of the clusters.
        layers: facts about each layer in the run.
    """
    layers = layers or {}
    groups: dict[GroupKey, list[_Part]] = {}
    for verdict in (each for whole in failing for each in by_cause(whole)):
        facts = layers.get(verdict.layer) or unknown(verdict.layer)
        how, needs = manner(verdict), frozenset(signature(verdict, facts))
        # An invalid call breaks a rule that layers of all dimensions share.
        family = facts.stem if facts_of(verdict.check).invalid else facts.kin
        kin = facts.kin.lower()
        # The same exception text, or the same frame, is one cause in any family.
        elsewhere = how[0] == "exception" or (how[0] == "lost" and len(how) > 2)
        family = "" if elsewhere else family.lower()
        if verdict.failure is not None and verdict.failure.layouts:
            how = (*how, "in a layout")
        follows = bool(family) and facts_of(verdict.check).follows_values
        key = (status(verdict), family, how, follows)
        _add(groups.setdefault(key, []), _Part(key, kin, [(verdict, needs)]))
    found = [_cluster(part) for part in _absorbed([x for parts in groups.values() for x in parts])]
    return tuple(sorted(found, key=lambda c: (SEVERITY.index(c.status), -len(c.members))))


@dataclass
class _Part:
    """Verdicts that fail in one manner, each with the arguments that it needs."""

    key: GroupKey
    kin: str
    members: list[tuple[Verdict, frozenset[str]]]

    @property
    def values(self) -> list[tuple[Verdict, frozenset[str]]]:
        """The members of the check `values`, which says most directly what is wrong."""
        return [each for each in self.members if each[0].check == "values"]

    def related(self, other: _Part) -> bool:
        """Whether two members need a common argument, or one of them needs none."""
        if not self.key[1]:
            return True
        return any(
            mine == theirs
            or mine & theirs
            or ((not mine or not theirs) and (not self.key[3] or one.check == another.check))
            for one, mine in self.members
            for another, theirs in other.members
        )


def _add(parts: list[_Part], new: _Part) -> None:
    """Merge a part with all parts that it is related to."""
    for part in [part for part in parts if part.related(new)]:
        parts.remove(part)
        new = replace(new, members=[*part.members, *new.members])
    parts.append(new)


def by_cause(verdict: Verdict) -> tuple[Verdict, ...]:
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


def _absorbed(parts: Sequence[_Part]) -> list[_Part]:
    """Move verdicts that follow from wrong values to the part of these values."""
    sources = [part for part in parts if part.values]
    rest = [part for part in parts if not part.values]
    for part in rest:
        if not part.key[1] and not all(facts_of(v.check).follows_values for v, _ in part.members):
            continue  # an exception that occurs in other checks, too, has another cause
        for verdict, needs in [*part.members]:
            near = [x for x in sources if x.kin == part.kin and x.key[0] == part.key[0]]
            followed = [x for x in near if _follows(verdict, needs, x, alone=len(near) == 1)]
            if followed:
                followed[0].members.append((verdict, needs))
                part.members.remove((verdict, needs))
    return [*sources, *(part for part in rest if part.members)]


def _follows(verdict: Verdict, needs: frozenset[str], source: _Part, *, alone: bool) -> bool:
    """Whether a check's verdict is likely to follow from the layer's wrong values.

    A check that makes other calls of a case may need fewer arguments, or more. A law makes calls of
    its own, and says itself which of them is wrong.
    """
    failure = verdict.failure
    wrong = [theirs for each, theirs in source.values if each.dtype == verdict.dtype]
    follows = facts_of(verdict.check).follows_values
    if not follows or not wrong or failure is None or failure.layouts:
        return False
    if failure.exception:
        return any(theirs and theirs == needs for theirs in wrong)
    if failure.law and alone:
        return True
    return any(theirs <= needs or theirs & needs for theirs in wrong)


def _cluster(part: _Part) -> Cluster:
    # `values` says most directly what is wrong, and a short call is a simple one.
    order = sorted(
        (verdict for verdict, _ in part.members),
        key=lambda v: (rank(v), not facts_of(v.check).plain, len(v.call or "")),
    )
    first = order[0]
    least = min((needs for _, needs in part.members), key=lambda n: (len(n), sorted(n)))
    key = (*part.key, () if not part.key[1] else tuple(sorted(least)))
    digest = hashlib.sha256(repr(key).encode("utf-8", "surrogatepass")).hexdigest()[:10]
    name = re.sub(r"[^a-z0-9]+", "-", (part.key[1] or first.layer).lower())[:40]
    found = [needed(v) for v in order if v.check == first.check and v.needs]
    common = tuple(term for term in needed(first) if all(term in terms for terms in found))
    rests = [tuple(term for term in terms if term not in common) for terms in found]
    # An alternative that contains another adds nothing to it.
    least_rests = [x for x in rests if not any(set(other) < set(x) for other in rests)]
    one_of = () if () in rests else tuple(dict.fromkeys(least_rests))
    return Cluster(
        f"bug_{name}_{digest}", title(first), tuple(order), common, one_of, independent_of(first)
    )


def share_words(verdict: Verdict) -> str:
    """`"18 of 18 failing and 0 of 140 passing cases"`, after a further condition if any."""
    share = verdict.share
    if share is None or not share.terms:
        return ""
    further = [term for term in share.terms if term not in needed(verdict)]
    return f"{f'with {further[0]}: ' if further else ''}{share.words}"


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
