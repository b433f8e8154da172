"""Which mistakes each known failure would hide in a backend of base torch.

    python tools/holes.py --jobs 2 -o holes.json
    python tools/holes.py --entry 142

For each entry of a file of known failures a backend computes as torch does, except for cases that
meet the entry's conditions. There its outputs are negated (zeros become 7, NaN becomes 0), or its
gradients are doubled. Every check of the layer looks at such cases, in the dtypes of the entry and
in the others. An entry is a hole for what no check of its own dtypes sees: each failure is excused.
`elsewhere` says whether checks in other dtypes see the same mistake if it is made there, too.
The exit status is 1 if a mistake is seen by nothing at all. With `--faithful` the backend makes no
mistake: an entry for which a check fails excuses by chance, and lacks the field `chance`.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import warnings
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
SECONDS = 300
"""That one entry may take."""
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
        if self.backend.mistake == "faithful":
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
    """What became of one mistake within the conditions of one entry.

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
    def is_unseen(self) -> bool:
        """Whether the mistake is excused wherever it shows, in every dtype."""
        return bool(self.hidden) and not self.seen and not self.elsewhere


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
            if any(map(entry.matches_facts, excuses._facts_of_calls(case))):
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
        deadly = excuses.find_process_ending(case)
        if deadly is not None:
            return f"left out: {deadly.status}", count
        right = engine.outcome(item, case, numerics)
        backend.wrong = True
        try:
            outcome = engine.outcome(item, case, numerics)
        finally:
            backend.wrong = False
        count += outcome.status in ("passed", "failed")
        if outcome.status == "failed" and (
            backend.mistake == "faithful" or not is_same_failure(outcome, right)
        ):
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
    holes: list[Hole] = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for index, result in zip(
            chosen,
            pool.map(lambda k: examine_in_child(k, faithful=options.faithful), chosen),
            strict=True,
        ):
            if isinstance(result, str):
                print(f"{index}: {result}", flush=True)
                continue
            holes += result
            for hole in result:
                print(describe(hole), flush=True)
            if options.output:
                options.output.write_text(json.dumps([asdict(hole) for hole in holes], indent=1))
    unseen = [hole for hole in holes if hole.is_unseen]
    print(f"{len(holes)} mistakes, seen by nothing: {len(unseen)}")
    return 1 if unseen else 0


def examine_in_child(index: int, *, faithful: bool) -> list[Hole] | str:
    """The holes of an entry, found in a process of its own: a kernel may end it."""
    arguments = [sys.executable, __file__, "--child", f"--entry={index}"]
    try:
        child = subprocess.run(
            [*arguments, *(["--faithful"] if faithful else [])],
            capture_output=True, text=True, timeout=SECONDS, check=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"not done in {SECONDS} s"
    except subprocess.CalledProcessError as error:
        return f"ended with {error.returncode}: {error.stderr.strip()[-300:]}"
    return [Hole(**fields) for fields in json.loads(child.stdout.splitlines()[-1])]


def describe(hole: Hole) -> str:
    if hole.is_unseen:
        verdict = "SEEN BY NOTHING"
    elif hole.seen:
        verdict = f"seen by {len(hole.seen)}"
    else:
        verdict = f"elsewhere {len(hole.elsewhere)}" if hole.hidden else "nothing compared"
    return (
        f"{hole.entry} {hole.layer} {hole.mistake}: {verdict}; hidden {', '.join(hole.hidden)} "
        f"({hole.cases} cases) {hole.reason[:60]}"
    )


RAW = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    sys.exit(main())
