"""A file of known failures from the results of a run: one entry for each likely cause."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from conformance.failures.facts import Facts
from conformance.failures.known import meets
from conformance.model.case import Case, Verdict
from conformance.model.cause import Need, listed
from conformance.model.encoding import decode_case
from conformance.model.finding import Finding
from conformance.reports import summary
from conformance.reports.clusters import Cluster
from conformance.reports.results import Run
from conformance.reports.space import expanded
from conformance.run.planning import Item
from conformance.run.stream import Stream

_LAYOUT = ".layout"
_ENTRY = re.compile(r"(?m)^(?=\[\[known\]\])")
_WORDS = {
    "value": "*wrong of*", "gradient": "*wrong of*", "bits": "*differ*", "shape": "*shape of*",
    "dtype": "*dtype of*", "presence": "*wanted*", "sign": "*wrong of*",
}  # fmt: skip


@dataclass(frozen=True)
class Written:
    """What is to be written, and what the reader of it should know.

    Args:
        text: of the file.
        new: how many entries are new: they have no reason yet.
        stale: reasons of entries that no failure of the run rests on; they are left out.
    """

    text: str
    new: int
    stale: tuple[str, ...] = ()


def written(run: Run, earlier: str = "") -> Written:
    """The entries of a run's failures, behind those of an earlier file that still hold.

    Args:
        run: the results.
        earlier: text of the file that the run was made with, or of an older one.
    """
    kept, stale = _kept(run, earlier)
    bugs = summary.clusters(summary.listed(summary.matrix(run)), run.identity.layers)
    failed = (bug for bug in bugs if bug.status in ("failed", "crashed", "hung"))
    entries = [entry for bug in failed for entry in _entries(run, bug)]
    _widen(run, entries)
    parts = [*kept, *(entry.text() for entry in entries)]
    return Written("\n".join(part.strip("\n") + "\n" for part in parts), len(entries), tuple(stale))


def _kept(run: Run, earlier: str) -> tuple[list[str], list[str]]:
    """Text of the earlier entries that hold, or are about other items; reasons of the others."""
    holds = {excuse.reason for v in run.verdicts for excuse in v.excuses if excuse.excused}
    layers = {v.layer for v in run.verdicts}
    kept, stale = list[str](), list[str]()
    first, *parts = _ENTRY.split(earlier)
    for part in parts:
        table = tomllib.loads(part)["known"][0]
        asked = any(named in layers for named in str(table.get("layer", "")).split(","))
        reason = str(table.get("reason", ""))
        if reason and (reason in holds or not asked or table.get("strict") is False):
            kept.append(part)
        elif reason:
            stale.append(reason)
    return ([first] if first.strip() else []) + kept, stale


def _entries(run: Run, bug: Cluster) -> Iterator[_Entry]:
    """One entry; checks whose minimal cases do not need what the others need have their own.

    Their conditions are wider, and would excuse more than they have to in the other checks.
    """
    checks = {check: [v for v in bug.members if v.check == check] for check in bug.checks}
    entry = _Entry(run, bug, checks.pop(bug.first.check))
    rest = list[Verdict]()
    for members in checks.values():
        if all(v.case is None or entry.covers(decode_case(v.case)) for v in members):
            entry.members += members
        else:
            rest += members
    yield entry
    if rest:
        yield _Entry(run, bug, rest)


class _Entry:
    """One entry to be: what the minimal cases of its members need, each one way to fail."""

    def __init__(self, run: Run, bug: Cluster, members: list[Verdict]) -> None:
        self.run, self.bug, self.members = run, bug, members
        found = [dict(_conditions(verdict)) for verdict in members]
        self.ways = [way for way in found if not any(_wider(other, way) for other in found)]

    def covers(self, case: Case) -> bool:
        """Whether a case meets the conditions."""
        return not self.unmet(case)[1]

    def unmet(self, case: Case) -> tuple[dict[str, Any], list[str]]:
        """The conditions that a case is nearest to meet, and those that it does not meet."""
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

    def text(self) -> str:
        """TOML."""
        bug, run = self.bug, self.run
        named = ("layer", "check", "dtype", "device")
        fields: dict[str, Any] = {name: _names(self.members, name) for name in named}
        if set(fields["dtype"].split(",")) == set(run.identity.dtypes):
            del fields["dtype"]
        if len(run.identity.devices) == 1:
            del fields["device"]
        fields["backend"] = run.identity.backend
        ways = [way for k, way in enumerate(self.ways) if way not in self.ways[:k]]
        if all(ways):
            fields["when"] = ways[0] if len(ways) == 1 else ways
        fields |= {"said": self.said} if self.said != "*" else {}
        versions = dict(_versions(run.identity.info))
        fields |= {"versions": versions} if versions else {}
        fields |= {"status": bug.status} if bug.status != "failed" else {}
        fields["reason"] = ""
        lines = ["[[known]]", f"# {_comment(bug)}"]
        lines += [f"{name} = {_toml(value)}" for name, value in fields.items()]
        cases = {v.id: v.case for v in self.members if v.case is not None}
        if cases:
            lines.append("[known.cases]")
        for id, case in cases.items():
            # As a TOML literal ends at three apostrophes none stands in it.
            data = json.dumps(case, ensure_ascii=False).replace("'", "\\u0027")
            lines.append(f"{json.dumps(id)} = '''{data}'''")
        return "\n".join(lines) + "\n"


def _widen(run: Run, entries: Sequence[_Entry]) -> None:
    """Drop conditions that leave a failing case of an item uncovered: as few as there can be."""
    for verdict in run.verdicts:
        ours = [e for e in entries if any(m.id == verdict.id for m in e.members)]
        if not ours:
            continue
        for case in _failing(run, verdict):
            way, unmet = min((e.unmet(case) for e in ours), key=lambda found: len(found[1]))
            for name in unmet:
                del way[name]


def _met(found: Facts, name: str, wanted: Any) -> bool:
    """Whether a case meets a condition; the layouts that a check chose are not recorded."""
    return name.endswith(_LAYOUT) or meets(found.get(name), wanted)


def _wider(way: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether some conditions ask for less than others."""
    return way != other and all(other.get(name) == wanted for name, wanted in way.items())


