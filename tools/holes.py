"""Which mistakes each known failure would hide in a backend of base torch.

    python tools/holes.py --jobs 2 -o holes.json
    python tools/holes.py --entry 142

For each entry that torch's known failures hand on, a backend computes as torch does, except for
cases that meet the entry's conditions. There its outputs are negated (zeros become 7, NaN becomes
0), or its gradients are doubled. Every check of the layer looks at such cases, in the dtypes of the
entry and in the others. A mistake has one of four results:

- seen: a check of the entry's dtypes fails;
- seen elsewhere: only a check in other dtypes fails, if the mistake is made there, too;
- hidden: each failure is excused, in every dtype;
- not reached: no failure differs from torch's own, or no case meets the conditions.

The exit status is 1 if a mistake is hidden, or an entry could not be examined. With `--faithful`
the backend makes no mistake: an entry for which a check fails lacks the field `chance`.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from conformance.backends.module import ModuleBackend, ModuleLayer
from conformance.checks import CHECKS
from conformance.items.context import ItemContext
from conformance.items.log import Log
from conformance.items.outcomes import is_same_failure
from conformance.items.planning import Item
from conformance.items.stream import Stream
from conformance.known.entry import (
    KnownFailure,
    applicable_entries,
    load_entries,
    with_dtype_and_device,
)
from conformance.known.matches import Excuses
from conformance.layers import CATALOGUE
from conformance.matching.comparison import matches_globs
from conformance.model.case import Call, Case
from conformance.run.engine import Engine

DTYPES = ("float32", "float64", "bfloat16", "float16")
MISTAKES = ("negated", "gradient doubled")
DRAWN = 100
"""Examples of a round of cases, as in profile standard."""
ROUNDS = 4
MAX_SECONDS = 300
"""The time limit of one entry."""
RESULTS = ("seen", "seen elsewhere", "hidden", "not reached")
ENOUGH = 6
"""Cases that meet an entry's conditions, for each check and dtype."""


class _Doubled(torch.autograd.Function):
    """The identity, whose gradient is twice the right one."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return 2 * gradient


def negated(y: torch.Tensor) -> torch.Tensor:
    """A tensor none of whose elements is what it was."""
    if y.dtype == torch.bool:
        return ~y
    if not y.is_floating_point():
        return y + 1
    return torch.where(y == 0, 7.0, torch.where(y.isnan(), 0.0, -y)).to(y.dtype)


class WrongLayer(ModuleLayer):
    """torch's layer, whose answers are wrong while its backend says so."""

    backend: WrongBackend

    def _forward(self, *inputs: Any, **keywords: Any) -> Any:
        outputs = super()._forward(*inputs, **keywords)
        if isinstance(outputs, tuple):
            return tuple(map(self._spoiled, outputs))
        return self._spoiled(outputs)

    def _spoiled(self, y: Any) -> Any:
        if not (self.backend.wrong and isinstance(y, torch.Tensor)):
            return y
        if self.backend.mistake == "negated":
            return negated(y)
        return _Doubled.apply(y) if y.is_floating_point() else y  # type: ignore[no-untyped-call]


class WrongBackend(ModuleBackend):
    """torch under another name, with one mistake that is made while `wrong` is set."""

    def __init__(self, mistake: str) -> None:
        super().__init__("holes", base="torch")
        self.mistake, self.wrong = mistake, False

    def build(self, call: Call) -> ModuleLayer:
        layer = super().build(call)
        layer.__class__ = WrongLayer
        layer.backend = self  # type: ignore[attr-defined]
        return layer


@dataclass(frozen=True)
class Hole:
    """The result of one mistake within the conditions of one entry.

    `cases` met the conditions. `seen` names the checks, with dtypes, that fail for the mistake.
    `hidden` names those in which it is excused, `elsewhere` those of other dtypes that fail for it.
    """

    entry: int
    layer: str
    mistake: str
    reason: str
    cases: int
    seen: tuple[str, ...]
    hidden: tuple[str, ...]
    elsewhere: tuple[str, ...]

    @property
    def result(self) -> str:
        """One of `RESULTS`."""
        if self.seen:
            return "seen"
        if self.elsewhere:
            return "seen elsewhere"
        return "hidden" if self.hidden else "not reached"


def layer_of(entry: KnownFailure) -> str:
    """The layer of the pinned case, else the first layer that the entry covers."""
    pinned = [entry.case, *entry.cases.values()]
    layers = [case.call.layer for case in pinned if case is not None]
    return next((x for x in layers if x in CATALOGUE), "") or next(
        (layer for layer in CATALOGUE if matches_globs(layer, entry.layer)), ""
    )


def cases_within(entry: KnownFailure, item: Item, excuses: Excuses) -> Iterator[Case]:
    """Pinned and drawn cases of an item that meet the conditions of an entry."""
    pinned = entry.pinned_case(item.dtype, item.device, item.id)
    if pinned is not None and pinned.call.layer == item.layer and not CHECKS[item.check].invalid:
        yield with_dtype_and_device(pinned, item.dtype, item.device)
    for round in range(ROUNDS):
        for case in Stream(item, DRAWN, 0).cases(round):
            if excuses.is_covered(case, entry):
                yield case


