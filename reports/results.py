"""The results file: one JSON object a line; its schema, writer and reader."""

from __future__ import annotations

import difflib
import fnmatch
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import msgspec

from conformance.model.case import Verdict
from conformance.model.layer_facts import LayerFacts

SCHEMA = 3
"""Version of the file format; files of older ones are read as well."""

# What an identity says where an older version of the suite did not write it.
_UNKNOWN: Mapping[str, Any] = {
    "schema": 0, "suite": "unknown", "backend": "unknown", "info": {}, "torch": None,
    "numpy": "unknown", "hypothesis": "unknown", "python": "unknown", "os": "unknown",
    "cpu": "unknown", "threads": {}, "devices": [], "dtypes": [], "profile": "unknown",
    "seed": 0, "examples": 0, "shard": "1/1", "options": {}, "items": [], "total": 0,
    "git": None, "started": "unknown",
}  # fmt: skip


@dataclass(frozen=True)
class Identity:
    """Everything that produced a run; the first line of its results file.

    Args:
        schema: version of this file format.
        suite: version of the suite.
        backend, info: the backend's name and what it says of itself.
        torch, numpy, hypothesis, python: versions; torch is None where it is not installed.
        os, cpu, threads: the machine, and the threads each worker may use.
        devices, dtypes: as selected.
        profile, seed, examples, shard: as selected; shard is `"1/1"` for a whole run.
        options: every option of the suite as given on the command line or in the environment.
        items: ids of the items of this file's shard.
        total: number of items of the whole run, all shards together.
        git: commit and whether it has uncommitted changes, where the folder is a checkout.
        started: ISO 8601, UTC.
        numerics: how the backend declares to differ from IEEE arithmetic, by dtype; bounds follow.
        layers: what a report says of each layer; empty in files of schema 1 and 2.
    """

    schema: int
    suite: str
    backend: str
    info: Mapping[str, str]
    torch: str | None
    numpy: str
    hypothesis: str
    python: str
    os: str
    cpu: str
    threads: Mapping[str, str]
    devices: tuple[str, ...]
    dtypes: tuple[str, ...]
    profile: str
    seed: int
    examples: int
    shard: str
    options: Mapping[str, str]
    items: tuple[str, ...]
    total: int
    git: Mapping[str, str] | None
    started: str
    numerics: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    layers: Mapping[str, LayerFacts] = field(default_factory=dict)


@dataclass(frozen=True)
class Footer:
    """The last line: a file without it is a readable, incomplete run.

    Args:
        counts: number of verdicts by status.
        verdicts: number of verdicts.
        seconds: wall time of the run.
        finished: ISO 8601, UTC.
    """

    counts: Mapping[str, int]
    verdicts: int
    seconds: float
    finished: str


class Benchmark(msgspec.Struct, frozen=True, rename={"direction": "pass"}):
    """A line of kind "benchmark": duration of one call, and of torch's own.

    Args:
        layer, dtype, device: what is timed.
        name: of the case: `"resnet stem"`, `"batch 32, width 512"`.
        direction: `"forward"` or `"forward+backward"`; called `pass` in the file.
        status: `"timed"`, or `"not timed: "` and why: `"not timed: failed values"`.
        seconds: median of one call; None where it was not timed.
        iqr: interquartile range of the calls, in seconds.
        ratio: time ÷ torch's time of the same call on the same device; below 1 is faster.
        ratio_low, ratio_high: an interval of 95 % around the ratio.
        torch_seconds: torch's median, timed in turns with the backend.
        spread: interquartile range of torch's rounds ÷ their median: the machine's noise.
        rounds, calls: how many rounds were timed, and calls in each.
        flops, bytes: a second: operations of the plain algorithm, and bytes that it must move.
        peak_flops, peak_bytes: what a large matrix product and a copy reached in the same run.
        verified: what the answer was held against: `"oracle"`, `"torch float64"`.
        message: what was wrong, or why there is no ratio.
    """

    layer: str
    name: str = ""
    dtype: str = ""
    device: str = ""
    direction: str = "forward"
    status: str = "timed"
    seconds: float | None = None
    iqr: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    torch_seconds: float | None = None
    spread: float | None = None
    rounds: int | None = None
    calls: int | None = None
    flops: float | None = None
    bytes: float | None = None
    peak_flops: float | None = None
    peak_bytes: float | None = None
    verified: str | None = None
    message: str | None = None


class UnknownVerdictError(ValueError):
    """An id, a prefix or a glob that names no verdict, or several."""


