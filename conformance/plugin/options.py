"""The suite's options: declared, read with their environment twins, and checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conformance.model.shards import MOST as MOST_SHARDS
from conformance.model.shards import parts
from conformance.plugin.option_values import (
    MOST,
    OUTPUTS,
    Reader,
    input_file,
    keep_apart,
    output,
    twin,
)

if TYPE_CHECKING:
    from conformance.known.entry import Known

OPTIONS = {
    "backend": "implementation under test: entry-point name, or package.module:attribute "
    "(default: torch)",
    "device": "comma list of devices, or 'all' (default: cpu, or the first where there is none)",
    "dtype": "comma list of dtypes (default: float32,float64,bfloat16,float16, as far as offered)",
    "layer": "comma list of layers or globs: Conv*, functional.*",
    "family": "comma list of families of layers: convolution, recurrent, …",
    "check": "comma list of checks; support runs only where it is named",
    "profile": "quick (default): every check in float32, some in the other dtypes; smoke, standard "
    "or thorough",
    "standard": "a version of torch.nn and a level of it, 'torch.nn 2.13, inference': it decides "
    "layers, checks, examples and seed (levels: inference, training, strict)",
    "examples": "examples of each item, overriding the profile",
    "seed": "integer (default: 0); the same seed gives the same cases everywhere",
    "shard": "i/N: only the items of shard i of N",
    "budget": "seconds for the whole run, or for each item: 2.5/item; items stop early, and say so "
    "(default: none, or the backend's own)",
    "survey": "tell how the backend differs, and end with 0 wherever it does: with 1 only where "
    "the run itself went wrong; in the environment: yes or no",
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
FLAGS, YES = ("survey",), "yes"
"""Options that take no value, and what they are where they are given."""
LEAST_MEMORY = 512
"""MiB within which a backend can be imported and run its plainest cases."""
SUITE = Path(__file__).resolve().parent.parent / "suite"


def add_options(parser: pytest.Parser) -> None:
    """Declare every option under the prefix `--conformance-`."""
    group = parser.getgroup("conformance", "nn-conformance: property-based conformance of torch.nn")
    for name, meaning in OPTIONS.items():
        form: dict[str, Any] = {"metavar": name.upper()}
        if name in FLAGS:
            form = {"action": "store_const", "const": YES}
        group.addoption(
            f"--conformance-{name}",
            dest=f"conformance_{name}",
            help=f"{meaning}; environment: {twin(name)}",
            **form,
        )


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
        standard: the standard and its level that decide these; empty for none.
        shard: index from 1, and number of shards.
        budget: as given, None = the backend's own, if any.
        survey: divergences do not fail the run.
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
    standard: str
    shard: tuple[int, int]
    budget: str | None
    survey: bool
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


def resolve(config: pytest.Config) -> Settings:
    """Read and check the options.

    Raises:
        pytest.UsageError: naming the option, its value and what was expected.
    """
    from conformance.checks import CHECKS, EVERY_CHECK
    from conformance.items.planning import PROFILES
    from conformance.layers import COMPLEX, DTYPES

    read = Reader(config, OPTIONS)
    given, written = read.given, dict(read.given)
    standard = _standard(read)
    # Whoever names a number of examples wants so many of each item.
    profile = "standard" if "examples" in given else "quick"
    profile = read.one_of("profile", list(PROFILES)) if "profile" in given else profile
    everything = (*DTYPES, *COMPLEX)
    results, report, summary = (output(read, name) for name in OUTPUTS)
    known, earlier = _known(read), _earlier(read)
    keep_apart(read, known, earlier)
    return Settings(
        backend=given.get("backend", "torch"),
        layers=_layers(read),
        checks=read.chosen("check", list(EVERY_CHECK)) if "check" in given else tuple(CHECKS),
        dtypes=read.chosen("dtype", everything) if "dtype" in given else DTYPES,
        every_dtype="dtype" in given,
        devices=tuple(read.listed("device")) if "device" in given else (),
        profile=profile,
        examples=read.integer("examples", PROFILES[profile].examples, least=1, most=10_000_000),
        seed=read.integer("seed", 0),
        shard=_shard(read),
        budget=_budget(read),
        survey="survey" in given and read.one_of("survey", [YES, "no"]) == YES,
        known=known,
        isolated=_isolated(read),
        timeout=read.integer("timeout", 0, least=1, most=10_000_000) or None,
        memory=_memory(read),
        results=results,
        report=report,
        summary=summary,
        benchmarks=_benchmarks(read, config),
        compare=earlier,
        regression=_ratio(read),
        given=written,
        standard=standard,
    )


def _standard(read: Reader) -> str:
    """The standard that is named, whose options are from here on as given."""
    from conformance.model.standard import FIXED, StandardError, named

    if "standard" not in read.given:
        return ""
    try:
        standard, level = named(read.given["standard"])
    except StandardError as error:
        raise read.error("standard", str(error)) from None
    twice = next((name for name in FIXED if name in read.given), None)
    if twice is not None:
        raise read.error(
            twice, f"the standard {standard.name!r} decides that: expected one of them"
        )
    decided = {
        "layer": ",".join(standard.layers),
        "check": ",".join(standard.levels[level]),
        "profile": standard.profile,
        "examples": str(standard.examples),
        "seed": str(standard.seed),
    }
    for name, value in decided.items():
        read.given[name], read.source[name] = value, "--conformance-standard"
    return f"{standard.name}, {level}"


def _layers(read: Reader) -> tuple[str, ...]:
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


def _budget(read: Reader) -> str | None:
    from conformance.model.budget import parse

    given = read.given.get("budget")
    if given is None:
        return None
    try:
        parse(given, 1, 1)
    except ValueError as error:
        raise read.error("budget", str(error)) from None
    return given


def _shard(read: Reader) -> tuple[int, int]:
    if "shard" not in read.given:
        return 1, 1
    text = read.given["shard"].strip()
    try:
        (index,), count = parts(text)
    except ValueError:
        expected = f"expected i/N with 1 ≤ i ≤ N ≤ {MOST_SHARDS}, such as 2/8"
        raise read.error("shard", expected) from None
    return index, count


def _memory(read: Reader) -> int | None:
    if "memory" not in read.given:
        return None
    value = read.integer("memory", 0, most=MOST >> 20)
    if value < LEAST_MEMORY:
        raise read.error(
            "memory",
            f"expected MiB, at least {LEAST_MEMORY}: importing NumPy, the suite and a backend such "
            "as torch fills some hundred before the first case",
        )
    return value << 20


def _isolated(read: Reader) -> bool | None:
    if "isolation" not in read.given:
        return None
    return read.one_of("isolation", ["process", "none"]) == "process"


def names_benchmarks(argument: str) -> bool:
    """Whether an argument of pytest is the benchmarks' own file, or a test in it."""
    return re.search(r"(^|[./\\])test_benchmarks(\.py)?(::|$)", argument) is not None


