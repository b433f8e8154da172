"""Validate one entry of a file of known failures: its types, names, conditions and cases."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from conformance.checks import EVERY_CHECK
from conformance.layers import CATALOGUE, COMPLEX, DTYPES
from conformance.layers.encoding import decode_case
from conformance.matching.comparison import named
from conformance.matching.fact_schema import LONGEST, layers_named, unknown_fact, unmeetable
from conformance.model.case import Case
from conformance.model.plain_text import bounded
from conformance.model.usage_error import UsageError

_NUMBER, _CONDITIONS = (float, int), (dict, list)
_EXPECTED: dict[Any, str] = {
    _NUMBER: "a number",
    _CONDITIONS: "a table or a list of tables",
    str: "str",
    dict: "a table",
    list: "a list",
    bool: "true or false",
}
FIELDS: dict[str, type | tuple[type, ...]] = {
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
    "seen": list,
    "strict": bool,
    "chance": str,
}
STATUSES = ("failed", "crashed", "hung")
DIMENSION = "dimension"
"""The key of conditions that one spatial dimension must meet together."""
_DEVICE = re.compile(r"[\w*?\[\]!-]+(:[\w*?\[\]!-]+)?")
_PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_FEATURE = re.compile(r"[a-z0-9_.]+")


class KnownError(UsageError, ValueError):
    """A file of known failures that cannot be used."""


def held(table: Any, where: str) -> dict[str, Any]:
    """Validate an entry and return its fields with decoded cases.

    Args:
        table: the entry's table from TOML.
        where: the file and the number of the entry, for messages.

    Raises:
        KnownError: if a field is invalid; the message has its value and what was expected.
    """
    if not isinstance(table, Mapping):
        raise _error(where, "known", table, "a table: [[known]]")
    for key, value in table.items():
        if key not in FIELDS:
            expected = f"expected some of {', '.join(FIELDS)}"
            raise KnownError(f"{where}: no field {bounded(repr(key), LONGEST)}; {expected}")
        kind = FIELDS[key]
        if not isinstance(value, kind) or (kind is _NUMBER and isinstance(value, bool)):
            raise _error(where, key, value, _EXPECTED[kind])
    for key in ("layer", "check"):
        if not table.get(key, "").strip():
            raise KnownError(f"{where}: {key} is missing")
    if not table.get("reason", "").strip():
        about = bounded(f"{table['layer']}, {table['check']}", LONGEST)
        raise KnownError(f"{where} ({about}): reason is empty: say why it fails")
    layers = _layers(table, where)
    _names(table, layers, where)
    _numbers(table, where)
    _conditions(table.get("when", {}), layers, where)
    _places(table, where)
    fields = dict(table)
    if "case" in fields:
        fields["case"] = _case(fields["case"], layers, f"{where}: case")
    fields["cases"] = _cases(table, layers, where)
    fields["seen"] = tuple(table.get("seen", ()))
    _pinned(fields, layers, where)
    return fields


def _error(where: str, field: str, value: Any, expected: str) -> KnownError:
    shown = bounded(repr(value), LONGEST)
    return KnownError(f"{where}: {bounded(field, LONGEST)}={shown}: expected {expected}")


def _layers(table: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Find the layers that an entry names; each part of its list must match one."""
    for part in table["layer"].split(","):
        if not layers_named(part.strip()):
            expected = "layers of the suite: nn-conformance layers lists them"
            raise KnownError(
                f"{where}: layer={bounded(repr(table['layer']), LONGEST)}: "
                f"{bounded(repr(part.strip()), LONGEST)} matches no layer; expected {expected}"
            )
    return layers_named(table["layer"])


def _names(table: Mapping[str, Any], layers: tuple[str, ...], where: str) -> None:
    reason = _without_check(table["check"], layers)
    if reason:
        raise _error(where, "check", table["check"], reason)
    for key, known in (("dtype", (*DTYPES, *COMPLEX)), ("status", STATUSES)):
        for part in table.get(key, known[0]).split(","):
            exact = key == "status"
            if not any(x == part if exact else named(x, part.strip()) for x in known):
                raise _error(where, key, table[key], f"some of {', '.join(known)}")
    for part in table.get("device", "*").split(","):
        if not _DEVICE.fullmatch(part.strip()):
            raise _error(where, "device", table["device"], "names such as 'cpu' or 'cuda:*'")
    if not all(part.strip() for part in table.get("backend", "*").split(",")):
        raise _error(where, "backend", table["backend"], "names of backends")
    if not table.get("said", "*"):
        raise _error(where, "said", "", "a glob that the message matches, such as '*IndexError*'")


@lru_cache(maxsize=4096)
def _without_check(checks: str, layers: tuple[str, ...]) -> str:
    """What is expected if a check does not exist or applies to none of the layers; else empty."""
    for part in checks.split(","):
        found = [check for name, check in EVERY_CHECK.items() if named(name, part.strip())]
        if not found:
            return f"some of {', '.join(EVERY_CHECK)}"
        if not any(check.applies(CATALOGUE[x]) for check in found for x in layers):
            return f"checks that apply to {layers[0]}, {part.strip()!r} does not"
    return ""


def _numbers(table: Mapping[str, Any], where: str) -> None:
    if not 0 < table.get("at_most", 1) <= 1:
        raise _error(where, "at_most", table["at_most"], "a share above 0 up to 1")
    if not 1 < table.get("within", 2) < math.inf:
        raise _error(where, "within", table["within"], "an error ÷ bound above 1")


