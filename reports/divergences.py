"""The divergences of a backend, known and new, and the share of cases that conform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from conformance.reports.clusters import Cluster, clusters
from conformance.reports.grades import class_counts, conforming_share
from conformance.reports.matrix import matrix, verdicts_with_status
from conformance.reports.results import Run
from conformance.reports.statuses import (
    cached_per_run,
    is_run_error,
    is_stale,
    status,
    unique_verdicts,
)
from conformance.reports.untested import check_names, checks_of, untested_checks

from conformance.model.case import Verdict
from conformance.model.cause import Excuse
from conformance.model.grades import ClassCounts


@dataclass(frozen=True)
class KnownDivergence:
    """One known failure that occurs in a run.

    Args:
        reason, link: fields of the known failure.
        base: the backend that it is inherited from; empty for the backend's own.
        failed: number of failed examples that it explains.
        left_out: number of examples not run because of it.
        members: the verdicts with such examples.
    """

    reason: str
    link: str
    base: str
    failed: int
    left_out: int
    members: tuple[Verdict, ...]


@dataclass(frozen=True)
class Divergences:
    """The divergences of a backend in a run.

    Args:
        known: known failures of the backend itself, the one with most cases first.
        inherited: known failures that the backend shares with its base.
        new: all other failures, by likely cause.
        checked, failed: number of examples over all verdicts.
        left_out: examples not run because a known failure would end the process.
        excused: failed examples that a known failure explains.
        thin: verdicts that rest on too few structures.
        untested: checks that compared nothing, each with the supported layers concerned.
        not_shown: reasons of known failures whose pinned case passes here, with their verdicts.
        survey: the run is a survey: new divergences are new on this machine.
        classes: counts of examples by class; empty for files of older versions.
    """

    known: tuple[KnownDivergence, ...]
    inherited: tuple[KnownDivergence, ...]
    new: tuple[Cluster, ...]
    checked: int
    failed: int
    left_out: int
    excused: int
    thin: tuple[Verdict, ...]
    untested: Mapping[str, tuple[str, ...]]
    not_shown: Mapping[str, tuple[Verdict, ...]]
    survey: bool
    classes: Mapping[str, ClassCounts] = field(default_factory=dict)

    @property
    def counts(self) -> str:
        """`99.9 % of 208 800 cases conform; 31 known divergences, 0 new`."""
        conforming = conforming_share(self.classes, self.checked, self.failed)
        known_text = (
            "1 known divergence" if len(self.known) == 1 else f"{len(self.known)} known divergences"
        )
        parts = [known_text]
        if self.inherited:
            parts.append(f"{len(self.inherited)} inherited from {self.inherited[0].base}")
        listed = self.known or self.inherited or self.not_shown
        where = " on this machine" if self.survey and listed else ""
        parts.append(f"{len(self.new)} new{where}")
        return f"{conforming} cases conform; {', '.join(parts)}"

    @property
    def headline(self) -> str:
        """The counts, followed by the checks that compared nothing or too little."""
        return "; ".join([self.counts, *self.gaps])

    @property
    def gaps(self) -> tuple[str, ...]:
        """The checks that compared nothing, then those that rest on too few structures."""
        untested = f"not tested: {check_names(self.untested)}" if self.untested else ""
        thin = ""
        if self.thin:
            verb = "verdict is" if len(self.thin) == 1 else "verdicts are"
            reasons = sorted({(v.thin or "").rpartition("(")[2].rstrip(")") for v in self.thin})
            names = check_names(checks_of(self.thin))
            thin = f"{len(self.thin)} {verb} thin ({', '.join(reasons)}): {names}"
        return tuple(text for text in (untested, thin) if text)


@cached_per_run
def divergences(run: Run) -> Divergences:
    """Collect the divergences of a run from its verdicts."""
    all_verdicts = unique_verdicts(run)
    groups: dict[tuple[str, str, str], list[tuple[Verdict, Excuse]]] = {}
    for verdict in all_verdicts:
        for excuse in _excuses_of(verdict):
            if excuse.excused or excuse.left_out:
                key = (excuse.reason, excuse.link, excuse.base)
                groups.setdefault(key, []).append((verdict, excuse))
    known_divergences = [
        KnownDivergence(
            *key,
            sum(excuse.excused for _, excuse in members),
            sum(excuse.left_out for _, excuse in members),
            tuple(verdict for verdict, _ in members),
        )
        for key, members in groups.items()
    ]
    occurring = sorted((k for k in known_divergences if k.failed), key=lambda k: -k.failed)
    return Divergences(
        known=tuple(k for k in occurring if not k.base),
        inherited=tuple(k for k in occurring if k.base),
        new=clusters(
            [
                verdict
                for verdict in verdicts_with_status(matrix(run), ("crashed", "hung", "failed"))
                if not (run.identity.survey and (is_run_error(verdict) or is_stale(verdict)))
            ],
            run.identity.layers,
        ),
        checked=sum(v.examples.checked for v in all_verdicts),
        failed=sum(v.examples.failed for v in all_verdicts),
        left_out=sum(v.examples.left_out for v in all_verdicts),
        excused=sum(v.examples.excused for v in all_verdicts),
        thin=tuple(v for v in all_verdicts if v.thin and v.status == "passed"),
        untested=untested_checks(matrix(run)),
        not_shown=_not_shown(all_verdicts),
        survey=run.identity.survey,
        classes=class_counts(all_verdicts),
    )


def _not_shown(verdicts: Sequence[Verdict]) -> dict[str, tuple[Verdict, ...]]:
    """Known failures that do not occur on this machine, the one with most verdicts first."""
    groups: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        for reason in verdict.not_shown:
            groups.setdefault(reason, []).append(verdict)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return {reason: tuple(members) for reason, members in ordered}


def _excuses_of(verdict: Verdict) -> tuple[Excuse, ...]:
    """The known failures of a verdict; files of schema 2 have them in the message only."""
    if verdict.excuses or status(verdict) != "known":
        return verdict.excuses
    reason = (verdict.message or "known").partition("\n")[0].removeprefix("known failure: ")
    return (Excuse(reason, excused=max(verdict.examples.failed, 1)),)
