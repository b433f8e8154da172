"""Fuzzes readers of files: results, known failures, and every command that reads them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conformance.reports.results import ResultsError, parse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conformance.commands import cli
from conformance.known import entry as known
from hostile.files_known_fields import PINNED, entry_toml
from hostile.making import FAILED, FOOTER, HEADER, PASSED, TIMED, lines

RECORDS = (HEADER, PASSED, FAILED, TIMED, FOOTER)
ID = FAILED["id"]
COMMANDS = (
    ("render", "bad.jsonl", "-o", "out.html"),
    ("scoreboard", "bad.jsonl", "-o", "board.html"),
    ("bug-report", "bad.jsonl", ID),
    ("merge", "good.jsonl", "bad.jsonl", "-o", "out.jsonl"),
    ("compare", "good.jsonl", "bad.jsonl", "-o", "compare.html"),
    ("compare", "bad.jsonl", "good.jsonl", "-o", "compare.html", "--force"),
    ("badge", "bad.jsonl", "-o", "out.svg"),
    ("summary", "bad.jsonl", "--all"),
    ("verify", "bad.jsonl"),
    ("replay", "bad.jsonl", "no-such-verdict"),
    ("known", "bad.jsonl"),
    ("known", "bad.jsonl", "--write", "out.toml"),
    ("exhaustive", "bad.jsonl", "--table", "table.md"),
)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from((-1, 0, 10**20, 10**400, "", "x", "inf", "1/0", "a/b", "1/1000000000")),
    st.floats(),
    st.text(max_size=9),
    st.just("[" * 5000),
    st.lists(st.none() | st.integers() | st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(max_size=3)),
)
QUICK = settings(
    max_examples=150, deadline=None, database=None, derandomize=True,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def find_paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in a record."""
    paths = [path] if path else []
    children = dict(enumerate(value)) if isinstance(value, list) else value
    for key, child in children.items() if isinstance(children, dict) else ():
        paths += find_paths(child, (*path, key))
    return paths


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A valid file of results after one to three changes."""
    records = json.loads(json.dumps(RECORDS))
    for _ in range(draw(st.integers(0, 3))):
        record = draw(st.sampled_from(records))
        target = record
        if not (reachable := find_paths(record)):
            continue
        fields = [path for path in reachable if len(path) == 1]
        *path, last_key = draw(st.sampled_from(fields) | st.sampled_from(reachable))
        for step in path:
            target = target[step]
        if draw(st.booleans()) or isinstance(target, list):
            target[last_key] = draw(VALUES)
        else:
            del target[last_key]
    kind = draw(st.sampled_from(("as-it-is", "shuffled", "doubled", "dropped", "cut", "flipped")))
    if kind == "shuffled":
        records = draw(st.permutations(records))
    elif kind == "doubled":
        records.insert(draw(st.integers(0, 5)), draw(st.sampled_from(records)))
    elif kind == "dropped":
        del records[draw(st.integers(0, 4))]
    content = lines(*records).encode("utf-8", "surrogatepass")
    if kind == "cut":
        content = content[: draw(st.integers(0, len(content)))]
    elif kind == "flipped":
        spoiled = bytearray(content)
        for _ in range(draw(st.integers(1, 4))):
            spoiled[draw(st.integers(0, len(spoiled) - 1))] = draw(st.integers(0, 255))
        content = bytes(spoiled)
    return content


@st.composite
def known_files(draw: st.DrawFn) -> str:
    """A file of known failures after some changes."""
    names = ("layer", "check", "dtype", "device", "backend", "when", "versions", "cpu", "said")
    texts = st.one_of(
        st.text(max_size=9).map(json.dumps),
        st.integers().map(str),
        st.sampled_from(
            ("nan", "-inf", "true", "[]", "{}", "[{}]", "{ a = 1 }", "{ a = { b = 2 } }", "[1]",
             '">1"', '{ "input.ndim" = ">1" }', '{ dimension = 1 }', "2026-01-01", '"[!"')
        ),
    )  # fmt: skip
    other_names = (
        "at_most",
        "within",
        "strict",
        "status",
        "link",
        "script",
        "case",
        "cases",
        "reason",
    )
    changes = draw(
        st.dictionaries(st.sampled_from((*names, *other_names)), st.none() | texts, max_size=3)
    )
    text = entry_toml(**({"strict": None, "case": PINNED[7:]} | changes))
    kind = draw(st.sampled_from(("as-it-is", "doubled", "cut", "replaced")))
    if kind == "doubled":
        return text * 2
    if kind == "cut":
        return text[: draw(st.integers(0, len(text)))]
    if kind == "replaced":
        position = draw(st.integers(0, len(text) - 1))
        return text[:position] + draw(st.characters()) + text[position + 1 :]
    return text


def read_or_refuse(
    parser: Any, content: Any, name: str, refusal: type[Exception]
) -> tuple[Any, str]:
    """Parse the content: (result, ""), or (None, message) if the reader refuses it."""
    try:
        return parser(content, name), ""
    except refusal as error:
        return None, str(error)


@QUICK
@given(files())
def test_results_are_read_or_refused(content: bytes) -> None:
    run, refusal_text = read_or_refuse(
        parse, content.splitlines(keepends=True), "bad.jsonl", ResultsError
    )
    assert run is None or run.identity.backend is not None
    assert run is not None or "bad.jsonl" in refusal_text
    assert len(refusal_text) < 5000


@settings(QUICK, max_examples=300)
@given(known_files())
def test_known_failures_are_read_or_refused(text: str) -> None:
    entries, refusal_text = read_or_refuse(
        known.parse_entries, text, "k.toml", known.KnownFailureError
    )
    assert all(entry.layer and entry.check and entry.reason.strip() for entry in entries or ())
    assert entries is not None or "k.toml" in refusal_text
    assert len(refusal_text) < 5000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with a valid file of results in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.jsonl").write_text(lines(*RECORDS), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: f"{words[0]}-{words[1]}"[:-6])
def test_a_command_ends_with_a_status(
    command: tuple[str, ...], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @settings(QUICK, max_examples=100)
    @given(files())
    def try_content(content: bytes) -> None:
        bad_file = folder / "bad.jsonl"
        bad_file.write_bytes(content)
        try:
            status = cli.main(command)
        except SystemExit as end:
            status = end.code
        assert status in (0, 1, 2)
        assert bad_file.read_bytes() == content
        captured = capsys.readouterr()
        assert status != 2 or captured.err
        assert not CONTROL.search(captured.out + captured.err)

    try_content()


@pytest.mark.parametrize("rewrite", [False, True])
def test_known_ends_with_a_status(
    rewrite: bool, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @settings(QUICK, max_examples=100)
    @given(known_files())
    def try_text(text: str) -> None:
        (folder / "k.toml").write_text(text, encoding="utf-8", errors="surrogatepass")
        assert cli.main(["known", "k.toml", *["--rewrite"] * rewrite]) in (0, 2)
        captured = capsys.readouterr()
        assert not CONTROL.search(captured.out + captured.err)

    try_text()
