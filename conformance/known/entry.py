"""Known failures from TOML files: each excuses exactly the failures that it describes."""

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
from conformance.known.validation import DIMENSION_KEY, KnownFailureError, validate_entry
from conformance.matching.comparison import matches, matches_globs
from conformance.matching.facts import Facts
from conformance.model.case import Case
from conformance.model.checks import facts_of
from conformance.model.files import FileError, read_text
from conformance.model.plain_text import bounded

__all__ = [
    "MAX_FILE_BYTES",
    "KnownFailure",
    "KnownFailureError",
    "applicable_entries",
    "load_entries",
    "matches_globs",
    "parse_entries",
    "shipped_entries",
    "with_dtype_and_device",
]

MAX_FILE_BYTES = 64 << 20
"""The largest size in bytes of a file of known failures."""

_LAYOUT_FACT = re.compile(r"\.(layout|swapped|asked)\b")
MAX_MESSAGE_LENGTH = 5000
"""Characters of a message that `said` is matched against."""
FALSE_ALARM_PROBABILITY = 1e-6
"""Probability per item of falsely reporting that `at_most` is exceeded.

In runs of a thousand items, that is one false report in a thousand runs.
"""


@dataclass(frozen=True)
class KnownFailure:
    """One known failure.

    Args:
        layer, check: what fails, each a comma list of globs.
        dtype, device, backend: where it fails, `"*"` = everywhere.
        when: conditions on the case. A key is the name of a fact (`Facts.get`): an argument,
            `<input>` as `"given"` or `"absent"`, `<input>.ndim`, `<input>.shape[0]`,
            `weight.layout`, `channels_per_group`, `windows`, `output_length`, `empty`, `broken`, or
            a sum of numbers. A value is a value, a comma list of globs, or a comparison such as
            `">1"`. If a fact has several numbers, one of them must meet the condition. The key
            `dimension` holds conditions that one spatial dimension must meet together. In a list
            of such tables, one table must be met.
        versions: package → specifier; the entry applies to these versions only.
        cpu: instruction set → whether the CPU must have it or must lack it (`cpu.cpu_features`).
        reason, link: why it fails, and where that is discussed.
        case: the pinned failing case.
        cases: item → its pinned case, if no single case fails in all items.
        status: `"failed"`, or `"crashed"` or `"hung"` if the backend's process is lost. The cases
            of such an entry run in a copy of the process. A case that may end in both ways needs
            an entry for each.
        script: a reproducer that needs only the backend and NumPy, not this suite.
        said: a glob that the failure's message matches: `"*IndexError*"`.
        at_most: the largest share of the covered cases that may fail; if more fail, so does the
            item.
        within: the largest error ÷ bound that it excuses, so that an entry for rounding errors
            does not excuse a wrong formula.
        seen: the places (`cpu.describe_place`) where all its pinned cases fail. The entry becomes
            stale only if a pinned case passes in such a place.
        strict: False if no case is pinned, or if the pinned case may pass: it is never stale.
        chance: what decides the failure besides the case, such as `"what memory holds"`. Empty if
            the case decides: then an entry of a base excuses only what the base does, too.
        base: the backend from which the entry is inherited; empty for the backend's own.
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
    chance: str = ""
    base: str = ""

    @property
    def condition_tables(self) -> Sequence[Mapping[str, Any]]:
        """The tables of conditions; a covered case meets at least one of them."""
        return (self.when,) if isinstance(self.when, Mapping) else self.when

    @property
    def ends_process(self) -> bool:
        """Whether the failure ends the process or makes it hang."""
        return self.status != "failed"

    def applies(self, *, layer: str, check: str, dtype: str, device: str, backend: str) -> bool:
        """Whether the entry is about an item, in the versions installed and on this CPU."""
        # Every item checks every entry: the layer comes first because it excludes most of them.
        return (
            matches_globs(layer, self.layer)
            and (self.is_about(check) or self.is_about_values_in(check))
            and matches_globs(dtype, self.dtype)
            and matches_globs(device, self.device)
            and matches_globs(backend, self.backend)
            and all(
                _is_version_installed(package, specifier)
                for package, specifier in self.versions.items()
            )
            and all((name in cpu_features()) == is_present for name, is_present in self.cpu.items())
        )

    @property
    def is_mended(self) -> bool:
        """Whether a newer version is installed than those it is about."""
        return any(_is_newer_installed(*wanted) for wanted in self.versions.items())

    def is_about(self, check: str) -> bool:
        """Whether the entry names a check, or one whose comparisons that check makes."""
        return any(matches_globs(name, self.check) for name in (check, *facts_of(check).runs))

    def is_about_values_in(self, check: str) -> bool:
        """Whether it is about wrong values, which also fail a check that compares outputs.

        Not if only some of its cases fail: their share in another check is not known.
        """
        is_about_values = self.at_most >= 1 and matches_globs("values", self.check)
        return facts_of(check).follows_values and is_about_values

    def covers(self, case: Case, layouts: Mapping[str, str] | None = None) -> bool:
        """Whether a case meets the conditions.

        Args:
            layouts: memory layout of each operand, where a check chooses them.
        """
        return self.matches_facts(Facts(case, layouts))

    def matches_facts(self, facts: Facts) -> bool:
        """Whether the facts of a case meet the conditions."""
        return any(
            all(
                _matches_in_one_dimension(facts, condition)
                if name == DIMENSION_KEY
                else matches(facts.get(name), condition)
                for name, condition in conditions.items()
            )
            for conditions in self.condition_tables
        )

    def explains(self, facts: Facts, message: str, error_ratio: float | None = None) -> bool:
        """Whether the entry covers a case and describes its failure.

        Args:
            message: the message of the failure.
            error_ratio: largest error ÷ bound; None if no numbers are wrong.
        """
        message_matches = self.said == "*" or fnmatch.fnmatchcase(
            message[:MAX_MESSAGE_LENGTH], self.said
        )
        is_within_ratio = self.within is None or (
            error_ratio is not None and error_ratio <= self.within
        )
        return message_matches and is_within_ratio and self.matches_facts(facts)

    def is_exceeded(self, failed: int, covered: int) -> bool:
        """Whether more cases fail than `at_most` allows.

        Args:
            failed: number of covered cases that failed as the entry says.
            covered: number of cases that meet its conditions.

        Returns:
            True if independent cases that each fail with probability `at_most` would fail this
            often with a probability below `FALSE_ALARM_PROBABILITY`.
        """
        p = float(self.at_most)
        if p >= 1:
            return False
        tail = math.fsum(
            math.comb(covered, k) * p**k * (1 - p) ** (covered - k)
            for k in range(failed, covered + 1)
        )
        return tail < FALSE_ALARM_PROBABILITY

    def pinned_case(self, dtype: str, device: str, item_id: str = "") -> Case | None:
        """The pinned case in a dtype and on a device; None if there is none.

        Args:
            item_id: the item's id, for an entry with a case for each item.
        """
        case = self.cases.get(item_id, self.case)
        return None if case is None else with_dtype_and_device(case, dtype, device)


def with_dtype_and_device(case: Case, dtype: str, device: str) -> Case:
    """Return the case with another dtype and device in its call."""
    return replace(case, call=replace(case.call, dtype=dtype, device=device))


def parse_entries(text: str, name: str) -> tuple[KnownFailure, ...]:
    """Read a file of known failures.

    Args:
        text: TOML with tables `[[known]]`.
        name: the file's name, for messages.

    Raises:
        KnownError: if an entry is invalid; the message names the entry and the error.
    """
    return tuple(_parse_entry(table, where) for where, table in _read_tables(text, name))


def _read_tables(text: str, name: str) -> list[tuple[str, Any]]:
    """Each entry's place (file and number), and its table from TOML."""
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise KnownFailureError(f"{name}: tables within tables, too deep") from None
    except ValueError as error:  # a number with too many digits is not a TOMLDecodeError
        raise KnownFailureError(f"{name}: {bounded(str(error))}") from None
    unexpected_key = next((key for key in document if key != "known"), None)
    tables = document.get("known", [])
    if unexpected_key is not None or not isinstance(tables, list):
        key_text = bounded(repr(unexpected_key or "known"), 200)
        raise KnownFailureError(
            f"{name}: {key_text} at the top: expected tables [[known]] and nothing else"
        )
    return [(f"{name}, entry {k}", table) for k, table in enumerate(tables, 1)]