def _names(members: Sequence[Verdict], field: str) -> str:
    return ",".join(dict.fromkeys(getattr(v, field) for v in members))


def _failing(run: Run, verdict: Verdict) -> Iterable[Case]:
    """The cases of an item that failed, and that nothing explains."""
    identity = run.identity
    values = int(identity.options.get("values of each structure", "1"))
    item = Item(verdict.layer, verdict.check, verdict.dtype, verdict.device)
    stream = Stream(item, identity.examples, identity.seed, values)
    letters = expanded(verdict.outcomes or "")
    return (stream[k] for k, letter in enumerate(letters) if letter == "f")


def _conditions(verdict: Verdict) -> Iterator[tuple[str, Any]]:
    """What the minimal case needs, as conditions on facts."""
    if verdict.check == "errors" and verdict.failure is not None and verdict.failure.what:
        yield "broken", verdict.failure.what
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
    """`groups`, 2 in place of 1 → `">1"`; a word or a truth value as it is; None for no condition.

    One number of several stands for itself: any dimension may meet a condition.
    """
    value, other = (_value(text) for text in (need.value, need.other))
    if other is None:
        return "given" if value == "given" else "!=null"
    numbers = value if isinstance(value, tuple) else (value,)
    if all(map(_is_number, (*numbers, other))) and numbers:
        if not need.varied and max(numbers) > other:
            return f">{other}"
        if not need.varied and isinstance(other, float) and min(numbers) < other:
            return f"<{other}"
        return numbers[0] if len(numbers) == 1 else None
    return value if isinstance(value, (bool, str)) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


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
    """Of the packages that a run names and that are installed as it names them."""
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
    return " ".join(f"{bug.title}: {first.call or first.id}{needs}".split())


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items())
        return f"{{ {inner} }}"
    return json.dumps(value, ensure_ascii=False)


def write(run: Run, path: Path, *, update: bool = False) -> Written:
    """Write the file.

    Args:
        run: the results.
        path: of the file.
        update: entries of the file that still hold stay as they are.

    Raises:
        FileExistsError: if it is there, and is not to be updated.
    """
    if path.exists() and not update:
        raise FileExistsError(f"{path} is there: --update keeps the reasons of what still holds")
    earlier = path.read_text(encoding="utf-8") if update and path.exists() else ""
    found = written(run, earlier)
    path.write_text(found.text, encoding="utf-8")
    return found