def _benchmarks(read: Reader, config: pytest.Config) -> str:
    if "benchmarks" not in read.given:
        return "small" if any(names_benchmarks(str(a)) for a in config.args) else "none"
    return read.one_of("benchmarks", ["none", "small", "full"])


def _earlier(read: Reader) -> Path | None:
    if "compare" not in read.given:
        return None
    return input_file(read, "compare", read.given["compare"])


def _known(read: Reader) -> tuple[Path, ...]:
    if "known" not in read.given:
        return ()
    return tuple(input_file(read, "known", entry) for entry in read.listed("known"))


def _ratio(read: Reader) -> float | None:
    if "regression" not in read.given:
        return None
    text = read.given["regression"].strip()
    number = re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,30})?", text)
    value = float(text) if number else 0.0
    if not 1 <= value < float("inf"):
        raise read.error("regression", "expected a ratio of at least 1, such as 1.25")
    return value


def known_failures(backend: str, paths: Sequence[Path], base: str = "") -> tuple[Known, ...]:
    """The known failures of a run: those that ship with the backend, the user's, and its base's.

    Args:
        paths: of the user's files.
        base: the backend whose kernels it inherits; empty for none.

    Raises:
        pytest.UsageError: for a file that cannot be read.
    """
    from conformance.known.entry import KnownError, read

    try:
        return read(backend, paths, base)
    except KnownError as error:
        raise pytest.UsageError(f"--conformance-known={error}") from None