def _parse_entry(table: Any, where: str) -> KnownFailure:
    """Parse an entry and require that its pinned cases meet its conditions.

    Conditions on layouts do not count: a check chooses layouts, so the case need not state them.
    """
    entry = KnownFailure(**validate_entry(table, where))
    tables_without_layouts = [
        {k: v for k, v in way.items() if not _LAYOUT_FACT.search(k)}
        for way in entry.condition_tables
    ]
    layout_free = replace(entry, when=tables_without_layouts)
    pinned_cases = {"case": entry.case, **{f"cases.{id}": case for id, case in entry.cases.items()}}
    for field_name, case in pinned_cases.items():
        if case is not None and not layout_free.covers(case):
            conditions_text = bounded(repr(entry.when), 200)
            raise KnownFailureError(f"{where}: {field_name} does not meet when={conditions_text}")
    return entry


@cache
def shipped_entries(backend: str) -> tuple[KnownFailure, ...]:
    """The known failures that ship with the package for one of its own backends.

    An entry is about the backends that it names (`backend = "torch,torch-compile"`), by default
    the one after which its file is named. Entries about other backends are not validated: that
    would take longer than the start of a process.
    """
    folder = files("conformance") / "known_failures"
    entries: list[KnownFailure] = []
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        name = file.name.removesuffix(".toml")
        if name == file.name:
            continue
        text = file.read_text(encoding="utf-8")
        if backend != name and backend not in text:
            continue
        for where, table in _read_tables(text, f"known_failures/{file.name}"):
            backend_globs = table.get("backend", name)
            if matches_globs(backend, backend_globs):
                entries.append(replace(_parse_entry(table, where), backend=backend_globs))
    return tuple(entries)


