"""Results embedded in a page, compressed: for the filters and for download."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from conformance.reports.results import Run
from conformance.reports.statuses import unique_verdicts

from conformance.model.case import Verdict

MAX_BYTES = 600_000
"""The most compressed bytes of results on a page; beyond it, fields are left out."""

MAX_TEXT = 50_000
"""Characters of one text in the page's results."""

SURELY_TOO_MANY = 10_000
"""With more verdicts than this, the histograms never fit."""

HISTOGRAMS = ("ulps", "ratios", "outcomes", "drawn", "worst", "farthest")
EVIDENCE = ("case", "reproducer", "needs", "command", "failure")


def pack_results(run: Run) -> tuple[str, tuple[str, ...]]:
    """The results as base64 of gzipped JSON lines, and the names of the fields left out.

    Verdicts are in the order of `statuses.unique_verdicts`.
    """
    choices = ((), HISTOGRAMS, (*HISTOGRAMS, *EVIDENCE))
    for left_out in choices[len(run.verdicts) > SURELY_TOO_MANY :]:
        data = compress(b"".join(_lines(run, left_out)))
        if len(data) <= MAX_BYTES * 4 // 3:
            break
    return data, left_out


def compress(data: bytes) -> str:
    """Compress bytes reproducibly, and encode them as base64."""
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode()


def _lines(run: Run, left_out: tuple[str, ...]) -> Iterator[bytes]:
    yield _encode({"kind": "run", **vars(run.identity)})
    for verdict in unique_verdicts(run):
        yield _line(verdict, left_out)
    for line in (*run.benchmarks, *run.timing):
        yield _encode(line)
    if run.footer is not None:
        yield _encode({"kind": "footer", **vars(run.footer)})


def _line(verdict: Verdict, left_out: tuple[str, ...]) -> bytes:
    fields = {"kind": "verdict", **vars(verdict)}
    for name in left_out:
        fields.pop(name, None)
    if left_out:
        # More digits only need space.
        fields = {name: value for name, value in fields.items() if value not in (None, {}, (), "")}
        fields["seconds"] = round(verdict.seconds, 2)
        if verdict.margin is not None:
            fields["margin"] = float(f"{verdict.margin:.4g}")
    return _encode(fields)


def _encode(record: Mapping[str, Any]) -> bytes:
    try:
        line = msgspec.json.encode(record)
    except UnicodeEncodeError:
        line = b""
    if not line or len(line) > MAX_TEXT:
        line = msgspec.json.encode(_cut_texts(msgspec.to_builtins(record)))
    return line + b"\n"


def _cut_texts(value: Any) -> Any:
    """Cut long texts, and escape lone surrogates."""
    if isinstance(value, str):
        text = value if len(value) <= MAX_TEXT else f"{value[:MAX_TEXT]} … cut"
        return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_cut_texts(key): _cut_texts(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cut_texts(entry) for entry in value]
    return value
