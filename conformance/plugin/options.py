"""The suite's options: declared, read from the command line or the environment, and checked."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conformance.model.protocols import SEALED_PREFIX
from conformance.model.shards import MAX_SHARDS as MOST_SHARDS
from conformance.model.shards import parse_shards, scheduled_shard
from conformance.plugin.option_values import (
    MAX_INTEGER,
    OUTPUT_OPTIONS,
    OptionReader,
    check_paths_differ,
    environment_variable,
    input_file,
    output_file,
)

if TYPE_CHECKING:
    from conformance.known.entry import KnownFailure

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
    "shard": "Run only shard i of N, given as i/N, or auto: as the scheduler of the job numbers it",
    "costs": "Results file of an earlier run: shards get items that took about equal times in it",
    "budget": "Seconds for the whole run, or for each item, e.g. 2.5/item; items out of time stop "
    "early and say so (default: none, or the backend's own budget)",
    "survey": "Report how the backend differs without failing for it; the exit status is 1 only "
    "if the run itself goes wrong (in the environment: yes or no)",
    "require": "bitwise: an item fails if the bits of an answer depend on the run, the number of "
    "threads or the batch (default: the report says so, and nothing fails)",
    "known": "Comma list of TOML files of known failures, in addition to those that ship with the "
    "backend",
    "isolation": "Where items run: process (default) is a child process, so that a crash costs "
    "one verdict; none is pytest's own process, for debuggers; sealed is a process that holds the "
    "backend alone, and is asked step by step by the one that compares",
    "memory-guard": "Place the memory of the backend against pages without access, so that a read "
    "or write beyond it ends the case with a message; needs Linux and a C compiler (in the "
    "environment: yes or no)",
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
FLAGS, YES = ("survey", "memory-guard"), "yes"
"""Options that take no value on the command line, and the value that they then have."""
MIN_MEMORY_MIB = 512
"""MiB that a backend needs to be imported and to run its simplest cases."""
SUITE = Path(__file__).resolve().parent.parent / "suite"


def add_options(parser: pytest.Parser) -> None:
    """Declare every option under the prefix `--conformance-`."""
    group = parser.getgroup("conformance", "nn-conformance: property-based conformance of torch.nn")
    for name, description in OPTIONS.items():
        arguments: dict[str, Any] = {"metavar": name.upper()}
        if name in FLAGS:
            arguments = {"action": "store_const", "const": YES}
        group.addoption(
            f"--conformance-{name}",
            dest=f"conformance_{name}",
            help=f"{description}; environment: {environment_variable(name)}",
            **arguments,
        )


def is_suite_requested(config: pytest.Config) -> bool:
    """Whether this pytest run has an option of the suite or collects the suite."""
    if any(getattr(config.option, f"conformance_{name}", None) is not None for name in OPTIONS):
        return True
    return any(_is_suite_path(str(argument)) for argument in config.args)


def _is_suite_path(argument: str) -> bool:
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
        explicit_dtypes: the user named the dtypes, so a dtype that the backend lacks stays.
        devices: as the user names them, not yet checked against the backend; empty = the default.
        profile, examples, seed: what to draw.
        standard: the standard and level that decide what to run; empty for none.
        shard: index from 1, and number of shards.
        costs: an earlier results file that balances the shards; None = a hash assigns the items.
        budget: the option's text; None = the backend's own budget, if it has one.
        survey: divergences do not fail the run.
        bitwise: an item fails if the bits of its answers depend on more than the operands.
        known: files of known failures.
        isolation: `"process"`, `"none"` or `"sealed"`; None = as the backend wishes, by default in
            a child process.
        memory_guard: the library that guards the memory of the child process; None = no guard.
        timeout: seconds that one case may take; None = depends on the backend's compile time.
        memory: bytes that a child process may use; None = its share of the machine's memory.
        results, report, summary: files to write.
        benchmarks: the set of calls to time.
        compare: an earlier results file; None = no comparison.
        regression: the largest ratio of times that passes; None = any.
        given_options: text of every option that the user gave.
    """

    backend: str
    layers: tuple[str, ...]
    checks: tuple[str, ...]
    dtypes: tuple[str, ...]
    explicit_dtypes: bool
    devices: tuple[str, ...]
    profile: str
    examples: int
    seed: int
    standard: str
    shard: tuple[int, int]
    costs: Path | None
    budget: str | None
    survey: bool
    bitwise: bool
    known: tuple[Path, ...]
    isolation: str | None
    memory_guard: Path | None
    timeout: int | None
    memory: int | None
    results: Path | None
    report: Path | None
    summary: Path | None
    benchmarks: str
    compare: Path | None
    regression: float | None
    given_options: Mapping[str, str]

    @property
    def address(self) -> str:
        """The name under which a process loads the backend."""
        return f"{SEALED_PREFIX}{self.backend}" if self.isolation == "sealed" else self.backend


