"""Known failures: pinned in TOML files, strict, and never a licence for other failures."""

from __future__ import annotations

import fnmatch
import json
import math
import operator
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from conformance.failures.cpu import cpu_features
from conformance.failures.facts import Facts
from conformance.layers import CATALOGUE
from conformance.model.case import Case
from conformance.model.encoding import decode_case

_COMPARISON = re.compile(r"^(==|!=|>=|<=|>|<)\s*(.+)$")
RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_NUMBER, _CONDITIONS = (float, int), (dict, list)
_EXPECTED: dict[Any, str] = {_NUMBER: "a number", _CONDITIONS: "a table or a list of tables"}
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "layer": str,
    "check": str,
    "dtype": str,
    "device": str,
    "backend": str,
    "when": _CONDITIONS,
    "versions": dict,
    "cpu": dict,
    "reason": str,
    "link": str,
    "case": str,
    "cases": dict,
    "status": str,
    "script": str,
    "said": str,
    "at_most": _NUMBER,
    "within": _NUMBER,
    "strict": bool,
}
_STATUSES = ("failed", "crashed", "hung")
DIMENSION = "dimension"
"""The key of conditions that one and the same spatial dimension meets."""
LONGEST = 5000
"""Characters of a message that `said` is matched with."""
CHANCE = 1e-6
"""A run of a thousand items shows a false excess of `at_most` once in a thousand runs."""


class KnownError(ValueError):
    """A file of known failures that cannot be used."""


