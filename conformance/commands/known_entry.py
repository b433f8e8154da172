"""Draft one entry of a file of known failures, from the failures of one likely cause."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from conformance.backends.memory_guard import MESSAGE_PREFIX
from conformance.checks import EVERY_CHECK
from conformance.commands.crash_conditions import cases_with_outcome, separating_conditions
from conformance.diagnosis.necessary_arguments import is_number
from conformance.layers import CATALOGUE
from conformance.layers.encoding import decode_verdict_case
from conformance.matching.comparison import matches
from conformance.matching.fact_schema import explain_unmeetable, fact_kinds
from conformance.matching.facts import Facts
from conformance.model.case import Case, Verdict
from conformance.model.cause import Need, tuple_as_json_list
from conformance.model.finding import Finding
from conformance.model.finding_text import text_without_numbers
from conformance.model.plain_text import bounded, visible
from conformance.reports.clusters import Cluster
from conformance.reports.results import Run
from conformance.reports.statuses import status

_LAYOUT = ".layout"
_NOT_IN_TOML = re.compile("[\x7f\ud800-\udfff]")
BROKEN = "broken"
"""Name of the fact that holds the constraint that an invalid call breaks."""
MAX_ROUNDING_RATIO = 100.0
"""Largest error ÷ bound that rounding may explain."""
MEDIAN = 0.5
"""Probability of no more failures than were seen, if `at_most` is the share that fails."""
_TERM = re.compile(r"(?:largest |smallest )?(?P<name>.+?) (?P<sign>[=≠≥≤<>]) (?P<value>.+)")
_SIGNS = {"=": "==", "≠": "!=", "≥": ">=", "≤": "<=", "<": "<", ">": ">"}
_MESSAGE_GLOBS = {
    "value": "*wrong of*", "gradient": "*wrong of*", "bits": "*differ*", "shape": "*shape of*",
    "dtype": "*dtype of*", "presence": "*wanted*", "sign": "*wrong of*",
}  # fmt: skip


class EntryDraft:
    """A draft of an entry. Its `ways` are tables of conditions, each from one minimal case.

    Args:
        run: the run of the verdicts.
        bug: the likely cause.
        members: the verdicts of this cause that the entry covers, split by cause.
    """

    def __init__(self, run: Run, bug: Cluster, members: list[Verdict]) -> None:
        self.run, self.bug, self.members = run, bug, members
        self.status, self.at_most = status(members[0]), 1.0
        conditions = [own_conditions(verdict) for verdict in members]
        if self.status != "failed" and not any(BROKEN in way for way in conditions):
            conditions = list(_crash_conditions(run, members))
        self.ways = [
            way for way in conditions if not any(_is_wider(other, way) for other in conditions)
        ]

    @property
    def is_unconditional(self) -> bool:
        """Whether it covers every case of its items."""
        return not all(self.ways)

    def is_about(self, verdict: Verdict) -> bool:
        """Whether a cause of a verdict is one of its members."""
        return any(member.id == verdict.id for member in self.members)

    def with_checks(self, checks: Sequence[str]) -> EntryDraft:
        """Return an entry for the members of some checks, with the same conditions."""
        draft = copy(self)
        draft.members = [v for v in self.members if v.check in checks]
        draft.ways = [dict(way) for way in self.ways]
        return draft

    def covers(self, case: Case) -> bool:
        """Whether a case meets all conditions of one way."""
        return not self.unmet(case)[1]

    def unmet(self, case: Case) -> tuple[dict[str, Any], list[str]]:
        """The way that a case is nearest to, and its conditions that the case does not meet."""
        facts = Facts(case)
        unmet = [
            [name for name, wanted in way.items() if not is_met(facts, name, wanted)]
            for way in self.ways
        ]
        nearest = min(range(len(unmet)), key=lambda k: len(unmet[k]))
        return self.ways[nearest], unmet[nearest]

    @property
    def said(self) -> str:
        """A glob that the messages of all members match."""
        if self._needs_guard:
            return f"*{MESSAGE_PREFIX}*"
        for glob_of in (_message_glob, _kind_glob):
            globs = {glob_of(v.failure) for v in self.members}
            if len(globs) == 1:
                return globs.pop()
        return "*"

    @property
    def _needs_guard(self) -> bool:
        """Whether the memory guard ended the process: without it the pinned cases may pass."""
        return all(MESSAGE_PREFIX in (v.message or "") for v in self.members)

    @property
    def within(self) -> int | None:
        """The largest error ÷ bound to excuse, if rounding explains the failures.

        A power of 2 at least twice the largest error seen, because cases of another seed may have
        larger errors. None if an error is far beyond its bound or unknown.
        """
        ratios = [v.excess for v in self.members]
        if None in ratios:
            return None
        largest = max(float(x) for x in ratios if x is not None)
        return 2 ** math.ceil(math.log2(2 * largest)) if 1 < largest <= MAX_ROUNDING_RATIO else None

    def _crashing_checks(self) -> list[str]:
        """The checks that run into the crash, although perhaps only one of them reports it."""
        layers = {v.layer for v in self.members}
        invalid = EVERY_CHECK[self.members[0].check].invalid
        crashing = [v.check for v in self.run.verdicts if v.layer in layers and v.examples.lost]
        checks = (*(v.check for v in self.members), *crashing)
        return list(dict.fromkeys(c for c in checks if EVERY_CHECK[c].invalid == invalid))

    @property
    def _draws_random_numbers(self) -> bool:
        """Whether a pinned case draws random numbers, so that it passes now and then."""
        calls = (case.call for case in map(decode_verdict_case, self.members) if case is not None)
        specs = ((CATALOGUE[call.layer], call) for call in calls)
        return any(
            spec.randomness.draws is not None or spec.randomness.is_used(call)
            for spec, call in specs
        )

    def text(self, reason: str = "") -> str:
        """The entry in TOML.

        Args:
            reason: why it fails; by default empty, for the user to fill in.
        """
        bug, run = self.bug, self.run
        field_names = ("layer", "check", "dtype", "device")
        fields: dict[str, Any] = {name: _joined_names(self.members, name) for name in field_names}
        if self.status != "failed":
            fields["check"] = ",".join(self._crashing_checks())
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
        fields |= {"at_most": self.at_most} if self.at_most < 1 else {}
        versions = dict(_installed_versions(run.identity.info))
        fields |= {"versions": versions} if versions else {}
        fields |= {"status": self.status} if self.status != "failed" else {}
        cases = {v.id: v.case for v in self.members if v.case is not None}
        never_stale = self._draws_random_numbers or self._needs_guard or not cases
        places = dict.fromkeys(run.identity.places.get(v.device) for v in self.members)
        seen = [place for place in places if place]
        fields |= {"strict": False} if never_stale else {"seen": seen} if seen else {}
        fields["reason"] = reason
        lines = ["[[known]]", f"# {_comment(bug)}"]
        lines += [f"{name} = {toml_text(value)}" for name, value in fields.items()]
        if cases:
            lines.append("[known.cases]")
        for id, case in cases.items():
            # Three apostrophes would end the TOML literal, so all are escaped.
            case_json = _json_text(case).replace("'", "\\u0027")
            lines.append(f"{toml_text(id)} = '''{case_json}'''")
        return "\n".join(lines) + "\n"


def is_met(facts: Facts, name: str, wanted: Any) -> bool:
    """Whether a case meets a condition; conditions on layouts count as met.

    A case does not record the layouts that a check chose.
    """
    return name.endswith(_LAYOUT) or matches(facts.get(name), wanted)


def own_conditions(verdict: Verdict) -> dict[str, Any]:
    """The conditions that the message names and the minimal case itself meets.

    Conditions derived from needs may not hold of it.
    """
    case, conditions = decode_verdict_case(verdict), dict(_named_conditions(verdict))
    if case is None:
        return conditions
    facts = Facts(case)
    return {name: wanted for name, wanted in conditions.items() if is_met(facts, name, wanted)}


def _is_wider(way: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the conditions of `way` are a proper part of those of `other`."""
    return way != other and all(other.get(name) == wanted for name, wanted in way.items())


