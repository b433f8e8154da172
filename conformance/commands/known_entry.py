"""Draft one entry of a file of known failures, from the failures of one likely cause."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from conformance.checks import EVERY_CHECK
from conformance.commands.crash_conditions import cases_of, telling
from conformance.diagnosis.necessary_arguments import is_number
from conformance.layers import CATALOGUE
from conformance.layers.encoding import case_of
from conformance.matching.comparison import meets
from conformance.matching.facts import Facts
from conformance.model.case import Case, Verdict
from conformance.model.cause import Need, listed
from conformance.model.finding import Finding
from conformance.model.plain_text import bounded, visible
from conformance.reports.clusters import Cluster
from conformance.reports.results import Run
from conformance.reports.statuses import status

_LAYOUT = ".layout"
_IN_NO_TOML = re.compile("[\x7f\ud800-\udfff]")
BROKEN = "broken"
"""Name of the fact that holds the constraint that an invalid call breaks."""
ROUNDING = 100.0
"""Largest error ÷ bound that rounding may explain."""
_WORDS = {
    "value": "*wrong of*", "gradient": "*wrong of*", "bits": "*differ*", "shape": "*shape of*",
    "dtype": "*dtype of*", "presence": "*wanted*", "sign": "*wrong of*",
}  # fmt: skip


class Entry:
    """A draft of an entry. Its `ways` are tables of conditions, each from one minimal case.

    Args:
        run: the run of the verdicts.
        bug: the likely cause.
        members: the verdicts of this cause that the entry covers, split by cause.
    """

    def __init__(self, run: Run, bug: Cluster, members: list[Verdict]) -> None:
        self.run, self.bug, self.members = run, bug, members
        self.status = status(members[0])
        found = [_met_by(verdict, dict(_conditions(verdict))) for verdict in members]
        if self.status != "failed" and not any(BROKEN in way for way in found):
            found = list(_ways_to_die(run, members))
        self.ways = [way for way in found if not any(_wider(other, way) for other in found)]

    def covers(self, case: Case) -> bool:
        """Whether a case meets all conditions of one way."""
        return not self.unmet(case)[1]

    def unmet(self, case: Case) -> tuple[dict[str, Any], list[str]]:
        """The way that a case is nearest to, and its conditions that the case does not meet."""
        found = Facts(case)
        unmet = [
            [name for name, wanted in way.items() if not _met(found, name, wanted)]
            for way in self.ways
        ]
        nearest = min(range(len(unmet)), key=lambda k: len(unmet[k]))
        return self.ways[nearest], unmet[nearest]

    @property
    def said(self) -> str:
        """A glob that the messages of all members match."""
        found = {_said(v.failure) for v in self.members}
        return found.pop() if len(found) == 1 else "*"

    @property
    def within(self) -> int | None:
        """The largest error ÷ bound to excuse, if rounding explains the failures.

        A power of 2 at least twice the largest error seen, because cases of another seed may have
        larger errors. None if an error is far beyond its bound or unknown.
        """
        found = [v.excess for v in self.members]
        if None in found:
            return None
        largest = max(float(x) for x in found if x is not None)
        return 2 ** math.ceil(math.log2(2 * largest)) if 1 < largest <= ROUNDING else None

    def _checks_lost(self) -> list[str]:
        """The checks that run into the crash, although perhaps only one of them reports it."""
        layers = {v.layer for v in self.members}
        invalid = EVERY_CHECK[self.members[0].check].invalid
        met = [v.check for v in self.run.verdicts if v.layer in layers and v.examples.lost]
        found = (*(v.check for v in self.members), *met)
        return list(dict.fromkeys(c for c in found if EVERY_CHECK[c].invalid == invalid))

    @property
    def _draws(self) -> bool:
        """Whether a pinned case draws random numbers, so that it passes now and then."""
        calls = (case.call for case in map(case_of, self.members) if case is not None)
        rows = ((CATALOGUE[call.layer], call) for call in calls)
        return any(
            row.randomness.draws is not None or row.randomness.used(call) for row, call in rows
        )

    def text(self, reason: str = "") -> str:
        """The entry in TOML.

        Args:
            reason: why it fails; by default empty, for the user to fill in.
        """
        bug, run = self.bug, self.run
        named = ("layer", "check", "dtype", "device")
        fields: dict[str, Any] = {name: _names(self.members, name) for name in named}
        if self.status != "failed":
            fields["check"] = ",".join(self._checks_lost())
        if set(fields["dtype"].split(",")) == set(run.identity.dtypes):
            del fields["dtype"]
        if len(run.identity.devices) == 1:
            del fields["device"]
        fields["backend"] = run.identity.backend
        ways = [way for k, way in enumerate(self.ways) if way not in self.ways[:k]]
        if all(ways):
            fields["when"] = ways[0] if len(ways) == 1 else ways
        fields |= {"said": self.said} if self.said != "*" else {}
        fields |= {"within": self.within} if self.within else {}
        versions = dict(_versions(run.identity.info))
        fields |= {"versions": versions} if versions else {}
        fields |= {"status": self.status} if self.status != "failed" else {}
        cases = {v.id: v.case for v in self.members if v.case is not None}
        never_stale = self._draws or not cases
        places = dict.fromkeys(run.identity.places.get(v.device) for v in self.members)
        seen = [place for place in places if place]
        fields |= {"strict": False} if never_stale else {"seen": seen} if seen else {}
        fields["reason"] = reason
        lines = ["[[known]]", f"# {_comment(bug)}"]
        lines += [f"{name} = {toml(value)}" for name, value in fields.items()]
        if cases:
            lines.append("[known.cases]")
        for id, case in cases.items():
            # Three apostrophes would end the TOML literal, so all are escaped.
            data = _text(case).replace("'", "\\u0027")
            lines.append(f"{toml(id)} = '''{data}'''")
        return "\n".join(lines) + "\n"


def _met(found: Facts, name: str, wanted: Any) -> bool:
    """Whether a case meets a condition; conditions on layouts count as met.

    A case does not record the layouts that a check chose.
    """
    return name.endswith(_LAYOUT) or meets(found.get(name), wanted)


def _met_by(verdict: Verdict, conditions: dict[str, Any]) -> dict[str, Any]:
    """The conditions that the minimal case itself meets; those derived from needs may not hold."""
    case = case_of(verdict)
    if case is None:
        return conditions
    found = Facts(case)
    return {name: wanted for name, wanted in conditions.items() if _met(found, name, wanted)}


def _wider(way: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the conditions of `way` are a proper part of those of `other`."""
    return way != other and all(other.get(name) == wanted for name, wanted in way.items())


