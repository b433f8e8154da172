"""The suite's options: declared, read with their environment twins, and checked."""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conformance.failures.known import Known

OPTIONS = {
    "backend": "implementation under test: entry-point name, or package.module:attribute "
    "(default: torch)",
    "device": "comma list of devices, or 'all' (default: cpu, or the first where there is none)",
    "dtype": "comma list of dtypes (default: float32,float64,bfloat16,float16, as far as offered)",
    "layer": "comma list of layers or globs: Conv*, functional.*",
    "family": "comma list of families of layers: convolution, recurrent, …",
    "check": "comma list of checks; support runs only where it is named",
    "profile": "smoke, standard (default) or thorough",
    "examples": "examples of each item, overriding the profile",
    "seed": "integer (default: 0); the same seed gives the same cases everywhere",
    "shard": "i/N: only the items of shard i of N",
    "budget": "seconds for the whole run, or for each item: 2.5/item; items stop early, and say so "
    "(default: none, or the backend's own)",
    "known": "comma list of TOML files of known failures, besides those that ship with the backend",
    "isolation": "process (default): items run in a child process, so that a crash costs one "
    "verdict; none: in pytest's own, for debuggers",
    "timeout": "seconds that one case may take (default: 30, more for a backend that compiles)",
    "memory": "MiB that a child process may fill (default: its share of the machine's memory)",
    "benchmarks": "small (seconds), full or none (default): time calls next to torch's, each only "
    "where its answer is right; the default is small where suite/test_benchmarks.py is named",
    "compare": "earlier results file whose benchmarks to compare with",
    "regression": "ratio: fail where a call's time relative to torch's is more than this many "
    "times what it was (--conformance-compare), or than torch's, its whole interval",
    "results": "JSON-lines file to write",
    "report": "HTML file to write",
    "summary": "Markdown file to write, for a CI job's page",
}
SUITE = Path(__file__).resolve().parent.parent / "suite"


def add_options(parser: pytest.Parser) -> None:
    """Declare every option under the prefix `--conformance-`."""
    group = parser.getgroup("conformance", "nn-conformance: property-based conformance of torch.nn")
    for name, meaning in OPTIONS.items():
        group.addoption(
            f"--conformance-{name}",
            dest=f"conformance_{name}",
            metavar=name.upper(),
            help=f"{meaning}; environment: {twin(name)}",
        )


def twin(name: str) -> str:
    """The environment variable of an option."""
    return f"CONFORMANCE_{name.upper()}"


def wanted(config: pytest.Config) -> bool:
    """Whether this pytest run asks for the suite, by an option or by what it collects."""
    if any(getattr(config.option, f"conformance_{name}", None) is not None for name in OPTIONS):
        return True
    return any(_names_suite(str(argument)) for argument in config.args)


def _names_suite(argument: str) -> bool:
    target = argument.split("::")[0]
    if target.startswith("conformance.suite"):
        return True
    path = Path(target).absolute()
    if path == SUITE or SUITE in path.parents:
        return True
    # A checkout's root holds the suite; an environment inside somebody's project does not count.
    return path in SUITE.parents and "site-packages" not in SUITE.relative_to(path).parts


@dataclass(frozen=True)
class Settings:
    """What a run of the suite is to do.

    Args:
        backend: as named by the user.
        layers, checks, dtypes: selected, in the catalogue's order.
        every_dtype: the dtypes were named by the user, and stay even where not offered.
        devices: as named by the user, not yet held against the backend; none = the default.
        profile, examples, seed: what is drawn.
        shard: index from 1, and number of shards.
        budget: as given, None = the backend's own, if any.
        known: files of known failures.
        isolated: items run in a child process; None = as the backend asks, else they do.
        timeout: seconds that one case may take, None = by what the backend's structures cost.
        memory: bytes that a child process may fill, None = its share of what is there.
        results, report, summary: files to write.
        benchmarks: the set of calls to time.
        compare: earlier results, None = nothing to compare with.
        regression: largest ratio that passes, None = any.
        given: every option that was given, as it was given.
    """

    backend: str
    layers: tuple[str, ...]
    checks: tuple[str, ...]
    dtypes: tuple[str, ...]
    every_dtype: bool
    devices: tuple[str, ...]
    profile: str
    examples: int
    seed: int
    shard: tuple[int, int]
    budget: str | None
    known: tuple[Path, ...]
    isolated: bool | None
    timeout: int | None
    memory: int | None
    results: Path | None
    report: Path | None
    summary: Path | None
    benchmarks: str
    compare: Path | None
    regression: float | None
    given: Mapping[str, str]