def examine(entry: KnownFailure, index: int, known: Sequence[KnownFailure], mistake: str) -> Hole:
    """Make a mistake within the conditions of an entry, and ask every check about it."""
    layer, backend = layer_of(entry), WrongBackend(mistake)
    engine = Engine(backend, DRAWN, 0, known)
    results: dict[str, list[str]] = {"failed": [], "excused": [], "elsewhere": []}
    count = 0
    for dtype in DTYPES:
        within = matches_globs(dtype, entry.dtype)
        for name, check in CHECKS.items():
            if not check.applies(CATALOGUE[layer]) or check.invalid or name == "support":
                continue
            status, cases = ask(engine, backend, Item(layer, name, dtype, "cpu"), entry)
            if within:
                count += cases
                results.setdefault(status, []).append(f"{name} {dtype}")
            elif status == "failed":
                results["elsewhere"].append(f"{name} {dtype}")
    seen, hidden, elsewhere = (tuple(results[k]) for k in ("failed", "excused", "elsewhere"))
    return Hole(index, layer, mistake, entry.reason, count, seen, hidden, elsewhere)


def ask(engine: Engine, backend: WrongBackend, item: Item, entry: KnownFailure) -> tuple[str, int]:
    """Whether a check fails, excuses or passes the mistake, and of how many cases."""
    applies = tuple(applicable_entries(engine.known, item, backend.name, "torch").values())
    excuses, stream = Excuses(applies, CHECKS[item.check]), Stream(item, DRAWN, 0)
    numerics, status, count = engine.numerics(item.dtype), "passed", 0
    context = ItemContext(
        item, numerics, excuses, stream, Log(stream.cases()), lambda: math.inf, in_fork=False
    )
    for case in cases_within(entry, item, excuses):
        excuses.count_covered(case)
        ending_entry = excuses.find_process_ending(case)
        if ending_entry is not None:
            return f"left out: {ending_entry.status}", count
        right = engine.outcome(item, case, numerics)
        backend.wrong = backend.mistake in MISTAKES
        try:
            outcome = engine.outcome(item, case, numerics)
        finally:
            backend.wrong = False
        count += outcome.status in ("passed", "failed")
        is_torchs_own = backend.mistake in MISTAKES and is_same_failure(outcome, right)
        if outcome.status == "failed" and not is_torchs_own:
            excuse = engine.reference.find_excuse(context, case, outcome)
            if excuse is None:
                return "failed", count
            excuses.count_excused(excuse)
            status = "excused"
        if count >= ENOUGH:
            break
    return ("failed" if excuses.exceeded_entries() else status), count


def examine_entry(index: int, mistakes: Sequence[str]) -> list[Hole]:
    """Mistakes within one entry of torch's."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    known = load_entries("holes", base="torch")
    return [examine(known[index], index, known, mistake) for mistake in mistakes]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=RAW)
    parser.add_argument("--entry", type=int, action="append", help="number of an entry, from 0")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("-o", "--output", type=Path, help="JSON file of all results")
    parser.add_argument(
        "--faithful",
        action="store_true",
        help="make no mistake: a failure shows a missing `chance`",
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    mistakes = ("faithful",) if options.faithful else MISTAKES
    if options.child:
        (index,) = options.entry
        print(json.dumps([asdict(hole) for hole in examine_entry(index, mistakes)]))
        return 0
    known = load_entries("holes", base="torch")
    chosen = options.entry or [k for k, e in enumerate(known) if matches_globs("cpu", e.device)]
    holes, unexamined = list[Hole](), 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for index, result in zip(
            chosen,
            pool.map(lambda k: examine_in_child(k, faithful=options.faithful), chosen),
            strict=True,
        ):
            if isinstance(result, str):
                print(f"{index}: {result}", flush=True)
                unexamined += 1
                continue
            holes += result
            for hole in result:
                print(describe(hole), flush=True)
            if options.output:
                options.output.write_text(json.dumps([asdict(hole) for hole in holes], indent=1))
    counts = Counter(hole.result for hole in holes)
    results = ", ".join(f"{name} {counts[name]}" for name in RESULTS)
    print(f"{len(holes)} mistakes: {results}; entries that were not examined: {unexamined}")
    return 1 if counts["hidden"] or unexamined else 0


def examine_in_child(index: int, *, faithful: bool) -> list[Hole] | str:
    """The holes of an entry, found in a process of its own: a kernel may end it."""
    arguments = [sys.executable, __file__, "--child", f"--entry={index}"]
    try:
        child = subprocess.run(
            [*arguments, *(["--faithful"] if faithful else [])],
            capture_output=True, text=True, timeout=MAX_SECONDS, check=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"not done in {MAX_SECONDS} s"
    except subprocess.CalledProcessError as error:
        return f"ended with {error.returncode}: {error.stderr.strip()[-300:]}"
    return [Hole(**fields) for fields in json.loads(child.stdout.splitlines()[-1])]


def describe(hole: Hole) -> str:
    """One line of text: the result, the checks that excuse the mistake, and the entry."""
    excusing = f"; excused in {', '.join(hole.hidden)}" if hole.hidden else ""
    return (
        f"{hole.entry} {hole.layer} {hole.mistake}: {hole.result} in {hole.cases} cases{excusing} "
        f"({hole.reason[:60]})"
    )


RAW = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    sys.exit(main())