@dataclass(frozen=True)
class Known:
    """One known failure.

    Args:
        layer, check: what fails, each a comma list of globs.
        dtype, device, backend: where it fails, `"*"` = everywhere.
        when: conditions on the case: the name of a fact (`Facts.get`: an argument, `<input>` as
            `"given"` or `"absent"`, `<input>.ndim`, `<input>.shape[0]`, `weight.layout`,
            `channels_per_group`, `windows`, `output_length`, `empty`, `broken`, or a sum of
            numbers) → a value, a comma list of globs, or a comparison such as `">1"`. Of several
            numbers any may meet a condition; under the key `dimension` stand conditions that one
            and the same spatial dimension meets. A list of such tables: one of them is met.
        versions: package → specifier; outside them the entry does not apply.
        cpu: instruction set → whether the CPU has it (`cpu.cpu_features`); likewise.
        reason, link: why it fails, and where that is discussed.
        case: the pinned failing case.
        cases: item → its pinned case, where one case does not fail in all of them.
        status: `"failed"`, or `"crashed"` or `"hung"` where the backend's process is lost: the
            cases that such an entry covers run in a copy of the process. A case that may end in
            both ways needs an entry for each.
        script: a reproducer that needs the backend and NumPy only, nothing of this suite.
        said: a glob that the failure's message matches: `"*IndexError*"`.
        at_most: the largest share of the covered cases that fails; more than this fails the item.
        within: the largest error ÷ bound that it excuses: a rounding error a little beyond its
            bound is no licence for a wrong formula.
        strict: the entry is stale where its pinned case passes. False for a failure that depends
            on a CPU, on memory or on chance.
        base: the backend that the entry is inherited from; empty for the backend's own.
    """

    layer: str
    check: str
    reason: str
    dtype: str = "*"
    device: str = "*"
    backend: str = "*"
    when: Mapping[str, Any] | Sequence[Mapping[str, Any]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    cpu: Mapping[str, bool] = field(default_factory=dict)
    link: str = ""
    case: Case | None = None
    cases: Mapping[str, Case] = field(default_factory=dict)
    status: str = "failed"
    script: str = ""
    said: str = "*"
    at_most: float = 1.0
    within: float | None = None
    strict: bool = True
    base: str = ""

    @property
    def by_chance(self) -> bool:
        """Whether the failure depends on more than the case."""
        return not self.strict

    @property
    def alternatives(self) -> Sequence[Mapping[str, Any]]:
        """The conditions, of which one table is met."""
        return (self.when,) if isinstance(self.when, Mapping) else self.when

    @property
    def deadly(self) -> bool:
        """Whether the failure takes the process with it."""
        return self.status != "failed"

    def applies(self, *, layer: str, check: str, dtype: str, device: str, backend: str) -> bool:
        """Whether the entry is about an item, in the versions installed and on this CPU."""
        pairs = (
            (layer, self.layer),
            (check, self.check),
            (dtype, self.dtype),
            (device, self.device),
            (backend, self.backend),
        )
        return (
            all(named(name, patterns) for name, patterns in pairs)
            and all(_installed(package, wanted) for package, wanted in self.versions.items())
            and all((name in cpu_features()) == there for name, there in self.cpu.items())
        )

    def covers(self, case: Case, layouts: Mapping[str, str] | None = None) -> bool:
        """Whether a case meets the conditions.

        Args:
            case: the case.
            layouts: memory layout of each operand, where a check chooses them.
        """
        return self.met_by(Facts(case, layouts))

    def met_by(self, found: Facts) -> bool:
        """Whether the facts of a case meet the conditions."""
        return any(
            all(
                _in_one_dimension(found, wanted)
                if name == DIMENSION
                else meets(found.get(name), wanted)
                for name, wanted in conditions.items()
            )
            for conditions in self.alternatives
        )

    def explains(self, found: Facts, message: str, excess: float | None = None) -> bool:
        """Whether the entry covers a case and expects the message of its failure.

        Args:
            found: facts of the case.
            message: what the check says of it.
            excess: largest error ÷ bound; None where the failure is none of numbers.
        """
        matches = self.said == "*" or fnmatch.fnmatchcase(message[:LONGEST], self.said)
        near = self.within is None or (excess is not None and excess <= self.within)
        return matches and near and self.met_by(found)

    def is_exceeded(self, failed: int, covered: int) -> bool:
        """Whether more cases fail than `at_most` allows.

        Args:
            failed: covered cases that failed as the entry says.
            covered: cases that meet its conditions.

        Returns:
            True where so many failures of independent cases, each failing with probability
            `at_most`, have a chance below `CHANCE`.
        """
        p = float(self.at_most)
        if p >= 1:
            return False
        tail = math.fsum(
            math.comb(covered, k) * p**k * (1 - p) ** (covered - k)
            for k in range(failed, covered + 1)
        )
        return tail < CHANCE

    def pinned(self, dtype: str, device: str, item: str = "") -> Case | None:
        """The pinned case in an item's dtype, on its device.

        Args:
            dtype, device: of the item.
            item: its id.
        """
        case = self.cases.get(item, self.case)
        return None if case is None else on(case, dtype, device)


def on(case: Case, dtype: str, device: str) -> Case:
    """A case in a dtype, on a device."""
    return replace(case, call=replace(case.call, dtype=dtype, device=device))


def parse(text: str, name: str) -> tuple[Known, ...]:
    """Read a file of known failures.

    Args:
        text: TOML with tables `[[known]]`.
        name: of the file, for messages.

    Raises:
        KnownError: naming the entry and what is wrong with it.
    """
    try:
        tables = tomllib.loads(text).get("known", [])
    except tomllib.TOMLDecodeError as error:
        raise KnownError(f"{name}: {error}") from None
    return tuple(_entry(table, f"{name}, entry {k}") for k, table in enumerate(tables, 1))


def shipped(backend: str) -> tuple[Known, ...]:
    """The known failures that ship with the package for one of its own backends.

    An entry is about the backend that its file is named for, or about those that it names itself
    (`backend = "torch,torch-compile"`), whichever file it is in.

    Args:
        backend: its name.
    """
    return tuple(entry for entry in _all_shipped() if named(backend, entry.backend))


@cache
def _all_shipped() -> tuple[Known, ...]:
    """Every file's entries, the files by name."""
    folder = files("conformance") / "known_failures"
    found: list[Known] = []
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        name = file.name.removesuffix(".toml")
        if name == file.name:
            continue
        for entry in parse(file.read_text(encoding="utf-8"), f"known_failures/{file.name}"):
            found.append(entry if entry.backend != "*" else replace(entry, backend=name))
    return tuple(found)


def read(backend: str, paths: Sequence[Path] = (), base: str = "") -> tuple[Known, ...]:
    """The known failures of a run: those that ship with the backend, the user's, and its base's.

    Args:
        backend: its name.
        paths: of the user's files.
        base: the backend whose kernels it inherits; empty for none.

    Raises:
        KnownError: for a file that cannot be read, naming it.
    """
    entries = list(shipped(backend))
    for path in paths:
        try:
            entries += parse(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise KnownError(f"{path}: {error}") from None
    if base and base != backend:
        own = set(map(id, entries))
        entries += [
            replace(entry, backend="*", base=base)
            for entry in shipped(base)
            if id(entry) not in own
        ]
    return tuple(entries)


def applying(
    known: Sequence[Known], item: Mapping[str, str], backend: str, base: str = ""
) -> dict[int, Known]:
    """The known failures that are about an item, by their index.

    Args:
        known: of the run.
        item: layer, check, dtype and device.
        backend: its name.
        base: the backend that it inherits the item's layer from; empty for none.
    """
    return {
        index: entry
        for index, entry in enumerate(known)
        if entry.base in ("", base) and entry.applies(**item, backend=backend)
    }


def _entry(table: Mapping[str, Any], where: str) -> Known:
    for key, value in table.items():
        if key not in _FIELDS:
            raise KnownError(f"{where}: no field {key!r}; expected some of {', '.join(_FIELDS)}")
        kind = _FIELDS[key]
        if not isinstance(value, kind) or (kind is _NUMBER and isinstance(value, bool)):
            expected = _EXPECTED.get(kind) or getattr(kind, "__name__", "")
            raise KnownError(f"{where}: {key}={value!r}: expected {expected}")
    when = table.get("when", {})
    if isinstance(when, list) and not (when and all(isinstance(x, dict) for x in when)):
        raise KnownError(f"{where}: when={when!r}: expected a table or a list of tables")
    for key in ("layer", "check"):
        if not table.get(key):
            raise KnownError(f"{where}: {key} is missing")
    if not table.get("reason"):
        about = f"{table['layer']}, {table['check']}"
        raise KnownError(f"{where} ({about}): reason is empty: say why it fails")
    if not 0 < table.get("at_most", 1) <= 1:
        raise KnownError(f"{where}: at_most={table['at_most']!r}: expected a share above 0 up to 1")
    if table.get("within", 2) <= 1:
        expected = "an error ÷ bound above 1"
        raise KnownError(f"{where}: within={table['within']!r}: expected {expected}")
    if table.get("status", "failed") not in _STATUSES:
        expected = ", ".join(_STATUSES)
        raise KnownError(f"{where}: status={table['status']!r}: expected one of {expected}")
    if not any(named(layer, table["layer"]) for layer in CATALOGUE):
        raise KnownError(f"{where}: layer={table['layer']!r} names no layer of the suite")
    for package, specifier in table.get("versions", {}).items():
        try:
            SpecifierSet(str(specifier))
        except InvalidSpecifier:
            raise KnownError(
                f"{where}: versions.{package}={specifier!r}: expected a specifier such as '>=2.13'"
            ) from None
    for feature, there in table.get("cpu", {}).items():
        if not isinstance(there, bool):
            raise KnownError(f"{where}: cpu.{feature}={there!r}: expected true or false")
    facts = dict(table)
    if "case" in facts:
        facts["case"] = _case(facts["case"], f"{where}: case")
    if "cases" in facts:
        named_cases = facts["cases"].items()
        facts["cases"] = {id: _case(x, f"{where}: cases.{id}") for id, x in named_cases}
    return Known(**facts)


def _case(text: Any, where: str) -> Case:
    try:
        return decode_case(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        raise KnownError(f"{where} is no case as the results file holds it: {error}") from error


def named(name: str, patterns: str) -> bool:
    """Whether one of a comma list of globs is the name."""
    return any(fnmatch.fnmatchcase(name, pattern.strip()) for pattern in patterns.split(","))


def _installed(package: str, specifier: str) -> bool:
    try:
        return SpecifierSet(specifier).contains(version(package), prereleases=True)
    except PackageNotFoundError:
        return False


def _in_one_dimension(found: Facts, conditions: Mapping[str, Any]) -> bool:
    """Whether one spatial dimension meets all conditions."""
    return any(
        all(meets(place[name], wanted) for name, wanted in conditions.items())
        for place in found.dimensions(conditions)
    )


def meets(value: Any, wanted: Any) -> bool:
    """Whether a fact meets a condition: a value, a comma list of globs or a comparison.

    Args:
        value: the fact; of several numbers any may meet it.
        wanted: as in `Known.when`.
    """
    values: Sequence[Any] = value if isinstance(value, (tuple, list)) else [value]
    match = _COMPARISON.match(wanted) if isinstance(wanted, str) else None
    if match is None:
        globs = isinstance(value, str) and isinstance(wanted, str) and named(value, wanted)
        return globs or value == wanted or any(v == wanted for v in values)
    try:
        number = json.loads(match[2])
        return any(v is not None and RELATIONS[match[1]](v, number) for v in values)
    except (ValueError, TypeError):
        return False
