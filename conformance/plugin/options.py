"""The suite's options: declared, read from the command line or the environment, and checked."""

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
    "backend": "The backend to test: an entry-point name, or package.module:attribute "
    "(default: torch)",
    "device": "Comma list of devices, or 'all' (default: cpu, or the backend's first device if "
    "it has no CPU)",
    "dtype": "Comma list of dtypes (default: those of float32,float64,bfloat16,float16 that the "
    "backend offers)",
    "layer": "Comma list of layer names or globs, e.g. Conv*,functional.* (default: all)",
    "family": "Comma list of layer families, e.g. convolution,recurrent (default: all)",
    "check": "Comma list of checks (default: all except support, which runs only if you name it)",
    "profile": "How much to test: smoke, quick, standard or thorough (default: quick, which runs "
    "every check in float32 and some checks in the other dtypes)",
    "standard": "Test against a released standard and level, e.g. 'torch.nn 2.13, inference'; it "
    "sets layers, checks, examples and seed (levels: inference, training, strict)",
    "examples": "Number of examples for each item (default: as the profile says)",
    "seed": "Integer seed of the cases; a seed gives the same cases on every machine (default: 0)",
    "shard": "Run only shard i of N, given as i/N",
    "budget": "Seconds for the whole run, or for each item, e.g. 2.5/item; items out of time stop "
    "early and say so (default: none, or the backend's own budget)",
    "survey": "Report how the backend differs without failing for it; the exit status is 1 only "
    "if the run itself goes wrong (in the environment: yes or no)",
    "known": "Comma list of TOML files of known failures, in addition to those that ship with the "
    "backend",
    "isolation": "Where items run: process (default) is a child process, so that a crash costs "
    "one verdict; none is pytest's own process, for debuggers",
    "timeout": "Seconds that one case may take (default: 30, more for a backend that compiles)",
    "memory": "MiB that a child process may use (default: its share of the machine's memory)",
    "benchmarks": "Set of calls to time next to torch, each only if its answer is right: small, "
    "full or none (default: none, or small if you run suite/test_benchmarks.py)",
    "compare": "Earlier results file to compare the benchmarks with",
    "regression": "Largest ratio of a call's time to torch's that passes, after division by the "
    "earlier ratio if --conformance-compare is given; the whole interval must exceed it to fail",
    "results": "JSON Lines file to write",
    "report": "HTML file to write",
    "summary": "Markdown file to write, for the page of a CI job",
}
FLAGS, YES = ("survey",), "yes"
"""Options that take no value on the command line, and the value that they then have."""
LEAST_MEMORY = 512
"""MiB that a backend needs to be imported and to run its simplest cases."""
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
    """Whether this pytest run has an option of the suite or collects the suite."""
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
    # The root of a checkout holds the suite. A project that contains an installed copy does not.
    return path in SUITE.parents and "site-packages" not in SUITE.relative_to(path).parts


@dataclass(frozen=True)
class Settings:
    """The checked options of a run.

    Args:
        backend: as the user names it.
        layers, checks, dtypes: the selected names, in the catalogue's order.
        every_dtype: the user named the dtypes, so a dtype that the backend lacks stays.
        devices: as the user names them, not yet checked against the backend; empty = the default.
        profile, examples, seed: what to draw.
        standard: the standard and level that decide what to run; empty for none.
        shard: index from 1, and number of shards.
        budget: the option's text; None = the backend's own budget, if it has one.
        survey: divergences do not fail the run.
        known: files of known failures.
        isolated: items run in a child process; None = as the backend wishes, by default they do.
        timeout: seconds that one case may take; None = depends on the backend's compile time.
        memory: bytes that a child process may use; None = its share of the machine's memory.
        results, report, summary: files to write.
        benchmarks: the set of calls to time.
        compare: an earlier results file; None = no comparison.
        regression: the largest ratio of times that passes; None = any.
        given: text of every option that the user gave.
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
        pytest.UsageError: with the option, its value and what was expected.
    """
    from conformance.checks import CHECKS, EVERY_CHECK
    from conformance.items.planning import PROFILES
    from conformance.layers import COMPLEX, DTYPES

    read = Reader(config, OPTIONS)
    given, written = read.given, dict(read.given)
    standard = _standard(read)
    # Other profiles than `standard` would run fewer examples than the user asks for.
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
    """Name the chosen standard and level, and set the options that it decides.

    Raises:
        pytest.UsageError: if there is no such standard, or the user also gave such an option.
    """
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
    """The layers that `--conformance-layer` and `--conformance-family` both select."""
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
    """Whether an argument of pytest names the file of benchmarks or a test in it."""
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
    """Read the known failures of a backend, of its base, and of the user's files.

    Args:
        paths: the user's files.
        base: the backend whose kernels this backend inherits; empty for none.

    Raises:
        pytest.UsageError: if a file cannot be read.
    """
    from conformance.known.entry import KnownError, read

    try:
        return read(backend, paths, base)
    except KnownError as error:
        raise pytest.UsageError(f"--conformance-known={error}") from None