def load_entries(
    backend: str, paths: Sequence[Path] = (), base: str = ""
) -> tuple[KnownFailure, ...]:
    """Load a run's known failures: the backend's shipped entries, the user's, and the base's.

    Args:
        paths: the user's files.
        base: the backend whose kernels it inherits; empty for none.

    Raises:
        KnownError: if a file cannot be read; the message names it.
    """
    entries = list(shipped_entries(backend))
    for path in paths:
        try:
            entries += parse_entries(read_text(path, MAX_FILE_BYTES), str(path))
        except FileError as error:
            raise KnownFailureError(f"{error}") from None
        except (OSError, ValueError) as error:
            if isinstance(error, KnownFailureError):
                raise
            raise KnownFailureError(
                f"{path}: {getattr(error, 'strerror', None) or error}"
            ) from None
    if base and base != backend:
        own_ids = set(map(id, entries))
        entries += [
            replace(entry, backend="*", base=base)
            for entry in shipped_entries(base)
            if id(entry) not in own_ids
        ]
    return tuple(entries)


class ItemLike(Protocol):
    """An item, or the verdict of one."""

    @property
    def layer(self) -> str: ...
    @property
    def check(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def device(self) -> str: ...


def applicable_entries(
    known: Sequence[KnownFailure], item: ItemLike, backend: str, base: str = ""
) -> dict[int, KnownFailure]:
    """The known failures that apply to an item, by their index in `known`.

    Args:
        known: the run's known failures.
        base: the backend from which it inherits the item's layer; empty for none.
    """
    item_facts = {name: getattr(item, name) for name in ("layer", "check", "dtype", "device")}
    return {
        index: entry
        for index, entry in enumerate(known)
        if entry.base in ("", base) and entry.applies(**item_facts, backend=backend)
    }


@cache
def _is_newer_installed(package: str, wanted: str) -> bool:
    """Whether the installed version is beyond an upper bound of those that are wanted."""
    bounds = [str(x) for x in SpecifierSet(wanted) if x.operator in ("<", "<=")]
    is_within = [_is_version_installed(package, bound) for bound in bounds]
    return not all(is_within) and _is_version_installed(package, "")


def _is_version_installed(package: str, specifier: str) -> bool:
    try:
        return SpecifierSet(specifier).contains(version(package), prereleases=True)
    except PackageNotFoundError:
        return False


def _matches_in_one_dimension(facts: Facts, conditions: Mapping[str, Any]) -> bool:
    """Whether one spatial dimension meets all conditions."""
    return any(
        all(matches(dimension[name], condition) for name, condition in conditions.items())
        for dimension in facts.dimensions(conditions)
    )
