"""The results file: one JSON object a line; its schema, writer and reader."""

from __future__ import annotations

import difflib
import fnmatch
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec
from conformance.reports import validation

from conformance.model.case import Verdict
from conformance.model.files import open_file, write_whole
from conformance.model.layer_facts import LayerFacts
from conformance.model.plain_text import bounded
from conformance.model.usage_error import UsageError

SCHEMA = 3
"""Version of the file format; files of older ones are read as well."""
MOST = 8 << 30
"""Bytes of a file that is read."""
LINE = 64 << 20
"""Bytes of a line."""
LONG = 1 << 20
"""Bytes of a line beyond which its texts are cut."""
TEXT = 50_000
"""Characters that are kept of a text of such a line."""
NOTES = 100
"""Lines that cannot be read of which each is named."""

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
        catalogue: number of layers that the suite has, by family; empty in older files.
        standard: version of torch.nn, and level of it, that the run is held against; empty for
            none: `"torch.nn 2.13, inference"`.
        drawn: how cases were drawn, where that is not as the seed has them elsewhere; else empty.
        places: for each device where the backend answers, as known failures say where they were
            seen: `"torch 2.13.0 on Linux x86_64 AuthenticAMD avx512_bf16"`.
        survey: the run tells how the backend differs, and does not fail where it does.
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
    catalogue: Mapping[str, int] = field(default_factory=dict)
    standard: str = ""
    drawn: str = ""
    places: Mapping[str, str] = field(default_factory=dict)
    survey: bool = False


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


Number = Annotated[float, msgspec.Meta(ge=0)]
Count = Annotated[int, msgspec.Meta(ge=0)]


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
        flops, bytes: a second: operations of the plain algorithm, and bytes that it must move, each
            operand read once and each result written once; 0 where the answer is the input itself.
        peak_flops, peak_bytes: what a large matrix product, and a copy larger than any cache,
            reached in the same run.
        verified: what the answer was held against: `"oracle"`, `"torch float64"`.
        message: what was wrong, or why there is no ratio.
    """

    layer: str
    name: str = ""
    dtype: str = ""
    device: str = ""
    direction: str = "forward"
    status: str = "timed"
    seconds: Number | None = None
    iqr: Number | None = None
    ratio: Number | None = None
    ratio_low: Number | None = None
    ratio_high: Number | None = None
    torch_seconds: Number | None = None
    spread: Number | None = None
    rounds: Count | None = None
    calls: Count | None = None
    flops: Number | None = None
    bytes: Number | None = None
    peak_flops: Number | None = None
    peak_bytes: Number | None = None
    verified: str | None = None
    message: str | None = None


class UnknownVerdictError(UsageError, ValueError):
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
    """One record as a line of the results file; a verdict's also tells the share supported.

    A verdict's fields that are as they are by default are left out: most of them are.
    """
    kind = next(name for name, cls in _KINDS.items() if isinstance(record, cls))
    data = {"kind": kind, **msgspec.to_builtins(record)}
    if isinstance(record, Verdict):
        data["examples"] = _without_defaults(data["examples"], _BLANK["examples"])
        data = _without_defaults(data, _BLANK)
    if isinstance(record, Verdict) and record.examples.supported is not None:
        data["supported"] = round(record.examples.supported, 4)
    line = msgspec.json.encode(data) + b"\n"
    if len(line) > LONG and isinstance(record, Verdict):
        line = msgspec.json.encode(_cut(data)) + b"\n"
    return line


_DATA = ("case", "drawn", "outcomes")
# A verdict with all fields as they are by default; those that have none are never empty.
_BLANK: Mapping[str, Any] = msgspec.to_builtins(Verdict("", "", "", "", "", ""))


def _without_defaults(data: Mapping[str, Any], blank: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in data.items() if k not in blank or v != blank[k]}


def _cut(data: Any) -> Any:
    """A verdict's data with its texts cut, all but those that are data."""
    if isinstance(data, str):
        return data if len(data) <= TEXT else bounded(data, TEXT)
    if isinstance(data, dict):
        return {k: v if k in _DATA else _cut(v) for k, v in data.items()}
    return [_cut(v) for v in data] if isinstance(data, (list, tuple)) else data


