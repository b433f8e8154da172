"""The shipped JSON Schemas are current, and valid for the files that are written and read."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from conformance.reports import results, schemas
from made_runs import rich_run
from schema_files import SCHEMA_MAKERS

from conformance.backends.wire_format import Built
from conformance.commands import cli
from conformance.known.entry import KnownFailure, KnownFailureError, parse_entries


def _is_valid(name: str, value: Any) -> bool:
    validator = jsonschema.Draft202012Validator(json.loads(schemas.text(name)))
    return bool(validator.is_valid(value))


@pytest.mark.parametrize("name", list(SCHEMA_MAKERS))
def test_a_schema_is_as_made(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert schemas.text(name) == schemas.file_text(SCHEMA_MAKERS[name]())
    jsonschema.Draft202012Validator.check_schema(json.loads(schemas.text(name)))
    assert cli.main(["schema", name]) == 0
    assert capsys.readouterr().out == schemas.text(name)


def test_every_line_of_a_results_file_is_valid() -> None:
    run = rich_run()
    lines = [run.identity, *run.verdicts, *([run.footer] if run.footer else [])]
    line_objects = [json.loads(results.encode_line(line)) for line in lines]
    line_objects += [dict(line) for line in run.benchmarks]
    assert len(line_objects) > 5
    for line in line_objects:
        assert _is_valid("results", line), line
    first, verdict = line_objects[:2]
    for broken in (
        {**first, "seed": "one"},
        {**verdict, "comparisons": None},
        {**verdict, "kind": "opinion"},
        {k: v for k, v in verdict.items() if k != "status"},
    ):
        assert not _is_valid("results", broken)


def test_every_shipped_file_of_known_failures_is_valid() -> None:
    folder = files("conformance").joinpath("known_failures")
    names = [path for path in folder.iterdir() if path.name.endswith(".toml")]
    assert len(names) > 5
    for path in names:
        assert _is_valid("known-failures", tomllib.loads(path.read_text(encoding="utf-8"))), (
            path.name
        )


def test_the_schema_has_the_fields_that_are_read() -> None:
    assert set(schemas.KNOWN) == {field.name for field in dataclasses.fields(KnownFailure)} - {
        "base"
    }


@pytest.mark.parametrize(
    "broken",
    [
        "reasn = 'misspelt'",
        "at_most = 2",
        "status = 'odd'",
        "when = 'always'",
        "versions = {torch = 2}",
        "strict = 'no'",
    ],
)
def test_what_the_schema_refuses_the_reader_refuses(broken: str) -> None:
    text = f"[[known]]\nlayer = 'ReLU'\ncheck = '*'\nreason = 'wrong numbers: so'\n{broken}\n"
    assert not _is_valid("known-failures", tomllib.loads(text))
    with pytest.raises(KnownFailureError):
        parse_entries(text, "k.toml")


def test_an_answer_of_a_server_is_valid() -> None:
    assert _is_valid("wire", {"id": 1, "ok": {"layer": 3}})
    assert not _is_valid("wire", {"ok": {}})
    definitions = json.loads(schemas.text("wire"))["$defs"]
    assert set(definitions["Built"]["properties"]) == set(Built.__struct_fields__)
