"""JSON Schemas of the files that the suite reads and writes: results, known failures, the wire."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from importlib.resources import files
from typing import Any

import msgspec
from conformance.reports.results import SCHEMA, Benchmark, Footer, Identity

from conformance.model.case import Verdict

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_LINE_TYPES: Mapping[str, type] = {
    "run": Identity,
    "verdict": Verdict,
    "footer": Footer,
    "benchmark": Benchmark,
}
_TEXT, _TABLE = {"type": "string"}, {"type": "object"}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_STRINGS = {**_TABLE, "additionalProperties": _TEXT}
KNOWN: Mapping[str, Any] = {
    "layer": _TEXT,
    "check": _TEXT,
    "reason": {**_TEXT, "minLength": 1},
    "dtype": _TEXT,
    "device": _TEXT,
    "backend": _TEXT,
    "when": {"anyOf": [_TABLE, {"type": "array", "items": _TABLE}]},
    "versions": _STRINGS,
    "cpu": {**_TABLE, "additionalProperties": {"type": "boolean"}},
    "link": _TEXT,
    # A case in JSON, as results hold it.
    "case": _TEXT,
    "cases": _STRINGS,
    "status": {"enum": ["failed", "crashed", "hung"]},
    "script": _TEXT,
    "said": _TEXT,
    "at_most": _SHARE,
    "within": {"type": "number", "minimum": 1},
    "seen": {"type": "array", "items": _TEXT},
    "strict": {"type": "boolean"},
    "chance": {"type": "string"},
}
"""The fields of an entry in a file of known failures; docs/known-failures.md explains them."""


def results() -> dict[str, Any]:
    """The schema of a line of a results file."""
    references, parts = msgspec.json.schema_components(
        _LINE_TYPES.values(), ref_template="#/$defs/{name}"
    )
    of_kind = [
        {"type": "object", "properties": {"kind": {"const": kind}}, "required": ["kind"], **line}
        for kind, line in zip(_LINE_TYPES, references, strict=True)
    ]
    timing = {**_TABLE, "properties": {"kind": {"const": "timing"}}, "required": ["kind"]}
    return {
        "$schema": DRAFT,
        "title": f"A line of a results file of nn-conformance, schema {SCHEMA}",
        "oneOf": [*of_kind, timing],
        "$defs": parts,
    }


def known() -> dict[str, Any]:
    """The schema of a file of known failures, read as TOML."""
    entry = {
        **_TABLE,
        "properties": dict(KNOWN),
        "required": ["layer", "check", "reason"],
        "additionalProperties": False,
    }
    return {
        "$schema": DRAFT,
        "title": "Known failures of a backend, for nn-conformance",
        **_TABLE,
        "properties": {"known": {"type": "array", "items": entry}},
        "additionalProperties": False,
    }


FILE_SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "results": results,
    "known-failures": known,
}
"""Functions that make the schemas of files, by name; the wire defines its own schema."""


def text(name: str) -> str:
    """A schema as it ships with the package: `"results"`, `"known-failures"` or `"wire"`."""
    path = files("conformance").joinpath("schemas", f"{name}.schema.json")
    return path.read_text(encoding="utf-8")


def file_text(schema: Mapping[str, Any]) -> str:
    """The text of a schema's file."""
    plain = _normalize(schema)
    annotated = {"$comment": "Written by `tools/schema_files.py`.", **plain}
    return json.dumps(annotated, indent=1, ensure_ascii=False) + "\n"


def _normalize(value: Any) -> Any:
    """The schema without what versions of msgspec write differently.

    They differ in the indentation of docstrings, and in whether they write empty defaults.
    """
    if isinstance(value, Mapping):
        return {
            name: inspect.cleandoc(x)
            if name == "description" and isinstance(x, str)
            else _normalize(x)
            for name, x in value.items()
            if not (name == "default" and x in ({}, []))
        }
    return [_normalize(x) for x in value] if isinstance(value, (list, tuple)) else value