class _Reader:
    """Options of one run, with the name under which each was given."""

    def __init__(self, config: pytest.Config) -> None:
        self.given: dict[str, str] = {}
        self.source: dict[str, str] = {}
        for name in OPTIONS:
            value = getattr(config.option, f"conformance_{name}", None)
            if value is not None:
                self.given[name], self.source[name] = value, f"--conformance-{name}"
            elif os.environ.get(twin(name)):
                self.given[name], self.source[name] = os.environ[twin(name)], twin(name)

    def error(self, name: str, problem: str) -> pytest.UsageError:
        """A usage error that shows the option as it was given."""
        return pytest.UsageError(f"{self.source[name]}={self.given[name]}: {problem}")

    def listed(self, name: str) -> list[str]:
        """A comma list."""
        entries = [entry.strip() for entry in self.given[name].split(",") if entry.strip()]
        if not entries:
            raise self.error(name, "expected a comma list with at least one entry")
        return entries

    def integer(self, name: str, default: int, least: int | None = None) -> int:
        """A whole number."""
        if name not in self.given:
            return default
        try:
            value = int(self.given[name])
        except ValueError:
            raise self.error(name, "expected an integer") from None
        if least is not None and value < least:
            raise self.error(name, f"expected an integer of at least {least}")
        return value

    def chosen(self, name: str, known: Sequence[str], *, globs: bool = False) -> tuple[str, ...]:
        """Entries of a comma list that are all known, in the order of the known ones."""
        found: set[str] = set()
        for entry in self.listed(name):
            matches = [k for k in known if fnmatch.fnmatchcase(k, entry)] if globs else []
            matches = matches or [k for k in known if k == entry]
            if not matches:
                raise self.error(name, f"no {name} {entry!r}; {_nearest(entry, known)}")
            found |= set(matches)
        return tuple(k for k in known if k in found)


def _nearest(entry: str, known: Iterable[str]) -> str:
    names = list(known)
    folded = {name.lower(): name for name in names}
    near = difflib.get_close_matches(entry.strip("*").lower(), folded, n=4, cutoff=0.5)
    if len(names) > 12 and near:
        return f"nearest: {', '.join(folded[n] for n in near)}"
    return f"expected one of {', '.join(names)}"


