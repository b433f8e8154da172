"""Known failures: pinned in TOML files, strict, and never a licence for other failures."""

from __future__ import annotations

import ast
import fnmatch
import json
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

import numpy as np
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from .case import Case
from .catalogue import CATALOGUE
from .cpu import features
from .encoding import decode_case

_COMPARISON = re.compile(r"^(==|!=|>=|<=|>|<)\s*(.+)$")
RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_FIELDS = {
    "layer": str,
    "check": str,
    "dtype": str,
    "device": str,
    "backend": str,
    "when": dict,
    "versions": dict,
    "cpu": dict,
    "reason": str,
    "link": str,
    "case": str,
    "status": str,
    "script": str,
}
_STATUSES = ("failed", "crashed", "hung")


class KnownError(ValueError):
    """A file of known failures that cannot be used."""


@dataclass(frozen=True)
class Known:
    """One known failure.

    Args:
        layer, check: what fails, each a comma list of globs.
        dtype, device, backend: where it fails, `"*"` = everywhere.
        when: conditions on the case: argument, `<input>.ndim`, `<input>.size` or `<input>`
            (`"given"`, `"absent"`), `broken` (which constraint an invalid call breaks), or a sum of
            these such as `"padding - dilation * (kernel_size - 1)"`, taken for each dimension → a
            value, a comma list of globs, or a comparison such as `">1"`.
        versions: package → specifier; outside them the entry does not apply.
        cpu: instruction set → whether the CPU has it (`cpu.features`); likewise.
        reason, link: why it fails, and where that is discussed.
        case: the pinned failing case.
        status: `"failed"`, or `"crashed"` or `"hung"` where the backend's process is lost: the
            cases that such an entry covers are not run, but for the pinned one.
        script: a reproducer that needs the backend and NumPy only, nothing of this suite.
    """

    layer: str
    check: str
    reason: str
    dtype: str = "*"
    device: str = "*"
    backend: str = "*"
    when: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    cpu: Mapping[str, bool] = field(default_factory=dict)
    link: str = ""
    case: Case | None = None
    status: str = "failed"
    script: str = ""

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
            all(_named(name, patterns) for name, patterns in pairs)
            and all(_installed(package, wanted) for package, wanted in self.versions.items())
            and all((name in features()) == there for name, there in self.cpu.items())
        )

    def covers(self, case: Case) -> bool:
        """Whether a case meets the conditions."""
        found = facts(case)
        return all(meets(_fact(found, name), wanted) for name, wanted in self.when.items())

    def pinned(self, dtype: str, device: str) -> Case | None:
        """The pinned case in an item's dtype, on its device."""
        if self.case is None:
            return None
        return replace(self.case, call=replace(self.case.call, dtype=dtype, device=device))


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
    return tuple(entry for entry in _all_shipped() if _named(backend, entry.backend))


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


def read(backend: str, paths: Sequence[Path] = ()) -> tuple[Known, ...]:
    """The known failures of a run: those that ship with the backend, and the user's.

    Args:
        backend: its name.
        paths: of the user's files.

    Raises:
        KnownError: for a file that cannot be read, naming it.
    """
    entries = list(shipped(backend))
    for path in paths:
        try:
            entries += parse(path.read_text(encoding="utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise KnownError(f"{path}: {error}") from None
    return tuple(entries)


def applying(known: Sequence[Known], item: Mapping[str, str], backend: str) -> dict[int, Known]:
    """The known failures that are about an item, by their index.

    Args:
        known: of the run.
        item: layer, check, dtype and device.
        backend: its name.
    """
    return {
        index: entry for index, entry in enumerate(known) if entry.applies(**item, backend=backend)
    }


def _entry(table: Mapping[str, Any], where: str) -> Known:
    for key, value in table.items():
        if key not in _FIELDS:
            raise KnownError(f"{where}: no field {key!r}; expected some of {', '.join(_FIELDS)}")
        if not isinstance(value, _FIELDS[key]):
            raise KnownError(f"{where}: {key}={value!r}: expected {_FIELDS[key].__name__}")
    for key in ("layer", "check", "reason"):
        if not table.get(key):
            raise KnownError(f"{where}: {key} is missing")
    if table.get("status", "failed") not in _STATUSES:
        expected = ", ".join(_STATUSES)
        raise KnownError(f"{where}: status={table['status']!r}: expected one of {expected}")
    if not any(_named(layer, table["layer"]) for layer in CATALOGUE):
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
        try:
            facts["case"] = decode_case(json.loads(facts["case"]))
        except (ValueError, KeyError, TypeError) as error:
            raise KnownError(
                f"{where}: case is no case as the results file holds it: {error}"
            ) from error
    return Known(**facts)


def _named(name: str, patterns: str) -> bool:
    """Whether one of a comma list of globs is the name."""
    return any(fnmatch.fnmatchcase(name, pattern.strip()) for pattern in patterns.split(","))


def _installed(package: str, specifier: str) -> bool:
    try:
        return SpecifierSet(specifier).contains(version(package), prereleases=True)
    except PackageNotFoundError:
        return False


def facts(case: Case) -> dict[str, Any]:
    """What conditions can speak of: arguments with their defaults, and the inputs' form."""
    row = CATALOGUE[case.call.layer]
    found: dict[str, Any] = dict(row.defaults)
    if "conv" in row.name.lower():
        # The modules' oracles hand them on.
        found |= {"groups": 1, "stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
        found["padding_mode"] = "zeros"
        weight = case.inputs[1] if len(case.inputs) > 1 else None
        found |= {} if weight is None else {"kernel_size": weight.shape[2:]}
    found |= case.call.arguments
    found |= case.keywords
    for name, array in zip(row.inputs, case.inputs, strict=False):
        found.setdefault(name, "absent" if array is None else "given")
        if array is not None:
            found[f"{name}.ndim"] = array.ndim
            found[f"{name}.size"] = array.size
    if "broken" in case.labels:
        found["broken"] = case.labels["broken"]
    return found


def _fact(found: Mapping[str, Any], name: str) -> Any:
    """A fact by its name, or computed from several; None where there is no such."""
    if name in found:
        return found[name]
    try:
        return tuple(np.atleast_1d(_computed(ast.parse(name, mode="eval").body, found)).tolist())
    except (SyntaxError, KeyError, ValueError, TypeError):
        return None


def _computed(node: ast.expr, found: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.BinOp):
        left, right = _computed(node.left, found), _computed(node.right, found)
        return _ARITHMETIC[type(node.op)](left, right)
    if isinstance(node, ast.Constant):
        return np.asarray(node.value, np.int64)
    return np.asarray(found[ast.unparse(node)], np.int64)


def meets(value: Any, wanted: Any) -> bool:
    """Whether a fact meets a condition: a value, a comma list of globs or a comparison.

    Args:
        value: the fact; of several numbers any may meet it.
        wanted: as in `Known.when`.
    """
    values: Sequence[Any] = value if isinstance(value, (tuple, list)) else [value]
    match = _COMPARISON.match(wanted) if isinstance(wanted, str) else None
    if match is None:
        globs = isinstance(value, str) and isinstance(wanted, str) and _named(value, wanted)
        return globs or value == wanted or any(v == wanted for v in values)
    try:
        number = json.loads(match[2])
        return any(v is not None and RELATIONS[match[1]](v, number) for v in values)
    except (ValueError, TypeError):
        return False
