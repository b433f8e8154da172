"""The results file, one JSON object per line: schema, writer and reader."""

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
from conformance.model.files import open_file, write_atomically
from conformance.model.layer_facts import LayerFacts
from conformance.model.plain_text import bounded
from conformance.model.usage_error import UsageError

SCHEMA = 3
"""Version of the file format; the reader also accepts older ones."""
MAX_FILE_BYTES = 8 << 30
"""The most bytes of a file that is read."""
MAX_LINE_BYTES = 64 << 20
"""The most bytes of a line."""
MAX_UNCUT_LINE_BYTES = 1 << 20
"""The writer cuts the texts of a line with more bytes than this."""
MAX_TEXT = 50_000
"""Characters kept of each text of such a line."""
MAX_NOTES = 100
"""Unreadable lines that get a note of their own; further ones are only counted."""

# Fields of an identity that older versions of the suite did not write.
_IDENTITY_DEFAULTS: Mapping[str, Any] = {
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
        backend, info: the backend's name and what it reports about itself.
        torch, numpy, hypothesis, python: versions; torch is None if it is not installed.
        os, cpu, threads: the machine, and the threads each worker may use.
        devices, dtypes: as selected.
        profile, seed, examples, shard: as selected; shard is `"1/1"` for a whole run.
        options: every option of the suite as given on the command line or in the environment.
        items: ids of the items of this file's shard.
        total: number of items of the whole run, all shards together.
        git: commit, and whether there are uncommitted changes; None outside a checkout.
        started: ISO 8601, UTC.
        numerics: by dtype, the differences from IEEE arithmetic that the backend declares; bounds
            depend on them.
        layers: facts for reports about each layer; empty in files of schema 1 and 2.
        catalogue: number of layers in the suite, by family; empty in older files.
        standard: version and level of torch.nn that the run is checked against:
            `"torch.nn 2.13, inference"`; empty for none.
        drawn: how cases were drawn, if that differs from what the seed gives elsewhere; else empty.
        places: device → where the backend runs, in the form that known failures use:
            `"torch 2.13.0 on Linux x86_64 AuthenticAMD avx512_bf16"`.
        survey: the run reports how the backend differs, and does not fail because of that.
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
    """A line of kind "benchmark": the duration of a call on the backend and on torch.

    Args:
        layer, dtype, device: of the call.
        name: of the case: `"resnet stem"`, `"batch 32, width 512"`.
        direction: `"forward"` or `"forward+backward"`; called `pass` in the file.
        status: `"timed"`, or `"not timed: "` with the reason: `"not timed: failed values"`.
        seconds: median duration of one call; None if it was not timed.
        iqr: interquartile range of the calls, in seconds.
        ratio: time ÷ torch's time of the same call on the same device; below 1 is faster.
        ratio_low, ratio_high: an interval of 95 % around the ratio.
        torch_seconds: torch's median, timed in turns with the backend.
        spread: interquartile range of torch's rounds ÷ their median: the machine's noise.
        rounds, calls: number of timed rounds, and of calls in each.
        flops, bytes: operations of the textbook algorithm and bytes moved, per second. Each operand
            is read once, each result written once; 0 if the answer is the input itself.
        peak_flops, peak_bytes: rates of a large matrix product, and of a copy larger than any
            cache, in the same run.
        verified: what the answer was compared with: `"oracle"`, `"torch float64"`.
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
    """An id, a prefix or a glob that matches no verdict, or several."""


@dataclass(frozen=True)
class Run:
    """The contents of a results file.

    Args:
        identity: the first line.
        verdicts: in the order of the file.
        footer: the last line; None if the run was cut short.
        benchmarks: benchmark lines, unparsed; see `Benchmark`.
        timing: lines of kind "timing": settings that the benchmarks' times depend on.
        notes: a message for each line that could not be read, with its number.
    """

    identity: Identity
    verdicts: tuple[Verdict, ...]
    footer: Footer | None = None
    benchmarks: tuple[Mapping[str, Any], ...] = ()
    notes: tuple[str, ...] = ()
    timing: tuple[Mapping[str, Any], ...] = ()

    def verdict(self, name: str) -> Verdict:
        """Find a verdict by its id, or by a prefix or a glob that matches no other id.

        Args:
            name: `"Conv2d-values-float32-cpu"`, `"Conv2d-val"`, `"*-laws-bfloat16-*"`.

        Raises:
            UnknownVerdictError: if it matches none, or several.
        """
        verdicts = {verdict.id: verdict for verdict in self.verdicts}
        if name in verdicts:
            return verdicts[name]
        matches = [id for id in verdicts if id.startswith(name) or fnmatch.fnmatchcase(id, name)]
        if len(matches) == 1:
            return verdicts[matches[0]]
        if matches:
            first_matches = ", ".join(matches[:4]) + (", …" if len(matches) > 4 else "")
            raise UnknownVerdictError(f"{name!r} names {len(matches)} verdicts: {first_matches}")
        near = difflib.get_close_matches(name, verdicts, n=3, cutoff=0.5)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise UnknownVerdictError(f"no verdict {name!r} in these results{hint}")


_KINDS = {"run": Identity, "verdict": Verdict, "footer": Footer}


def encode_line(record: Identity | Verdict | Footer) -> bytes:
    """Encode a record as a line of the results file.

    A verdict's fields with default values are left out, and the share of supported examples is
    added.
    """
    kind = next(name for name, cls in _KINDS.items() if isinstance(record, cls))
    data = {"kind": kind, **msgspec.to_builtins(record)}
    if isinstance(record, Verdict):
        data["examples"] = _without_defaults(data["examples"], _VERDICT_DEFAULTS["examples"])
        data = _without_defaults(data, _VERDICT_DEFAULTS)
    if isinstance(record, Verdict) and record.examples.supported is not None:
        data["supported"] = round(record.examples.supported, 4)
    line = msgspec.json.encode(data) + b"\n"
    if len(line) > MAX_UNCUT_LINE_BYTES and isinstance(record, Verdict):
        line = msgspec.json.encode(_cut_texts(data)) + b"\n"
    return line


_NEVER_CUT = ("case", "drawn", "outcomes")
# A verdict whose fields all have their defaults; fields without a default are never empty.
_VERDICT_DEFAULTS: Mapping[str, Any] = msgspec.to_builtins(Verdict("", "", "", "", "", ""))


def _without_defaults(data: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in data.items() if k not in defaults or v != defaults[k]}


def _cut_texts(data: Any) -> Any:
    """Cut the texts in a verdict's data, except for the fields in `_NEVER_CUT`."""
    if isinstance(data, str):
        return data if len(data) <= MAX_TEXT else bounded(data, MAX_TEXT)
    if isinstance(data, dict):
        return {k: v if k in _NEVER_CUT else _cut_texts(v) for k, v in data.items()}
    return [_cut_texts(v) for v in data] if isinstance(data, (list, tuple)) else data


class Writer:
    """Appends records to a results file as they happen, each flushed to the disk.

    Args:
        path: the file; it is overwritten, and its folder is created.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._file: IO[bytes] = path.open("wb")

    def problem(self) -> str:
        """Say if the file was deleted or replaced during the run; empty if not."""
        written_file = os.fstat(self._file.fileno())
        try:
            file_at_path = os.stat(self._path)
        except OSError as error:
            return f"gone during the run ({error.strerror})"
        return (
            ""
            if os.path.samestat(written_file, file_at_path)
            else "replaced during the run by another file"
        )

    def write(self, record: Identity | Verdict | Footer) -> None:
        """Append one record."""
        self.append(encode_line(record))

    def append(self, line: bytes) -> None:
        """Append an encoded line, and flush it."""
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
        path: the file; it is replaced atomically, and its folder is created.
        run: the run; benchmark lines are written unchanged.
    """
    lines = [encode_line(run.identity), *map(encode_line, run.verdicts)]
    lines += [msgspec.json.encode(line) + b"\n" for line in (*run.benchmarks, *run.timing)]
    if run.footer is not None:
        lines.append(encode_line(run.footer))
    write_atomically(path, b"".join(lines))


class ResultsError(UsageError, ValueError):
    """Results files that cannot be read at all, or not be used together."""


def parse(lines: Iterable[bytes], name: str = "results") -> Run:
    """Read a results file; note lines that cannot be read, and skip them.

    Args:
        name: the file's name, for messages.

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
            records.add_line(line)
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
            deep = isinstance(error, RecursionError)
            reason = "nested too deep" if deep else bounded(str(error), 300)
            unread += 1
            if unread <= MAX_NOTES:
                notes.append(f"{name}, line {number}: {reason}")
    if unread > MAX_NOTES:
        notes.append(f"{name}: {unread - MAX_NOTES:,} further lines that cannot be read")
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
    """Records of a results file, each validated against the schema."""

    def __init__(self) -> None:
        self.identity: Identity | None = None
        self.verdicts: list[Verdict] = []
        self.footer: Footer | None = None
        self.benchmarks: list[Mapping[str, Any]] = []
        self.timing: list[Mapping[str, Any]] = []

    @property
    def _has_other_lines(self) -> bool:
        """Whether another line than the identity has been taken."""
        footers = () if self.footer is None else (self.footer,)
        return any((self.verdicts, self.benchmarks, self.timing, footers))

    def add_line(self, line: bytes) -> None:
        """Parse, validate and store a line.

        Raises:
            ValueError: if the line is invalid, or not allowed at this place; the message says why.
        """
        data = _decode_line(line)
        kind = data.get("kind")
        if kind == "run":
            _raise_if("a second first line" if self.identity is not None else "")
            _raise_if("the line of kind 'run' is not the first" if self._has_other_lines else "")
            identity = msgspec.convert({**_IDENTITY_DEFAULTS, **data}, Identity)
            _raise_if(validation.identity_fault(identity))
            self.identity = identity
        elif kind == "verdict":
            verdict = _validated_verdict(data)
            _raise_if("a verdict after the last line" if self.footer is not None else "")
            self.verdicts.append(verdict)
        elif kind == "footer":
            _raise_if("a second last line" if self.footer is not None else "")
            footer = msgspec.convert(data, Footer)
            _raise_if(validation.footer_fault(footer))
            self.footer = footer
        elif kind == "benchmark":
            _raise_if(validation.benchmark_fault(msgspec.convert(data, Benchmark)))
            self.benchmarks.append(data)
        elif kind == "timing":
            self.timing.append(data)
        else:
            raise ValueError(f"unknown kind {bounded(repr(kind), 80)}")


def parse_verdict(line: bytes) -> Verdict:
    """Parse a single line with a verdict, as a worker sends it.

    Raises:
        ValueError: if a results file may not contain it; the message says why.
    """
    try:
        data = _decode_line(line)
        kind = data.get("kind")
        _raise_if("" if kind == "verdict" else f"a line of kind {bounded(repr(kind), 80)}")
        return _validated_verdict(data)
    except (OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _decode_line(line: bytes) -> dict[str, Any]:
    """Decode a line, and refuse one that is too long or nested too deeply."""
    _raise_if(f"more than {MAX_LINE_BYTES:,} bytes" if len(line) > MAX_LINE_BYTES else "")
    data = msgspec.json.decode(line, type=dict[str, Any])
    # Most lines open too few brackets to be deep.
    if line.count(b"{") + line.count(b"[") > validation.MAX_DEPTH:
        _raise_if(validation.depth_fault(data))
    return data


def _validated_verdict(data: Mapping[str, Any]) -> Verdict:
    verdict = msgspec.convert(data, Verdict)
    _raise_if(validation.verdict_fault(verdict))
    return verdict


def _raise_if(fault: str) -> None:
    if fault:
        raise ValueError(fault)


def read(path: Path) -> Run:
    """Read a results file from disk; see `parse`. Pipes and devices are refused."""
    with open_file(path, MAX_FILE_BYTES) as file:
        return parse(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), str(path))