def read_settings(config: pytest.Config) -> Settings:
    """Read and check the options.

    Raises:
        pytest.UsageError: with the option, its value and what was expected.
    """
    from conformance.checks import CHECKS, EVERY_CHECK
    from conformance.items.planning import PROFILES
    from conformance.layers import COMPLEX, DTYPES

    reader = OptionReader(config, OPTIONS)
    values, given_options = reader.values, dict(reader.values)
    standard = _apply_standard(reader)
    # Other profiles than `standard` would run fewer examples than the user asks for.
    profile = "standard" if "examples" in values else "quick"
    profile = reader.one_of("profile", list(PROFILES)) if "profile" in values else profile
    all_dtypes = (*DTYPES, *COMPLEX)
    results, report, summary = (output_file(reader, name) for name in OUTPUT_OPTIONS)
    known_paths = _read_known_paths(reader)
    compare_path, costs_path = (_read_path(reader, name) for name in ("compare", "costs"))
    check_paths_differ(reader, known_paths, {"compare": compare_path, "costs": costs_path})
    return Settings(
        backend=values.get("backend", "torch"),
        layers=_read_layers(reader),
        checks=reader.select("check", list(EVERY_CHECK)) if "check" in values else tuple(CHECKS),
        dtypes=reader.select("dtype", all_dtypes) if "dtype" in values else DTYPES,
        explicit_dtypes="dtype" in values,
        devices=tuple(reader.comma_list("device")) if "device" in values else (),
        profile=profile,
        examples=reader.integer(
            "examples", PROFILES[profile].examples, minimum=1, maximum=10_000_000
        ),
        seed=reader.integer("seed", 0),
        shard=_read_shard(reader),
        costs=costs_path,
        budget=_read_budget(reader),
        survey=_is_on(reader, "survey"),
        bitwise="require" in values and bool(reader.one_of("require", ["bitwise"])),
        known=known_paths,
        isolation=_read_isolation(reader),
        memory_guard=_read_memory_guard(reader),
        timeout=reader.integer("timeout", 0, minimum=1, maximum=10_000_000) or None,
        memory=_read_memory(reader),
        results=results,
        report=report,
        summary=summary,
        benchmarks=_read_benchmarks(reader, config),
        compare=compare_path,
        regression=_read_regression_limit(reader),
        given_options=given_options,
        standard=standard,
    )


def _apply_standard(reader: OptionReader) -> str:
    """Name the chosen standard and level, and set the options that it decides.

    Raises:
        pytest.UsageError: if there is no such standard, or the user also gave such an option.
    """
    from conformance.model.standard import FIXED_OPTIONS, StandardError, find_standard

    if "standard" not in reader.values:
        return ""
    try:
        standard, level = find_standard(reader.values["standard"])
    except StandardError as error:
        raise reader.error("standard", str(error)) from None
    conflict = next((name for name in FIXED_OPTIONS if name in reader.values), None)
    if conflict is not None:
        raise reader.error(
            conflict, f"the standard {standard.name!r} decides that: expected one of them"
        )
    decided_options = {
        "layer": ",".join(standard.layers),
        "check": ",".join(standard.levels[level]),
        "profile": standard.profile,
        "examples": str(standard.examples),
        "seed": str(standard.seed),
    }
    for name, value in decided_options.items():
        reader.values[name], reader.sources[name] = value, "--conformance-standard"
    return f"{standard.name}, {level}"


def _read_layers(reader: OptionReader) -> tuple[str, ...]:
    """The layers that `--conformance-layer` and `--conformance-family` both select."""
    from conformance.layers import CATALOGUE

    layers = tuple(CATALOGUE)
    if "layer" in reader.values:
        layers = reader.select("layer", layers, globs=True)
    if "family" in reader.values:
        known_families = tuple(dict.fromkeys(spec.family for spec in CATALOGUE.values()))
        families = reader.select("family", known_families)
        layers = tuple(name for name in layers if CATALOGUE[name].family in families)
        if not layers:
            raise reader.error("family", "expected a family of the layers that are named")
    return layers


