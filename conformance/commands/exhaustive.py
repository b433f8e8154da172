"""`nn-conformance exhaustive`: test elementwise functions on every number of a dtype."""

from __future__ import annotations

import argparse
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.model.files import file_kind, write_atomically
from conformance.model.plain_text import bounded
from conformance.model.usage_error import UsageError

if TYPE_CHECKING:
    from conformance.reports.exhaustive import Line


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `nn-conformance`."""
    parser = commands.add_parser(
        "exhaustive", help="test elementwise functions on every number of a dtype"
    )
    parser.add_argument("lines", nargs="+", type=Path, metavar="JSONL",
                        help="file to append result lines to; with --table, files to read"
                        )  # fmt: skip
    parser.add_argument("--table", type=Path, metavar="MARKDOWN",
                        help="write a table of the lines, and run nothing")  # fmt: skip
    parser.add_argument("--backend", default="torch",
                        help="backend to test, as for the suite (default: torch)")  # fmt: skip
    parser.add_argument("--layer", default="*",
                        help="comma list of names or globs (default: all)")  # fmt: skip
    parser.add_argument("--dtype", default="float16,bfloat16",
                        help="comma list of float16, bfloat16, float32 (default: the first two)"
                        )  # fmt: skip
    parser.add_argument("--pass", dest="passes", default="forward,derivative",
                        help="comma list of forward, derivative (default: both)")  # fmt: skip
    parser.add_argument("--part", default="1/1", metavar="K/N",
                        help="test the K-th of N equal parts of the numbers (default: all)"
                        )  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Test functions and write a line for each, or make a table of earlier lines.

    Returns:
        1 if an answer exceeds its bound or the backend failed, else 0.
    """
    import msgspec

    from conformance.reports.exhaustive import read, table

    if options.table:
        write_atomically(options.table, table(read(options.lines)))
        return 0
    if _is_regular_file(options.lines[0]):
        read(options.lines[:1])  # Refuses to append to a file of another kind.
    wrong = False
    with options.lines[0].open("ab") as out:
        for line in _run_parts(options):
            out.write(msgspec.json.encode(line) + b"\n")
            out.flush()
            print(bounded(_line_text(line)), flush=True)
            wrong |= line.covered is not None and bool(line.covered.wrong or line.covered.failed)
    return 1 if wrong else 0


def _is_regular_file(path: Path) -> bool:
    """Whether a path is an existing file; refuse a pipe, because opening it could block.

    Raises:
        UsageError: for a folder, a pipe and other kinds that no line can be appended to.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    kind = file_kind(mode)
    if kind and not stat.S_ISCHR(mode):
        raise UsageError(f"{path} is {kind}, expected a file to append lines to")
    return not kind


def _parse_names(text: str, known: tuple[str, ...], name: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(","))
    if unknown := [x for x in names if x not in known]:
        raise UsageError(f"{name}={unknown[0]!r}: expected one of {', '.join(known)}")
    return names


def _parse_part(text: str) -> tuple[int, int]:
    part, slash, parts = text.partition("/")
    digits = len(part) < 10 and len(parts) < 10 and (part + parts).isascii()
    if not (slash and digits and part.isdigit() and parts.isdigit()) or not (
        0 < int(part) <= int(parts)
    ):
        raise UsageError(f"--part={text!r}: expected K/N with K from 1 to N, such as 1/16")
    return int(part), int(parts)


def _run_parts(options: argparse.Namespace) -> Iterator[Line]:
    from conformance.backends.registry import load
    from conformance.model.case import Unsupported
    from conformance.reports.exhaustive import Line
    from conformance.run.exhaustive import (
        BITS,
        DIRECTIONS,
        compare_range,
        function_cases,
        function_name,
    )

    dtypes = _parse_names(options.dtype, tuple(BITS), "--dtype")
    passes = _parse_names(options.passes, DIRECTIONS, "--pass")
    part, parts = _parse_part(options.part)
    backend = load(options.backend)
    cases = list(function_cases(options.layer.split(",")))
    if not cases:
        raise UsageError(f"--layer={options.layer!r}: expected functions of single numbers")
    for case in cases:
        for direction in passes:
            for dtype in dtypes:
                started = time.monotonic()
                coverage, declined = None, ""
                try:
                    coverage = compare_range(backend, case, dtype, direction, part, parts)
                except Unsupported as reason:
                    declined = str(reason)
                seconds = round(time.monotonic() - started, 2)
                identity = (options.backend, function_name(case), dtype, direction, part, parts)
                yield Line(*identity, coverage, declined, seconds)


def _line_text(line: Line) -> str:
    label = f"{line.function} {line.direction} {line.dtype} {line.part}/{line.parts}"
    coverage = line.covered
    if coverage is None:
        return f"{label}: declined: {line.declined}"
    if coverage.failed:
        return f"{label}: {coverage.failed}"
    farthest = coverage.farthest
    where = f", at most {farthest.ulps:.3g} ulp, at {farthest.at:.9g}" if farthest else ""
    return f"{label}: {coverage.wrong:,} of {coverage.compared:,} beyond the bound{where}"
