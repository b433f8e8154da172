"""`nn-conformance check-kernel`: test a function that replaces an operator of torch."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from conformance.model.plain_text import bounded, visible
from conformance.model.protocols import KERNEL_BACKEND
from conformance.model.usage_error import UsageError

if TYPE_CHECKING:
    from conformance.commands.kernel import Examination, Score

WIDTH = 80
DTYPES = ("float32", "float64", "bfloat16", "float16")
MAX_MESSAGE_LINES = 12
"""Lines of a message to show."""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser of `nn-conformance`."""
    parser = commands.add_parser(
        "check-kernel", help="test a function that replaces an operator of torch"
    )
    add_argument = parser.add_argument
    add_argument("kernels", nargs="+", metavar="MODULE:ATTR",
        help="function to test, also as FILE.py:ATTR")  # fmt: skip
    add_argument("--op", action="append", required=True, metavar="OPERATOR",
        help="operator that the function replaces, e.g. aten::addmm; once for each function"
        )  # fmt: skip
    add_argument(
        "--device", default="cpu", help="device whose kernel the function replaces (default: cpu)"
    )
    add_argument("--dtype", default=",".join(DTYPES),
        help=f"comma list of dtypes (default: {','.join(DTYPES)})")  # fmt: skip
    add_argument("--layer", metavar="NAMES",
        help="comma list of layer names or globs (default: all that reach the operator)"
        )  # fmt: skip
    add_argument("--profile", default="standard",
        help="amount of cases: smoke, standard (default) or thorough")  # fmt: skip
    add_argument(
        "--seed", help="seed of an earlier run (default: a random seed, which the score shows)"
    )
    add_argument("--failures", default="3", metavar="N",
        help="stop after N failing items (default: 3; 0 = never stop)")  # fmt: skip
    add_argument("--memory-guard", action="store_true",
        help="end each case in which the function reads or writes beyond its memory (Linux)"
        )  # fmt: skip
    add_argument("--isolation", choices=("sealed", "process"), metavar="KIND",
        help="sealed (default): the function runs in a process that its judge alone can ask; "
        "process: beside the judge, which the memory guard needs")  # fmt: skip
    add_argument("--allow", default="", metavar="OPERATORS",
        help="comma list of torch's operators that the function may call to do its work"
        )  # fmt: skip
    add_argument("--json", action="store_true", help="print the score as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Examine the kernel and print its score.

    Returns:
        0 if it is right, 1 if it is wrong or nothing was judged.
    """
    from conformance.backends.guard import BackendError
    from conformance.commands.kernel import examine

    # `python -m` puts the working directory first. Here it is last, so that no file in it can
    # shadow an installed library.
    if "." not in sys.path:
        sys.path.append(".")
    examination = _read_examination(options)
    quiet = options.json or not sys.stderr.isatty()

    def show_progress(item: Any, verdict: Any) -> None:
        if not quiet:
            print(f"\r\x1b[K{visible(item.id)}: {verdict.status}", end="", file=sys.stderr)

    try:
        score = examine(examination, show_progress)
    except BackendError as error:
        raise _usage_error(error) from error
    if not quiet:
        print("\r\x1b[K", end="", file=sys.stderr)
    print(_json(score) if options.json else "\n".join(_score_lines(score)))
    return 0 if score.verdict == "right" else 1


def _read_examination(options: argparse.Namespace) -> Examination:
    from conformance.commands.kernel import Examination
    from conformance.items.planning import PROFILES
    from conformance.layers.reached import layers_reaching

    operators, kernels = options.op, options.kernels
    if options.isolation == "sealed" and options.memory_guard:
        raise UsageError("--memory-guard: expected --isolation=process with it")
    can_seal = os.name == "posix" and not options.memory_guard
    options.isolation = options.isolation or ("sealed" if can_seal else "process")
    if len(operators) != len(kernels):
        raise UsageError(
            f"{len(kernels)} functions and {len(operators)} --op: expected one operator for each"
        )
    if repeated := [name for name in operators if operators.count(name) > 1]:
        raise UsageError(f"--op={repeated[0]!r} is given twice")
    if options.profile not in PROFILES:
        expected = ", ".join(PROFILES)
        raise UsageError(f"--profile={options.profile!r}: expected one of {expected}")
    layers = _match_layers(options.layer) if options.layer else layers_reaching(operators)
    return Examination(
        tuple(zip(operators, kernels, strict=True)),
        options.device,
        # Without any layer, torch still checks the operator's name.
        layers or _refuse_unreached(operators, options.device, kernels),
        _parse_dtypes(options.dtype),
        options.profile,
        None if options.seed is None else _parse_number("--seed", options.seed),
        _parse_number("--failures", options.failures),
        _build_guard() if options.memory_guard else None,
        options.isolation == "sealed",
        tuple(part.strip() for part in options.allow.split(",") if part.strip()),
    )


def _build_guard() -> Path:
    """The library of the memory guard.

    Raises:
        UsageError: if it cannot be compiled here.
    """
    from conformance.isolation.guard_library import build_library

    try:
        return build_library()
    except UsageError as error:
        raise UsageError(f"--memory-guard: {error}") from None


def _usage_error(error: Exception) -> UsageError:
    """What is wrong with a kernel, without the message's words about the backend around it."""
    text = str(error)
    return UsageError(text.partition(" cannot be created: ")[2] or text)


def _parse_number(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise UsageError(f"{name}={text!r}: expected a whole number of at least 0")
    return int(text)


def _parse_dtypes(text: str) -> tuple[str, ...]:
    dtypes = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in dtypes:
        if name not in DTYPES:
            raise UsageError(f"--dtype={name!r}: expected one of {', '.join(DTYPES)}")
    return dtypes


def _match_layers(text: str) -> tuple[str, ...]:
    import fnmatch

    from conformance.layers import CATALOGUE

    globs = [part.strip() for part in text.split(",")]
    for glob in globs:
        if not fnmatch.filter(CATALOGUE, glob):
            raise UsageError(f"--layer={glob!r}: expected a layer, as nn-conformance layers lists")
    return tuple(x for x in CATALOGUE if any(fnmatch.fnmatchcase(x, glob) for glob in globs))


def _refuse_unreached(operators: list[str], device: str, kernels: list[str]) -> tuple[str, ...]:
    """Refuse operators that no layer reaches, or that torch does not have.

    Raises:
        UsageError: always.
    """
    from conformance.backends.capabilities import DEFAULT_TIMEOUT
    from conformance.backends.guard import BackendError
    from conformance.backends.kernel import KernelSettings, set_kernels
    from conformance.isolation.probe import ProbeQuery
    from conformance.isolation.probe_process import probe_in_process
    from conformance.isolation.process import start_seconds

    set_kernels(KernelSettings(tuple(zip(operators, kernels, strict=True)), device))
    try:
        probe_in_process(
            ProbeQuery(KERNEL_BACKEND, (), (), (), True, (), None), start_seconds(DEFAULT_TIMEOUT)
        )
    except BackendError as error:
        raise _usage_error(error) from error
    raise UsageError(
        f"--op={', '.join(operators)}: no layer of the suite reaches it, as traced on a CPU; "
        "expected another operator, or --layer with those that do on your device"
    )


def _json(score: Score) -> str:
    data = dataclasses.asdict(score)
    # JSON has no infinity.
    if data["largest"] is not None and math.isinf(data["largest"]):
        data["largest"] = "inf"
    return json.dumps(data, indent=1)


def _score_lines(score: Score) -> Iterator[str]:
    """The score as text, in lines of at most 80 columns."""
    for operator, function in score.kernels.items():
        text = f"{function} for {operator} on {score.device}: {score.verdict}"
        yield from _wrapped(text, "")
    if score.share is not None:
        wrong_text = f", {score.failed:,} wrong" if score.failed else ""
        yield from _wrapped(
            f"{_percent(score.share)} of {score.checked:,} cases right{wrong_text}; "
            f"{score.declined:,} declined"
        )
    for kind, texts in score.breaches.items():
        yield from _wrapped(f"{kind}: {', '.join(texts)}")
    text = ", ".join(f"{count} {status}" for status, count in sorted(score.items.items()))
    if score.left_out:
        text += f"; {score.left_out} not run, since enough had failed"
    yield from _wrapped(f"items: {text}")
    if score.smallest is not None:
        yield ""
        yield f"smallest failing case ({visible(score.smallest.id)}):"
        for line in bounded(score.smallest.message).splitlines()[:MAX_MESSAGE_LINES]:
            yield from _wrapped(line)
        if score.smallest.needs:
            conditions = " and ".join(score.smallest.needs)
            yield from _wrapped(f"{score.smallest.relation} {conditions}")
        yield ""
    if score.largest is not None:
        yield from _wrapped(f"largest error ÷ bound: {score.largest:.3g}")
    ran = ", ".join(f"{name} {count:,} times" for name, count in score.hits.items())
    layers_text = f", in {', '.join(score.layers)}" if score.layers else ""
    yield from _wrapped(f"ran: {ran}{layers_text}")
    for speed in score.speed:
        yield from _wrapped(_speed_text(speed))
    if score.verdict == "unchecked" and score.reasons:
        yield from _wrapped(f"declined most often: {next(iter(score.reasons))}")
    yield from _wrapped(f"seed {score.seed}, profile {score.profile}, {score.seconds:.0f} s")


def _speed_text(speed: Any) -> str:
    text = f"speed: {speed.layer} {speed.name}, {speed.dtype}: {speed.seconds * 1e3:.3g} ms"
    if speed.ratio is None:
        return text
    interval = "" if speed.low is None else f" ({speed.low:.2f} to {speed.high:.2f})"
    return f"{text}, {speed.ratio:.2f} times torch's{interval}"


def _percent(share: float) -> str:
    # Round down: a share below 1 must not read 100 %.
    return "100 %" if share == 1 else f"{math.floor(share * 1000) / 10:.1f} %"


def _wrapped(text: str, indent: str = "  ") -> list[str]:
    lines = textwrap.wrap(
        visible(text), WIDTH, initial_indent=indent, subsequent_indent=indent + "  ",
        break_on_hyphens=False,
    )  # fmt: skip
    return lines or [""]
