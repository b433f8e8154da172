"""`nn-conformance exhaustive`: test elementwise functions on every number of a dtype."""

from __future__ import annotations

import argparse
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.model.files import kind_of, write_whole
from conformance.model.plain_text import bounded
from conformance.model.usage_error import UsageError

if TYPE_CHECKING:
    from conformance.reports.exhaustive import Line


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
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
        write_whole(options.table, table(read(options.lines)))
        return 0
    if _is_file(options.lines[0]):
        read(options.lines[:1])  # Refuses to append to a file of another kind.
    wrong = False
    with options.lines[0].open("ab") as out:
        for line in _lines(options):
            out.write(msgspec.json.encode(line) + b"\n")
            out.flush()
            print(bounded(_told(line)), flush=True)
            wrong |= line.covered is not None and bool(line.covered.wrong or line.covered.failed)
    return 1 if wrong else 0


def _is_file(path: Path) -> bool:
    """Whether a path is an existing file; refuse a pipe, because opening it could block.

    Raises:
        UsageError: for a folder, a pipe and other kinds that no line can be appended to.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    kind = kind_of(mode)
    if kind and not stat.S_ISCHR(mode):
        raise UsageError(f"{path} is {kind}, expected a file to append lines to")
    return not kind


def _chosen(text: str, known: tuple[str, ...], name: str) -> tuple[str, ...]:
    found = tuple(part.strip() for part in text.split(","))
    if unknown := [x for x in found if x not in known]:
        raise UsageError(f"{name}={unknown[0]!r}: expected one of {', '.join(known)}")
    return found


def _part(text: str) -> tuple[int, int]:
    part, slash, parts = text.partition("/")
    digits = len(part) < 10 and len(parts) < 10 and (part + parts).isascii()
    if not (slash and digits and part.isdigit() and parts.isdigit()) or not (
        0 < int(part) <= int(parts)
    ):
        raise UsageError(f"--part={text!r}: expected K/N with K from 1 to N, such as 1/16")
    return int(part), int(parts)


def _lines(options: argparse.Namespace) -> Iterator[Line]:
    from conformance.backends.registry import load
    from conformance.model.case import Unsupported
    from conformance.reports.exhaustive import Line
    from conformance.run.exhaustive import BITS, PASSES, covered, functions, named

    dtypes = _chosen(options.dtype, tuple(BITS), "--dtype")
    passes = _chosen(options.passes, PASSES, "--pass")
    part, parts = _part(options.part)
    backend = load(options.backend)
    cases = list(functions(options.layer.split(",")))
    if not cases:
        raise UsageError(f"--layer={options.layer!r}: expected functions of single numbers")
    for case in cases:
        for direction in passes:
            for dtype in dtypes:
                started = time.monotonic()
                found, declined = None, ""
                try:
                    found = covered(backend, case, dtype, direction, part, parts)
                except Unsupported as reason:
                    declined = str(reason)
                seconds = round(time.monotonic() - started, 2)
                about = (options.backend, named(case), dtype, direction, part, parts)
                yield Line(*about, found, declined, seconds)


def _told(line: Line) -> str:
    what = f"{line.function} {line.direction} {line.dtype} {line.part}/{line.parts}"
    found = line.covered
    if found is None:
        return f"{what}: declined: {line.declined}"
    if found.failed:
        return f"{what}: {found.failed}"
    far = found.farthest
    where = f", at most {far.ulps:.3g} ulp, at {far.at:.9g}" if far else ""
    return f"{what}: {found.wrong:,} of {found.compared:,} beyond the bound{where}"