def _joined_names(members: Sequence[Verdict], field: str) -> str:
    return ",".join(dict.fromkeys(getattr(v, field) for v in members))


def _crash_conditions(run: Run, members: Sequence[Verdict]) -> Iterator[dict[str, Any]]:
    """Conditions of the cases that ended the process; crashing cases have no recorded needs."""
    minimal = [case for case in map(decode_verdict_case, members) if case is not None]
    lost = [case for v in members for case in cases_with_outcome(run, v, "lx")]
    passing = [case for v in members for case in cases_with_outcome(run, v, "p")]
    yield from separating_conditions([*minimal, *lost], passing)


def _named_conditions(verdict: Verdict) -> Iterator[tuple[str, Any]]:
    """The conditions on facts that the message of a verdict names."""
    case = decode_verdict_case(verdict)
    if case is not None and BROKEN in case.labels:
        yield BROKEN, case.labels[BROKEN]
        return
    for need in verdict.needs:
        if not need.fails:
            condition = _condition(need)
            if condition is not None:
                yield need.argument, condition
    yield from _shared_conditions(verdict)
    layouts = {} if verdict.failure is None else verdict.failure.layouts or {}
    for operand, layout in layouts.items():
        yield f"{operand}{_LAYOUT}", layout


def _shared_conditions(verdict: Verdict) -> Iterator[tuple[str, Any]]:
    """The conditions that the message names besides the needs, as far as a file can state them."""
    phrases = {need.phrase for need in verdict.needs}
    for term in () if verdict.share is None else verdict.share.terms:
        if term in phrases:
            continue
        name, condition = condition_of_term(term)
        kinds = fact_kinds(name, (verdict.layer,))
        if kinds and not explain_unmeetable(name, condition, (verdict.layer,)):
            yield name, condition