class Writer:
    """Appends records to a results file as they happen, each flushed to the disk.

    Args:
        path: the file; it is overwritten, its folder is made.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file: IO[bytes] = path.open("wb")

    def problem(self) -> str:
        """What became of the file meanwhile; empty where it is still at its path."""
        mine = os.fstat(self._file.fileno())
        try:
            there = os.stat(self._path)
        except OSError as error:
            return f"gone during the run ({error.strerror})"
        return "" if os.path.samestat(mine, there) else "replaced during the run by another file"

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
            if stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                os.fsync(self._file.fileno())
            self._file.close()


def write(path: Path, run: Run) -> None:
    """Write a whole run to a results file.

    Args:
        path: the file; it is replaced at once, its folder is made.
        run: the run; benchmark lines are kept as they stand.
    """
    lines = [encode_line(run.identity), *map(encode_line, run.verdicts)]
    lines += [msgspec.json.encode(line) + b"\n" for line in (*run.benchmarks, *run.timing)]
    if run.footer is not None:
        lines.append(encode_line(run.footer))
    write_whole(path, b"".join(lines))


class ResultsError(UsageError, ValueError):
    """A results file that cannot be read at all."""


def parse(lines: Iterable[bytes], name: str = "results") -> Run:
    """Read a results file, keeping what can be read.

    Args:
        name: what to call the file in messages.

    Raises:
        ResultsError: if no line holds the run's identity.
    """
    records = _Records()
    notes: list[str] = []
    unread = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            records.take(line)
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
            deep = isinstance(error, RecursionError)
            reason = "nested too deep" if deep else bounded(str(error), 300)
            unread += 1
            if unread <= NOTES:
                notes.append(f"{name}, line {number}: {reason}")
    if unread > NOTES:
        notes.append(f"{name}: {unread - NOTES:,} further lines that cannot be read")
    if records.identity is None:
        reason = "; ".join(notes[:3]) or "no line of kind 'run'"
        raise ResultsError(f"{name} is not a results file of nn-conformance: {reason}")
    return Run(
        records.identity,
        tuple(records.verdicts),
        records.footer,
        tuple(records.benchmarks),
        tuple(notes),
        tuple(records.timing),
    )


class _Records:
    """What the lines of a results file say, each held against the schema."""

    def __init__(self) -> None:
        self.identity: Identity | None = None
        self.verdicts: list[Verdict] = []
        self.footer: Footer | None = None
        self.benchmarks: list[Mapping[str, Any]] = []
        self.timing: list[Mapping[str, Any]] = []

    @property
    def _begun(self) -> bool:
        """Whether another line than the identity has been taken."""
        footers = () if self.footer is None else (self.footer,)
        return any((self.verdicts, self.benchmarks, self.timing, footers))

    def take(self, line: bytes) -> None:
        """Take a line.

        Raises:
            ValueError: if it is none that may stand there, saying why.
        """
        data = _decoded(line)
        kind = data.get("kind")
        if kind == "run":
            _refuse("a second first line" if self.identity is not None else "")
            _refuse("the line of kind 'run' is not the first" if self._begun else "")
            identity = msgspec.convert({**_UNKNOWN, **data}, Identity)
            _refuse(validation.identity_fault(identity))
            self.identity = identity
        elif kind == "verdict":
            verdict = _verdict(data)
            _refuse("a verdict after the last line" if self.footer is not None else "")
            self.verdicts.append(verdict)
        elif kind == "footer":
            _refuse("a second last line" if self.footer is not None else "")
            footer = msgspec.convert(data, Footer)
            _refuse(validation.footer_fault(footer))
            self.footer = footer
        elif kind == "benchmark":
            _refuse(validation.benchmark_fault(msgspec.convert(data, Benchmark)))
            self.benchmarks.append(data)
        elif kind == "timing":
            self.timing.append(data)
        else:
            raise ValueError(f"unknown kind {bounded(repr(kind), 80)}")


def parse_verdict(line: bytes) -> Verdict:
    """The verdict on a line of its own, as a worker sends it.

    Raises:
        ValueError: if it is none that a results file may hold, saying why.
    """
    try:
        data = _decoded(line)
        kind = data.get("kind")
        _refuse("" if kind == "verdict" else f"a line of kind {bounded(repr(kind), 80)}")
        return _verdict(data)
    except (OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _decoded(line: bytes) -> dict[str, Any]:
    """A line's data."""
    _refuse(f"more than {LINE:,} bytes" if len(line) > LINE else "")
    data = msgspec.json.decode(line, type=dict[str, Any])
    # Most lines open too few brackets to be deep.
    if line.count(b"{") + line.count(b"[") > validation.DEEPEST:
        _refuse(validation.depth_fault(data))
    return data


def _verdict(data: Mapping[str, Any]) -> Verdict:
    verdict = msgspec.convert(data, Verdict)
    _refuse(validation.verdict_fault(verdict))
    return verdict


def _refuse(fault: str) -> None:
    if fault:
        raise ValueError(fault)


def read(path: Path) -> Run:
    """Read a results file from disk; see `parse`.

    Args:
        path: of a regular file: a pipe or a device is refused.
    """
    with open_file(path, MOST) as file:
        return parse(iter(lambda: file.readline(LINE + 1), b""), str(path))