def _read_budget(reader: OptionReader) -> str | None:
    from conformance.model.budget import parse_budget

    text = reader.values.get("budget")
    if text is None:
        return None
    try:
        parse_budget(text, 1, 1)
    except ValueError as error:
        raise reader.error("budget", str(error)) from None
    return text


def _read_shard(reader: OptionReader) -> tuple[int, int]:
    if "shard" not in reader.values:
        return 1, 1
    text = reader.values["shard"].strip()
    if text == "auto":
        try:
            text = scheduled_shard(os.environ)
        except ValueError as error:
            raise reader.error("shard", str(error)) from None
    try:
        (index,), count = parse_shards(text)
    except ValueError:
        expected = f"expected i/N with 1 ≤ i ≤ N ≤ {MOST_SHARDS}, such as 2/8"
        raise reader.error("shard", expected) from None
    return index, count


def _read_memory(reader: OptionReader) -> int | None:
    if "memory" not in reader.values:
        return None
    value = reader.integer("memory", 0, maximum=MAX_INTEGER >> 20)
    if value < MIN_MEMORY_MIB:
        raise reader.error(
            "memory",
            f"expected MiB, at least {MIN_MEMORY_MIB}: importing NumPy, the suite and a backend "
            "such as torch fills some hundred before the first case",
        )
    return value << 20


def _read_isolation(reader: OptionReader) -> str | None:
    if "isolation" not in reader.values:
        return None
    return reader.one_of("isolation", ["process", "none", "sealed"])


def _is_on(reader: OptionReader, name: str) -> bool:
    """Whether the user gave a flag."""
    return name in reader.values and reader.one_of(name, [YES, "no"]) == YES


def _read_memory_guard(reader: OptionReader) -> Path | None:
    """The library of the memory guard, compiled by the first run on a machine."""
    if not _is_on(reader, "memory-guard"):
        return None
    from conformance.isolation.guard_library import build_library
    from conformance.model.usage_error import UsageError

    if _read_isolation(reader) not in (None, "process"):
        raise reader.error("memory-guard", "expected --conformance-isolation=process with it")
    try:
        return build_library()
    except UsageError as error:
        raise reader.error("memory-guard", str(error)) from None


def is_benchmark_path(argument: str) -> bool:
    """Whether an argument of pytest names the file of benchmarks or a test in it."""
    return re.search(r"(^|[./\\])test_benchmarks(\.py)?(::|$)", argument) is not None


def _read_benchmarks(reader: OptionReader, config: pytest.Config) -> str:
    if "benchmarks" not in reader.values:
        return "small" if any(is_benchmark_path(str(a)) for a in config.args) else "none"
    return reader.one_of("benchmarks", ["none", "small", "full"])


def _read_path(reader: OptionReader, name: str) -> Path | None:
    return input_file(reader, name, reader.values[name]) if name in reader.values else None


def _read_known_paths(reader: OptionReader) -> tuple[Path, ...]:
    if "known" not in reader.values:
        return ()
    return tuple(input_file(reader, "known", entry) for entry in reader.comma_list("known"))


def _read_regression_limit(reader: OptionReader) -> float | None:
    if "regression" not in reader.values:
        return None
    text = reader.values["regression"].strip()
    number = re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,30})?", text)
    value = float(text) if number else 0.0
    if not 1 <= value < float("inf"):
        raise reader.error("regression", "expected a ratio of at least 1, such as 1.25")
    return value


def load_known_failures(
    backend: str, paths: Sequence[Path], base: str = ""
) -> tuple[KnownFailure, ...]:
    """Read the known failures of a backend, of its base, and of the user's files.

    Args:
        paths: the user's files.
        base: the backend whose kernels this backend inherits; empty for none.

    Raises:
        pytest.UsageError: if a file cannot be read.
    """
    from conformance.known.entry import KnownFailureError, load_entries

    try:
        return load_entries(backend, paths, base)
    except KnownFailureError as error:
        raise pytest.UsageError(f"--conformance-known={error}") from None