@dataclass(frozen=True)
class Run:
    """All that a results file says.

    Args:
        identity: its first line.
        verdicts: in the order in which they came.
        footer: None for a run that was cut short.
        benchmarks: benchmark lines, as they stand; see `Benchmark`.
        timing: lines of kind "timing": what the benchmarks' times depend on.
        notes: lines that could not be read, with their numbers.
    """

    identity: Identity
    verdicts: tuple[Verdict, ...]
    footer: Footer | None = None
    benchmarks: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    timing: tuple[Mapping[str, Any], ...] = ()

    def verdict(self, name: str) -> Verdict:
        """A verdict by its id, or by a prefix or a glob that no other id matches.

        Args:
            name: `"Conv2d-values-float32-cpu"`, `"Conv2d-val"`, `"*-laws-bfloat16-*"`.

        Raises:
            UnknownVerdictError: if it names none, or several.
        """
        verdicts = {verdict.id: verdict for verdict in self.verdicts}
        if name in verdicts:
            return verdicts[name]
        found = [id for id in verdicts if id.startswith(name) or fnmatch.fnmatchcase(id, name)]
        if len(found) == 1:
            return verdicts[found[0]]
        if found:
            several = ", ".join(found[:4]) + (", …" if len(found) > 4 else "")
            raise UnknownVerdictError(f"{name!r} names {len(found)} verdicts: {several}")
        near = difflib.get_close_matches(name, verdicts, n=3, cutoff=0.5)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise UnknownVerdictError(f"no verdict {name!r} in these results{hint}")


_KINDS = {"run": Identity, "verdict": Verdict, "footer": Footer}


def encode_line(record: Identity | Verdict | Footer) -> bytes:
    """One record as a line of the results file; a verdict's also tells the share supported."""
    kind = next(name for name, cls in _KINDS.items() if isinstance(record, cls))
    data = {"kind": kind, **msgspec.to_builtins(record)}
    if isinstance(record, Verdict) and record.examples.supported is not None:
        data["supported"] = round(record.examples.supported, 4)
    return msgspec.json.encode(data) + b"\n"


class Writer:
    """Appends records to a results file as they happen, each flushed to the disk.

    Args:
        path: the file; it is overwritten, its folder is made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[bytes] = path.open("wb")

    def write(self, record: Identity | Verdict | Footer) -> None:
        """Append one record."""
        self.append(encode_line(record))

    def append(self, line: bytes) -> None:
        """Append a line as it stands."""
        self._file.write(line)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()


def write(path: Path, run: Run) -> None:
    """Write a whole run to a results file.

    Args:
        path: the file; it is overwritten, its folder is made.
        run: the run; benchmark lines are kept as they stand.
    """
    writer = Writer(path)
    writer.write(run.identity)
    for verdict in run.verdicts:
        writer.write(verdict)
    for line in (*run.benchmarks, *run.timing):
        writer.append(msgspec.json.encode(line) + b"\n")
    if run.footer is not None:
        writer.write(run.footer)
    writer.close()


class ResultsError(ValueError):
    """A results file that cannot be read at all."""


def parse(lines: Iterable[bytes], name: str = "results") -> Run:
    """Read a results file, keeping what can be read.

    Args:
        lines: the file's lines.
        name: what to call the file in messages.

    Raises:
        ResultsError: if no line holds the run's identity.
    """
    identity: Identity | None = None
    verdicts: list[Verdict] = []
    footer: Footer | None = None
    benchmarks: list[Mapping[str, Any]] = []
    timing: list[Mapping[str, Any]] = []
    notes: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            data = msgspec.json.decode(line, type=dict[str, Any])
            kind = data.get("kind")
            if kind == "run":
                identity = msgspec.convert({**_UNKNOWN, **data}, Identity, strict=False)
            elif kind == "verdict":
                verdicts.append(msgspec.convert(data, Verdict, strict=False))
            elif kind == "footer":
                footer = msgspec.convert(data, Footer, strict=False)
            elif kind == "benchmark":
                msgspec.convert(data, Benchmark, strict=False)
                benchmarks.append(data)
            elif kind == "timing":
                timing.append(data)
            else:
                notes.append(f"{name}, line {number}: unknown kind {kind!r}")
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            notes.append(f"{name}, line {number}: {error}")
    if identity is None:
        reason = "; ".join(notes[:3]) or "no line of kind 'run'"
        raise ResultsError(f"{name} is not a results file of nn-conformance: {reason}")
    return Run(identity, tuple(verdicts), footer, tuple(benchmarks), tuple(notes), tuple(timing))


def read(path: Path) -> Run:
    """Read a results file from disk; see `parse`."""
    with path.open("rb") as file:
        return parse(file, str(path))