def resolve(config: pytest.Config) -> Settings:
    """Read and check the options.

    Raises:
        pytest.UsageError: naming the option, its value and what was expected.
    """
    from conformance.checks import CHECKS, EVERY_CHECK
    from conformance.layers import COMPLEX, DTYPES
    from conformance.run.planning import PROFILES

    read = _Reader(config)
    given = read.given
    profile = given.get("profile", "standard")
    if profile not in PROFILES:
        raise read.error("profile", f"expected one of {', '.join(PROFILES)}")
    shard = (1, 1)
    if "shard" in given:
        match = re.fullmatch(r"(\d+)/(\d+)", given["shard"].strip())
        shard = (int(match[1]), int(match[2])) if match else (0, 0)
        if not 1 <= shard[0] <= shard[1]:
            raise read.error("shard", "expected i/N with 1 ≤ i ≤ N, such as 2/8")
    everything = (*DTYPES, *COMPLEX)
    return Settings(
        backend=given.get("backend", "torch"),
        layers=_layers(read),
        checks=read.chosen("check", list(EVERY_CHECK)) if "check" in given else tuple(CHECKS),
        dtypes=read.chosen("dtype", everything) if "dtype" in given else DTYPES,
        every_dtype="dtype" in given,
        devices=tuple(read.listed("device")) if "device" in given else (),
        profile=profile,
        examples=read.integer("examples", PROFILES[profile], least=1),
        seed=read.integer("seed", 0),
        shard=shard,
        budget=_budget(read),
        known=tuple(Path(p).absolute() for p in read.listed("known")) if "known" in given else (),
        isolated=_isolated(read),
        timeout=read.integer("timeout", 0, least=1) or None,
        memory=read.integer("memory", 0, least=1) << 20 if "memory" in given else None,
        results=_file(read, "results"),
        report=_file(read, "report"),
        summary=_file(read, "summary"),
        benchmarks=_benchmarks(read, config),
        compare=_earlier(read),
        regression=_ratio(read),
        given=dict(given),
    )


def _layers(read: _Reader) -> tuple[str, ...]:
    """The layers that are named, of the families that are named."""
    from conformance.layers import CATALOGUE

    layers = tuple(CATALOGUE)
    if "layer" in read.given:
        layers = read.chosen("layer", layers, globs=True)
    if "family" in read.given:
        every = tuple(dict.fromkeys(row.family for row in CATALOGUE.values()))
        families = read.chosen("family", every)
        layers = tuple(name for name in layers if CATALOGUE[name].family in families)
        if not layers:
            raise read.error("family", "expected a family of the layers that are named")
    return layers


def _budget(read: _Reader) -> str | None:
    from conformance.run.budget import parse

    if "budget" in read.given:
        try:
            parse(read.given["budget"], 1, 1)
        except ValueError as error:
            raise read.error("budget", str(error)) from None
    return read.given.get("budget")


def _isolated(read: _Reader) -> bool | None:
    if "isolation" not in read.given:
        return None
    return read.chosen("isolation", ["process", "none"]) == ("process",)


def names_benchmarks(argument: str) -> bool:
    """Whether an argument of pytest is the benchmarks' own file, or a test in it."""
    return re.search(r"(^|[./\\])test_benchmarks(\.py)?(::|$)", argument) is not None


def _benchmarks(read: _Reader, config: pytest.Config) -> str:
    if "benchmarks" not in read.given:
        return "small" if any(names_benchmarks(str(a)) for a in config.args) else "none"
    (which, *more) = read.chosen("benchmarks", ["none", "small", "full"])
    if more:
        raise read.error("benchmarks", "expected one of none, small, full")
    return which


def _earlier(read: _Reader) -> Path | None:
    path = _file(read, "compare")
    if path is not None and not path.is_file():
        raise read.error("compare", "no such file")
    return path


def _ratio(read: _Reader) -> float | None:
    if "regression" not in read.given:
        return None
    try:
        value = float(read.given["regression"])
    except ValueError:
        value = 0.0
    if not 1 <= value < float("inf"):
        raise read.error("regression", "expected a ratio of at least 1, such as 1.25")
    return value


def _file(read: _Reader, name: str) -> Path | None:
    if name not in read.given:
        return None
    path = Path(read.given[name]).absolute()
    if path.is_dir():
        raise read.error(name, "expected a file, this is a folder")
    return path


def known_failures(backend: str, paths: Sequence[Path], base: str = "") -> tuple[Known, ...]:
    """The known failures of a run: those that ship with the backend, the user's, and its base's.

    Args:
        backend: its name.
        paths: of the user's files.
        base: the backend whose kernels it inherits; empty for none.

    Raises:
        pytest.UsageError: for a file that cannot be read.
    """
    from conformance.failures.known import KnownError, read

    try:
        return read(backend, paths, base)
    except KnownError as error:
        raise pytest.UsageError(f"--conformance-known={error}") from None