def condition_of_term(term: str) -> tuple[str, Any]:
    """A term in words, such as `"largest stride ≥ 2"`, as a fact and its condition."""
    match = _TERM.fullmatch(term)
    if match is not None:
        try:
            value = ast.literal_eval(match["value"])
        except (ValueError, SyntaxError):
            pass
        else:
            is_plain = match["sign"] == "=" and isinstance(value, (bool, str))
            comparison = f"{_SIGNS[match['sign']]}{json.dumps(value)}"
            return match["name"], value if is_plain else comparison
    return term.removeprefix("not: "), not term.startswith("not: ")


def estimate_share(failing: int, covered: int) -> float:
    """The share of cases that fails, estimated where `failing` of `covered` failed.

    It is the median estimate, as likely too large as too small, rounded up to two digits. `at_most`
    leaves room for chance itself.
    """
    if failing >= covered:
        return 1.0
    low, high = failing / covered, 1.0
    while high - low > 1e-4:
        middle = (low + high) / 2
        probability = math.fsum(
            math.comb(covered, k) * middle**k * (1 - middle) ** (covered - k)
            for k in range(failing + 1)
        )
        low, high = (middle, high) if probability > MEDIAN else (low, middle)
    return math.ceil(high * 100) / 100


def _condition(need: Need) -> Any:
    """The condition of a need: `">1"` for `groups` 2 where 1 passes; a word or bool as it is.

    A tuple of several numbers gives no condition (None), unless a comparison holds: any dimension
    may meet a condition.
    """
    present, alternative = (_parse_value(text) for text in (need.value, need.other))
    if alternative is None:
        return "given" if present == "given" else "!=null"
    numbers = present if isinstance(present, tuple) else (present,)
    if all(map(is_number, (*numbers, alternative))) and numbers:
        if not need.varied and max(numbers) > alternative:
            return f">{alternative}"
        if not need.varied and isinstance(alternative, float) and min(numbers) < alternative:
            return f"<{alternative}"
        return numbers[0] if len(numbers) == 1 else None
    return present if isinstance(present, (bool, str)) else None


def _parse_value(text: str) -> Any:
    try:
        literals = {"True": "true", "False": "false", "None": "null"}
        parsed = json.loads(literals.get(text, tuple_as_json_list(text)))
    except ValueError:
        return text.strip("'")
    return tuple(parsed) if isinstance(parsed, list) else parsed


def _message_glob(failure: Finding | None) -> str:
    """A glob of a message: of an exception with its text, in which any numbers may stand."""
    if failure is None or not failure.exception:
        return _kind_glob(failure)
    words = re.sub(r"[][?]", "?", text_without_numbers(failure, "*"))
    return re.sub(r"\*+", "*", f"*{failure.exception}*{words}*")


def _kind_glob(failure: Finding | None) -> str:
    if failure is None:
        return "*"
    if failure.exception:
        return f"*{failure.exception}*"
    if failure.kind == "refusal":
        return "*accepted silently*"
    return _MESSAGE_GLOBS.get(failure.kind, "*")


def _installed_versions(info: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Requirements for the packages of a run that are installed here in the same version."""
    for name, recorded in info.items():
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue
        if installed.split("+")[0] == recorded.split("+")[0]:
            yield name, f"=={installed.split('+')[0]}"


def _comment(bug: Cluster) -> str:
    first = bug.first
    needs = f"; {bug.relation} {bug.needs_words}" if bug.needs_words else ""
    return bounded(" ".join(f"{bug.title}: {first.call or first.id}{needs}".split()))


def toml_text(value: Any) -> str:
    """Format a value in TOML."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml_text, value))}]"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{json.dumps(k)} = {toml_text(v)}" for k, v in value.items())
        return f"{{ {inner} }}"
    return _json_text(visible(value) if isinstance(value, str) else value)


def _json_text(value: Any) -> str:
    """Format a value in JSON, with escapes for characters that a TOML string may not hold."""
    text = json.dumps(value, ensure_ascii=False)
    return _NOT_IN_TOML.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
