"""Failures put together so that one bug is one entry."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from conformance.reports.causes import independent_of, manner, needed, signature, title
from conformance.reports.statuses import SEVERITY, rank, status

from conformance.model.case import Verdict
from conformance.model.layer_facts import LayerFacts, unknown

# Status, family of layers, how it fails, what it needs.
ClusterKey = tuple[str, str, tuple[str, ...], tuple[str, ...]]
# A wrong answer spoils these checks as well: they hold outputs against the oracle, too.
FOLLOWING = ("gradients", "laws", "layout", "special", "repeat", "state")


@dataclass(frozen=True)
class Cluster:
    """Verdicts that are likely to have one cause.

    Args:
        id: stable between runs: of the layers' family, the kind of failure and what it needs.
        title: what kind of failure it is, in words.
        members: worst first; at least one.
        needs: what the failure of the first member needs: `("groups > 1", "dilation > 1")`.
        independent: arguments that were changed, and it still failed.
    """

    id: str
    title: str
    members: tuple[Verdict, ...]
    needs: tuple[str, ...] = ()
    independent: tuple[str, ...] = ()

    @property
    def first(self) -> Verdict:
        """The member that stands for all: of the worst status, the plainest minimal call."""
        return self.members[0]

    @property
    def status(self) -> str:
        """The worst status among the members."""
        return status(self.first)

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers it shows in."""
        return _unique(v.layer for v in self.members)

    @property
    def checks(self) -> tuple[str, ...]:
        """The checks it shows in."""
        return _unique(v.check for v in self.members)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """The dtypes it shows in."""
        return _unique(v.dtype for v in self.members)

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices it shows on."""
        return _unique(v.device for v in self.members)

    @property
    def examples(self) -> tuple[int, int]:
        """How many examples of the first member failed, and of how many; 0 if not counted."""
        return self.first.examples.failed, self.first.examples.checked


def clusters(
    failing: Iterable[Verdict], layers: Mapping[str, LayerFacts] | None = None
) -> tuple[Cluster, ...]:
    """Failing verdicts by cause, worst first, then those in most items.

    Two verdicts are put together that fail in the same way (the same exception, wrong numbers, a
    wrong shape, …) on the same layer or its lazy or functional form, and need the same arguments.
    What other checks say of a layer whose values are wrong under the same arguments goes there.

    Args:
        failing: the verdicts, in the order in which their causes shall stand.
        layers: what the run tells of each layer.
    """
    layers = layers or {}
    groups: dict[ClusterKey, list[Verdict]] = {}
    for verdict in (each for whole in failing for each in by_cause(whole)):
        facts = layers.get(verdict.layer) or unknown(verdict.layer)
        how, needs = manner(verdict), signature(verdict, facts)
        # An invalid call breaks one rule for all dimensions.
        family = facts.stem if verdict.check == "errors" else facts.kin
        # The same exception text is one cause, wherever it comes from.
        family = "" if how[0] == "exception" else family.lower()
        groups.setdefault((status(verdict), family, how, () if not family else needs), []).append(
            verdict
        )
    _absorb(groups)
    found = [_cluster(key, members) for key, members in groups.items() if members]
    return tuple(sorted(found, key=lambda c: (SEVERITY.index(c.status), -len(c.members))))


def by_cause(verdict: Verdict) -> tuple[Verdict, ...]:
    """A verdict as one for each of its causes."""
    if not verdict.others:
        return (verdict,)
    first = replace(verdict, message=verdict.own_message, others=())
    fields = (
        "message", "status", "call", "case", "needs", "reproducer", "reference", "failure"
    )  # fmt: skip
    return (
        first,
        *(
            replace(first, **{name: getattr(cause, name) for name in fields})
            for cause in verdict.others
        ),
    )


def _absorb(groups: dict[ClusterKey, list[Verdict]]) -> None:
    """Move what follows from wrong values to them.

    A check that makes other calls of a case may need less of it, or more.
    """
    sources = [key for key, held in groups.items() if any(v.check == "values" for v in held)]
    for key, members in groups.items():
        for source in sources:
            theirs, ours = set(source[3]), set(key[3])
            related = theirs <= ours or (ours and ours <= theirs)
            if key in sources or key[:2] != source[:2] or not key[1] or not related:
                continue
            dtypes = {v.dtype for v in groups[source] if v.check == "values"}
            moved = [v for v in members if v.check in FOLLOWING and v.dtype in dtypes]
            groups[source] += moved
            members = [v for v in members if v not in moved]
        groups[key] = members


def _cluster(key: ClusterKey, members: list[Verdict]) -> Cluster:
    # Values tell most plainly what is wrong; a short call is a plain one.
    order = sorted(
        members, key=lambda v: (rank(v), v.check not in ("values", "shape"), len(v.call or ""))
    )
    digest = hashlib.sha256(repr(key).encode("utf-8", "surrogatepass")).hexdigest()[:10]
    name = re.sub(r"[^a-z0-9]+", "-", (key[1] or order[0].layer).lower())[:40]
    cluster = Cluster(f"bug_{name}_{digest}", title(order[0]), tuple(order))
    first = order[0]
    return replace(cluster, needs=needed(first), independent=independent_of(first))


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
