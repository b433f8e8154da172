"""Known failures: pinned in TOML files, strict, and never a licence for other failures."""

from __future__ import annotations

import fnmatch
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

from packaging.specifiers import SpecifierSet

from conformance.known.cpu import cpu_features
from conformance.known.validation import DIMENSION, KnownError, held
from conformance.matching.comparison import meets, named
from conformance.matching.facts import Facts
from conformance.model.case import Case
from conformance.model.files import FileError, read_text
from conformance.model.plain_text import bounded

__all__ = [
    "MOST",
    "Known",
    "KnownError",
    "applying",
    "named",
    "on",
    "parse",
    "read",
    "shipped",
]

MOST = 64 << 20
"""Bytes of a file of known failures."""

_LAID = re.compile(r"\.(layout|swapped|asked)\b")
LONGEST = 5000
"""Characters of a message that `said` is matched with."""
CHANCE = 1e-6
"""A run of a thousand items shows a false excess of `at_most` once in a thousand runs."""


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
        seen: where all its pinned cases fail (`cpu.place_of`): there, and nowhere else, it is stale
            where one passes.
        strict: False for a failure that depends on memory or on chance: it is never stale.
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
    seen: tuple[str, ...] = ()
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
        # Every item asks every entry: the layer tells most of them apart.
        return (
            named(layer, self.layer)
            and named(check, self.check)
            and named(dtype, self.dtype)
            and named(device, self.device)
            and named(backend, self.backend)
            and all(_installed(package, wanted) for package, wanted in self.versions.items())
            and all((name in cpu_features()) == there for name, there in self.cpu.items())
        )

    def covers(self, case: Case, layouts: Mapping[str, str] | None = None) -> bool:
        """Whether a case meets the conditions.

        Args:
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
    return tuple(_entry(table, where) for where, table in _tables(text, name))


def _tables(text: str, name: str) -> list[tuple[str, Any]]:
    """Each entry as TOML has it, and where it is."""
    try:
        found = tomllib.loads(text)
    except RecursionError:
        raise KnownError(f"{name}: tables within tables, too deep") from None
    except ValueError as error:  # of a number with too many digits, no TOMLDecodeError
        raise KnownError(f"{name}: {bounded(str(error))}") from None
    other = next((key for key in found if key != "known"), None)
    tables = found.get("known", [])
    if other is not None or not isinstance(tables, list):
        shown = bounded(repr(other or "known"), 200)
        raise KnownError(f"{name}: {shown} at the top: expected tables [[known]] and nothing else")
    return [(f"{name}, entry {k}", table) for k, table in enumerate(tables, 1)]


def _entry(table: Any, where: str) -> Known:
    """An entry, whose pinned cases are some of those that it excuses.

    Layouts do not count: a check chooses them, and a case need not hold them.
    """
    entry = Known(**held(table, where))
    asked = [{k: v for k, v in way.items() if not _LAID.search(k)} for way in entry.alternatives]
    plain = replace(entry, when=asked)
    pinned = {"case": entry.case, **{f"cases.{id}": case for id, case in entry.cases.items()}}
    for field_name, case in pinned.items():
        if case is not None and not plain.covers(case):
            shown = bounded(repr(entry.when), 200)
            raise KnownError(f"{where}: {field_name} does not meet when={shown}")
    return entry


@cache
def shipped(backend: str) -> tuple[Known, ...]:
    """The known failures that ship with the package for one of its own backends.

    An entry is about the backend that its file is named for, or about those that it names itself
    (`backend = "torch,torch-compile"`), whichever file it is in. Those about others are not held
    against the schema: that takes longer than a process takes to start.
    """
    folder = files("conformance") / "known_failures"
    found: list[Known] = []
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        name = file.name.removesuffix(".toml")
        if name == file.name:
            continue
        text = file.read_text(encoding="utf-8")
        if backend != name and backend not in text:
            continue
        for where, table in _tables(text, f"known_failures/{file.name}"):
            about = table.get("backend", name)
            if named(backend, about):
                found.append(replace(_entry(table, where), backend=about))
    return tuple(found)


def read(backend: str, paths: Sequence[Path] = (), base: str = "") -> tuple[Known, ...]:
    """The known failures of a run: those that ship with the backend, the user's, and its base's.

    Args:
        paths: of the user's files.
        base: the backend whose kernels it inherits; empty for none.

    Raises:
        KnownError: for a file that cannot be read, naming it.
    """
    entries = list(shipped(backend))
    for path in paths:
        try:
            entries += parse(read_text(path, MOST), str(path))
        except FileError as error:
            raise KnownError(f"{error}") from None
        except (OSError, ValueError) as error:
            if isinstance(error, KnownError):
                raise
            raise KnownError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if base and base != backend:
        own = set(map(id, entries))
        entries += [
            replace(entry, backend="*", base=base)
            for entry in shipped(base)
            if id(entry) not in own
        ]
    return tuple(entries)


class About(Protocol):
    """An item, or a verdict of one."""

    @property
    def layer(self) -> str: ...
    @property
    def check(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def device(self) -> str: ...


def applying(known: Sequence[Known], item: About, backend: str, base: str = "") -> dict[int, Known]:
    """The known failures that are about an item, by their index.

    Args:
        known: of the run.
        base: the backend that it inherits the item's layer from; empty for none.
    """
    about = {name: getattr(item, name) for name in ("layer", "check", "dtype", "device")}
    return {
        index: entry
        for index, entry in enumerate(known)
        if entry.base in ("", base) and entry.applies(**about, backend=backend)
    }


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
