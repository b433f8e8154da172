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
from conformance.matching.comparison import matches_globs
from conformance.matching.fact_schema import (
    MAX_TEXT_LENGTH,
    explain_unknown_fact,
    explain_unmeetable,
    find_layers,
)
from conformance.model.case import Case
from conformance.model.plain_text import bounded
from conformance.model.usage_error import UsageError

_NUMBER, _CONDITIONS = (float, int), (dict, list)
_TYPE_TEXTS: dict[Any, str] = {
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
DIMENSION_KEY = "dimension"
"""The key of conditions that one spatial dimension must meet together."""
_DEVICE = re.compile(r"[\w*?\[\]!-]+(:[\w*?\[\]!-]+)?")
_PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_FEATURE = re.compile(r"[a-z0-9_.]+")


class KnownFailureError(UsageError, ValueError):
    """A file of known failures that cannot be used."""


def validate_entry(table: Any, where: str) -> dict[str, Any]:
    """Validate an entry and return its fields with decoded cases.

    Args:
        table: the entry's table from TOML.
        where: the file and the number of the entry, for messages.

    Raises:
        KnownError: if a field is invalid; the message has its value and what was expected.
    """
    if not isinstance(table, Mapping):
        raise _field_error(where, "known", table, "a table: [[known]]")
    for key, value in table.items():
        if key not in FIELDS:
            expected = f"expected some of {', '.join(FIELDS)}"
            raise KnownFailureError(
                f"{where}: no field {bounded(repr(key), MAX_TEXT_LENGTH)}; {expected}"
            )
        expected_type = FIELDS[key]
        if not isinstance(value, expected_type) or (
            expected_type is _NUMBER and isinstance(value, bool)
        ):
            raise _field_error(where, key, value, _TYPE_TEXTS[expected_type])
    for key in ("layer", "check"):
        if not table.get(key, "").strip():
            raise KnownFailureError(f"{where}: {key} is missing")
    if not table.get("reason", "").strip():
        subject = bounded(f"{table['layer']}, {table['check']}", MAX_TEXT_LENGTH)
        raise KnownFailureError(f"{where} ({subject}): reason is empty: say why it fails")
    layers = _find_layers(table, where)
    _validate_names(table, layers, where)
    _validate_numbers(table, where)
    _validate_conditions(table.get("when", {}), layers, where)
    _validate_places(table, where)
    fields = dict(table)
    if "case" in fields:
        fields["case"] = _decode_pinned_case(fields["case"], layers, f"{where}: case")
    fields["cases"] = _decode_pinned_cases(table, layers, where)
    fields["seen"] = tuple(table.get("seen", ()))
    _require_pinned_case(fields, layers, where)
    return fields


def _field_error(where: str, field: str, value: Any, expected: str) -> KnownFailureError:
    value_text = bounded(repr(value), MAX_TEXT_LENGTH)
    return KnownFailureError(
        f"{where}: {bounded(field, MAX_TEXT_LENGTH)}={value_text}: expected {expected}"
    )


def _find_layers(table: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Find the layers that an entry names; each part of its list must match one."""
    for part in table["layer"].split(","):
        if not find_layers(part.strip()):
            expected = "layers of the suite: nn-conformance layers lists them"
            raise KnownFailureError(
                f"{where}: layer={bounded(repr(table['layer']), MAX_TEXT_LENGTH)}: "
                f"{bounded(repr(part.strip()), MAX_TEXT_LENGTH)} matches no layer; "
                f"expected {expected}"
            )
    return find_layers(table["layer"])


def _validate_names(table: Mapping[str, Any], layers: tuple[str, ...], where: str) -> None:
    expected = _expected_checks(table["check"], layers)
    if expected:
        raise _field_error(where, "check", table["check"], expected)
    for key, allowed in (("dtype", (*DTYPES, *COMPLEX)), ("status", STATUSES)):
        for part in table.get(key, allowed[0]).split(","):
            is_exact = key == "status"
            if not any(x == part if is_exact else matches_globs(x, part.strip()) for x in allowed):
                raise _field_error(where, key, table[key], f"some of {', '.join(allowed)}")
    for part in table.get("device", "*").split(","):
        if not _DEVICE.fullmatch(part.strip()):
            raise _field_error(where, "device", table["device"], "names such as 'cpu' or 'cuda:*'")
    if not all(part.strip() for part in table.get("backend", "*").split(",")):
        raise _field_error(where, "backend", table["backend"], "names of backends")
    if not table.get("said", "*"):
        raise _field_error(
            where, "said", "", "a glob that the message matches, such as '*IndexError*'"
        )


@lru_cache(maxsize=4096)
def _expected_checks(checks: str, layers: tuple[str, ...]) -> str:
    """What is expected if a check does not exist or applies to none of the layers; else empty."""
    for part in checks.split(","):
        matching_checks = [
            check for name, check in EVERY_CHECK.items() if matches_globs(name, part.strip())
        ]
        if not matching_checks:
            return f"some of {', '.join(EVERY_CHECK)}"
        if not any(check.applies(CATALOGUE[x]) for check in matching_checks for x in layers):
            return f"checks that apply to {layers[0]}, {part.strip()!r} does not"
    return ""


def _validate_numbers(table: Mapping[str, Any], where: str) -> None:
    if not 0 < table.get("at_most", 1) <= 1:
        raise _field_error(where, "at_most", table["at_most"], "a share above 0 up to 1")
    if not 1 < table.get("within", 2) < math.inf:
        raise _field_error(where, "within", table["within"], "an error ÷ bound above 1")


def _validate_places(table: Mapping[str, Any], where: str) -> None:
    """Validate the fields `versions`, `cpu` and `seen`."""
    for package, specifier in table.get("versions", {}).items():
        if not _PACKAGE.fullmatch(package):
            raise _field_error(where, "versions", package, "the name of a package")
        if not (isinstance(specifier, str) and _is_specifier(specifier)):
            field = f"versions.{package}"
            raise _field_error(where, field, specifier, "a specifier such as '>=2.13'")
    for feature, is_present in table.get("cpu", {}).items():
        if not _FEATURE.fullmatch(feature):
            raise _field_error(where, "cpu", feature, "an instruction set such as 'avx512_bf16'")
        if not isinstance(is_present, bool):
            raise _field_error(where, f"cpu.{feature}", is_present, "true or false")
    for place in table.get("seen", []):
        if not (isinstance(place, str) and place.strip()):
            raise _field_error(
                where, "seen", place, "a place, as nn-conformance known --seen writes it"
            )


@lru_cache(maxsize=256)
def _is_specifier(text: str) -> bool:
    try:
        return bool(text.strip()) and bool(SpecifierSet(text))
    except InvalidSpecifier:
        return False


def _validate_conditions(when: Any, layers: tuple[str, ...], where: str) -> None:
    if isinstance(when, list):
        if not (when and all(isinstance(x, dict) and x for x in when)):
            raise _field_error(
                where, "when", when, "a table or a list of tables, none of them empty"
            )
        for table in when:
            _validate_conditions(table, layers, where)
        return
    for name, condition in when.items():
        if name == DIMENSION_KEY:
            is_valid_table = (
                isinstance(condition, dict) and condition and DIMENSION_KEY not in condition
            )
            if not is_valid_table or not any(CATALOGUE[layer].signature.dims for layer in layers):
                expected = "a table of conditions, of layers with spatial dimensions"
                raise _field_error(where, f"when.{DIMENSION_KEY}", condition, expected)
            _validate_conditions(condition, layers, where)
            continue
        expected = explain_unknown_fact(name, layers)
        if expected:
            name_text = bounded(repr(name), MAX_TEXT_LENGTH)
            raise KnownFailureError(
                f"{where}: when={{ {name_text} = … }}: no such fact; {expected}"
            )
        expected = explain_unmeetable(name, condition, layers)
        if expected:
            raise _field_error(where, f"when.{name}", condition, expected)


def _decode_pinned_cases(
    table: Mapping[str, Any], layers: tuple[str, ...], where: str
) -> dict[str, Case]:
    decoded: dict[str, Case] = {}
    for id, text in table.get("cases", {}).items():
        layer, _, rest = id.partition("-")
        check, _, rest = rest.partition("-")
        dtype, _, device = rest.partition("-")
        fields_and_names = ("layer", layer), ("check", check), ("dtype", dtype), ("device", device)
        if not all(
            name and matches_globs(name, table.get(key, "*")) for key, name in fields_and_names
        ):
            expected = "an item that the entry is about, such as 'Linear-values-float32-cpu'"
            raise _field_error(where, "cases", id, expected)
        decoded[id] = _decode_pinned_case(text, layers, f"{where}: cases.{id}")
    return decoded


def _decode_pinned_case(text: Any, layers: tuple[str, ...], where: str) -> Case:
    try:
        case = decode_case(json.loads(text))
    except RecursionError:
        raise KnownFailureError(f"{where} is not a case of a results file: too deep") from None
    except (ValueError, TypeError) as error:
        reason = bounded(str(error), MAX_TEXT_LENGTH)
        raise KnownFailureError(f"{where} is not a case of a results file: {reason}") from error
    if case.call.layer not in layers:
        raise KnownFailureError(
            f"{where} is a call of {bounded(repr(case.call.layer), MAX_TEXT_LENGTH)}, "
            f"expected one of {', '.join(layers[:5])}{', …' if len(layers) > 5 else ''}"
        )
    spec, arguments = CATALOGUE[case.call.layer], {**case.call.arguments, **case.keywords}
    # An input that is not an array is passed by its name.
    named_inputs = {*spec.signature.input_names} & {*case.keywords}
    unknown = next(
        (k for k in arguments if spec.signature.argument(k) is None and k not in named_inputs), None
    )
    if unknown is not None:
        name_text, argument_names = (
            bounded(repr(unknown), MAX_TEXT_LENGTH),
            [a.name for a in spec.signature.arguments],
        )
        expected = (
            f"expected some of {', '.join(argument_names)}" if argument_names else "it has none"
        )
        raise KnownFailureError(f"{where}: {spec.name} has no argument {name_text}; {expected}")
    if len(case.inputs) > len(spec.signature.inputs):
        expected = f"those of {spec.name}: {', '.join(spec.signature.input_names)}"
        raise KnownFailureError(f"{where} has {len(case.inputs)} inputs, expected {expected}")
    missing = [name for name in spec.signature.required if name not in arguments]
    if "broken" not in case.labels and (missing or not case.inputs):
        raise KnownFailureError(f"{where} has no {missing[0] if missing else 'input'}")
    return case


def _require_pinned_case(fields: Mapping[str, Any], layers: tuple[str, ...], where: str) -> None:
    """Require a pinned case, or `strict = false` and a restriction to some layers.

    An entry without a case is never stale.
    """
    if "case" in fields or fields["cases"]:
        return
    if len(layers) == len(CATALOGUE):
        raise KnownFailureError(
            f"{where}: layer={fields['layer']!r} without a case excuses every failure: expected "
            "a failing case (case = '''…'''), or the layers that fail"
        )
    if fields.get("strict", True):
        raise KnownFailureError(
            f"{where}: no case: expected a failing one (case = '''…''', as "
            "nn-conformance known --write pins it), or strict = false, with which the entry is "
            "never stale"
        )
