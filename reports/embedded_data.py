"""Results embedded in a page, compressed: for the filters and for download."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from conformance.reports.results import Run
from conformance.reports.statuses import verdicts

from conformance.model.case import Verdict

ROOM = 600_000
"""The most compressed bytes of results on a page; beyond it, fields are left out."""

LONGEST = 50_000
"""Characters of one text in the page's results."""

SURELY_TOO_MANY = 10_000
"""With more verdicts than this, the histograms never fit."""

HISTOGRAMS = ("ulps", "ratios", "outcomes", "drawn", "worst", "farthest")
EVIDENCE = ("case", "reproducer", "needs", "command", "failure")


def packed(run: Run) -> tuple[str, tuple[str, ...]]:
    """The results as base64 of gzipped JSON lines, and the names of the fields left out.

    Verdicts are in the order of `statuses.verdicts`.
    """
    choices = ((), HISTOGRAMS, (*HISTOGRAMS, *EVIDENCE))
    for left_out in choices[len(run.verdicts) > SURELY_TOO_MANY :]:
        data = pack(b"".join(_lines(run, left_out)))
        if len(data) <= ROOM * 4 // 3:
            break
    return data, left_out


def pack(data: bytes) -> str:
    """Compress bytes reproducibly, and encode them as base64."""
    return base64.b64encode(gzip.compress(data, 6, mtime=0)).decode()


def _lines(run: Run, left_out: tuple[str, ...]) -> Iterator[bytes]:
    yield _encoded({"kind": "run", **vars(run.identity)})
    for verdict in verdicts(run):
        yield _line(verdict, left_out)
    for line in (*run.benchmarks, *run.timing):
        yield _encoded(line)
    if run.footer is not None:
        yield _encoded({"kind": "footer", **vars(run.footer)})


def _line(verdict: Verdict, left_out: tuple[str, ...]) -> bytes:
    kept = {"kind": "verdict", **vars(verdict)}
    for name in left_out:
        kept.pop(name, None)
    if left_out:
        # More digits only need space.
        kept = {name: value for name, value in kept.items() if value not in (None, {}, (), "")}
        kept["seconds"] = round(verdict.seconds, 2)
        if verdict.margin is not None:
            kept["margin"] = float(f"{verdict.margin:.4g}")
    return _encoded(kept)


def _encoded(record: Mapping[str, Any]) -> bytes:
    try:
        line = msgspec.json.encode(record)
    except UnicodeEncodeError:
        line = b""
    if not line or len(line) > LONGEST:
        line = msgspec.json.encode(_cut(msgspec.to_builtins(record)))
    return line + b"\n"


def _cut(value: Any) -> Any:
    """Cut long texts, and escape lone surrogates."""
    if isinstance(value, str):
        text = value if len(value) <= LONGEST else f"{value[:LONGEST]} … cut"
        return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, Mapping):
        return {_cut(key): _cut(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cut(entry) for entry in value]
    return value