def _places(table: Mapping[str, Any], where: str) -> None:
    """Validate the fields `versions`, `cpu` and `seen`."""
    for package, specifier in table.get("versions", {}).items():
        if not _PACKAGE.fullmatch(package):
            raise _error(where, "versions", package, "the name of a package")
        if not (isinstance(specifier, str) and _is_specifier(specifier)):
            field = f"versions.{package}"
            raise _error(where, field, specifier, "a specifier such as '>=2.13'")
    for feature, there in table.get("cpu", {}).items():
        if not _FEATURE.fullmatch(feature):
            raise _error(where, "cpu", feature, "an instruction set such as 'avx512_bf16'")
        if not isinstance(there, bool):
            raise _error(where, f"cpu.{feature}", there, "true or false")
    for place in table.get("seen", []):
        if not (isinstance(place, str) and place.strip()):
            raise _error(where, "seen", place, "a place, as nn-conformance known --seen writes it")


@lru_cache(maxsize=256)
def _is_specifier(text: str) -> bool:
    try:
        return bool(text.strip()) and bool(SpecifierSet(text))
    except InvalidSpecifier:
        return False


def _conditions(when: Any, layers: tuple[str, ...], where: str) -> None:
    if isinstance(when, list):
        if not (when and all(isinstance(x, dict) and x for x in when)):
            raise _error(where, "when", when, "a table or a list of tables, none of them empty")
        for table in when:
            _conditions(table, layers, where)
        return
    for name, wanted in when.items():
        if name == DIMENSION:
            inner = isinstance(wanted, dict) and wanted and DIMENSION not in wanted
            if not inner or not any(CATALOGUE[layer].signature.dims for layer in layers):
                expected = "a table of conditions, of layers with spatial dimensions"
                raise _error(where, f"when.{DIMENSION}", wanted, expected)
            _conditions(wanted, layers, where)
            continue
        expected = unknown_fact(name, layers)
        if expected:
            shown = bounded(repr(name), LONGEST)
            raise KnownError(f"{where}: when={{ {shown} = … }}: no such fact; {expected}")
        expected = unmeetable(name, wanted, layers)
        if expected:
            raise _error(where, f"when.{name}", wanted, expected)


def _cases(table: Mapping[str, Any], layers: tuple[str, ...], where: str) -> dict[str, Case]:
    found: dict[str, Case] = {}
    for id, text in table.get("cases", {}).items():
        layer, _, rest = id.partition("-")
        check, _, rest = rest.partition("-")
        dtype, _, device = rest.partition("-")
        parts = ("layer", layer), ("check", check), ("dtype", dtype), ("device", device)
        if not all(name and named(name, table.get(key, "*")) for key, name in parts):
            expected = "an item that the entry is about, such as 'Linear-values-float32-cpu'"
            raise _error(where, "cases", id, expected)
        found[id] = _case(text, layers, f"{where}: cases.{id}")
    return found


def _case(text: Any, layers: tuple[str, ...], where: str) -> Case:
    try:
        case = decode_case(json.loads(text))
    except RecursionError:
        raise KnownError(f"{where} is not a case of a results file: too deep") from None
    except (ValueError, TypeError) as error:
        reason = bounded(str(error), LONGEST)
        raise KnownError(f"{where} is not a case of a results file: {reason}") from error
    if case.call.layer not in layers:
        raise KnownError(
            f"{where} is a call of {bounded(repr(case.call.layer), LONGEST)}, expected one of "
            f"{', '.join(layers[:5])}{', …' if len(layers) > 5 else ''}"
        )
    row, given = CATALOGUE[case.call.layer], {**case.call.arguments, **case.keywords}
    # An input that is not an array is passed by its name.
    named_inputs = {*row.signature.input_names} & {*case.keywords}
    unknown = next(
        (k for k in given if row.signature.argument(k) is None and k not in named_inputs), None
    )
    if unknown is not None:
        shown, all_of = bounded(repr(unknown), LONGEST), [a.name for a in row.signature.arguments]
        expected = f"expected some of {', '.join(all_of)}" if all_of else "it has none"
        raise KnownError(f"{where}: {row.name} has no argument {shown}; {expected}")
    if len(case.inputs) > len(row.signature.inputs):
        expected = f"those of {row.name}: {', '.join(row.signature.input_names)}"
        raise KnownError(f"{where} has {len(case.inputs)} inputs, expected {expected}")
    missing = [name for name in row.signature.required if name not in given]
    if "broken" not in case.labels and (missing or not case.inputs):
        raise KnownError(f"{where} has no {missing[0] if missing else 'input'}")
    return case


def _pinned(fields: Mapping[str, Any], layers: tuple[str, ...], where: str) -> None:
    """Require a pinned case, or `strict = false` and a restriction to some layers.

    An entry without a case is never stale.
    """
    if "case" in fields or fields["cases"]:
        return
    if len(layers) == len(CATALOGUE):
        raise KnownError(
            f"{where}: layer={fields['layer']!r} without a case excuses every failure: expected "
            "a failing case (case = '''…'''), or the layers that fail"
        )
    if fields.get("strict", True):
        raise KnownError(
            f"{where}: no case: expected a failing one (case = '''…''', as "
            "nn-conformance known --write pins it), or strict = false, with which the entry is "
            "never stale"
        )