def _names(members: Sequence[Verdict], field: str) -> str:
    return ",".join(dict.fromkeys(getattr(v, field) for v in members))


def _ways_to_die(run: Run, members: Sequence[Verdict]) -> Iterator[dict[str, Any]]:
    """Conditions of the cases that ended the process; crashing cases have no recorded needs."""
    minimal = [case for case in map(case_of, members) if case is not None]
    lost = [case for v in members for case in cases_of(run, v, "lx")]
    passing = [case for v in members for case in cases_of(run, v, "p")]
    yield from telling([*minimal, *lost], passing)


def _conditions(verdict: Verdict) -> Iterator[tuple[str, Any]]:
    """The conditions on facts that the minimal case needs to fail."""
    case = case_of(verdict)
    if case is not None and BROKEN in case.labels:
        yield BROKEN, case.labels[BROKEN]
        return
    for need in verdict.needs:
        if not need.fails:
            condition = _condition(need)
            if condition is not None:
                yield need.argument, condition
    layouts = {} if verdict.failure is None else verdict.failure.layouts or {}
    for operand, layout in layouts.items():
        yield f"{operand}{_LAYOUT}", layout


def _condition(need: Need) -> Any:
    """The condition of a need: `">1"` for `groups` 2 where 1 passes; a word or bool as it is.

    A tuple of several numbers gives no condition (None), unless a comparison holds: any dimension
    may meet a condition.
    """
    value, other = (_value(text) for text in (need.value, need.other))
    if other is None:
        return "given" if value == "given" else "!=null"
    numbers = value if isinstance(value, tuple) else (value,)
    if all(map(is_number, (*numbers, other))) and numbers:
        if not need.varied and max(numbers) > other:
            return f">{other}"
        if not need.varied and isinstance(other, float) and min(numbers) < other:
            return f"<{other}"
        return numbers[0] if len(numbers) == 1 else None
    return value if isinstance(value, (bool, str)) else None


def _value(text: str) -> Any:
    try:
        plain = {"True": "true", "False": "false", "None": "null"}
        found = json.loads(plain.get(text, listed(text)))
    except ValueError:
        return text.strip("'")
    return tuple(found) if isinstance(found, list) else found


def _said(failure: Finding | None) -> str:
    if failure is None:
        return "*"
    if failure.exception:
        return f"*{failure.exception}*"
    if failure.kind == "refusal":
        return "*accepted silently*"
    return _WORDS.get(failure.kind, "*")


def _versions(info: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Requirements for the packages of a run that are installed here in the same version."""
    for name, named in info.items():
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue
        if installed.split("+")[0] == named.split("+")[0]:
            yield name, f"=={installed.split('+')[0]}"


def _comment(bug: Cluster) -> str:
    first = bug.first
    needs = f"; needs {bug.needs_words}" if bug.needs_words else ""
    return bounded(" ".join(f"{bug.title}: {first.call or first.id}{needs}".split()))


def toml(value: Any) -> str:
    """Format a value in TOML."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items())
        return f"{{ {inner} }}"
    return _text(visible(value) if isinstance(value, str) else value)


def _text(value: Any) -> str:
    """Format a value in JSON, with escapes for characters that a TOML string may not hold."""
    text = json.dumps(value, ensure_ascii=False)
    return _IN_NO_TOML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
