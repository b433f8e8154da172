"""Which mistakes each known failure would hide in a backend of base torch.

    python tools/holes.py --jobs 2 -o holes.json
    python tools/holes.py --entry 142

For each entry that torch's known failures hand on, a backend computes as torch does, except for
cases that meet the entry's conditions. There it makes one mistake (`MISTAKES`). The checks and
dtypes that the entry names look at such cases. If they do not see it, the layer's other checks do,
and then those of other dtypes. A mistake has one of these results:

- seen: a check fails that the entry names;
- seen by another check: in a dtype that the entry names, only a check fails that it does not name;
- seen in another dtype: only a check in other dtypes fails, if the mistake is made there, too;
- hidden: each failure is excused, in every dtype;
- torch's own: each failure is torch's, too;
- not reached: no check fails, or no case meets the conditions.

An entry for another CPU is examined as if it were for this one. The exit status is 1 if a mistake
is hidden, or an entry could not be examined. With `--faithful` the backend makes no mistake: an
entry for which a check fails lacks the field `chance`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from holes_table import DTYPES, RESULTS

from conformance.backends.module import ModuleBackend, ModuleLayer, info
from conformance.checks import CHECKS
from conformance.isolation.child import run_in_fork
from conformance.items.context import ItemContext
from conformance.items.forks import ALLOWED_SECONDS, ExpendableProcess
from conformance.items.log import Log
from conformance.items.outcomes import Outcome, is_same_failure
from conformance.items.planning import Item
from conformance.items.stream import Stream
from conformance.known.cpu import describe_place
from conformance.known.entry import (
    KnownFailure,
    applicable_entries,
    load_entries,
    with_dtype_and_device,
)
from conformance.known.matches import Excuses
from conformance.layers import CATALOGUE
from conformance.matching.comparison import matches_globs
from conformance.matching.facts import Facts
from conformance.model.case import Call, Case
from conformance.run.engine import Engine

DRAWN = 100
"""Examples of a round of cases."""
ROUNDS = 8
"""Rounds of cases that are drawn while fewer than `FEW` meet an entry's conditions."""
FEW = 3
MAX_SECONDS = 600
"""The time limit of one entry."""
BATCH = 8
"""Entries that one process examines."""
ENOUGH = 6
"""Cases that meet an entry's conditions, for each check and dtype."""
ENOUGH_SPECIAL = 30
"""The same where a case may lack what the mistake needs: NaN, which every second one has."""
DRAWS = 24
"""Calls of torch that are compared with one whose failure rests on drawn values."""
ENDS = 3
"""The same for one that ends the process, which rests on what memory holds."""


class _Doubled(torch.autograd.Function):
    """The identity, whose gradient is twice the right one."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return 2 * gradient


def negate(y: torch.Tensor) -> torch.Tensor:
    """A tensor none of whose elements is what it was: zeros become 7, NaN becomes 0."""
    if y.dtype == torch.bool:
        return ~y
    if not y.is_floating_point():
        return y + 1
    return torch.where(y == 0, 7.0, torch.where(y.isnan(), 0.0, -y)).to(y.dtype)


def double_gradient(y: torch.Tensor) -> torch.Tensor:
    """The same numbers, whose gradient is twice the right one."""
    return _Doubled.apply(y) if y.is_floating_point() else y  # type: ignore[no-untyped-call,no-any-return]


def lose_nan(y: torch.Tensor) -> torch.Tensor:
    """The same numbers, with 0 for NaN."""
    return torch.where(y.isnan(), torch.zeros((), dtype=y.dtype), y)


def end_process(y: torch.Tensor) -> torch.Tensor:
    """Abort, as a kernel does that notices a broken heap."""
    os.abort()


OUTPUT_MISTAKES: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "negated": negate,
    "gradient doubled": double_gradient,
    "NaN lost": lose_nan,
    "process ended": end_process,
}
ACCEPTED = "accepted"
"""The mistake of a call that is answered by 0 though torch refuses it."""
STATE_OFF = "state off"
"""The mistake of a state that is negated, and of attributes that are one too large."""
MISTAKES = (*OUTPUT_MISTAKES, ACCEPTED, STATE_OFF)
FURTHER_MISTAKES = (ACCEPTED, STATE_OFF)
"""The mistakes that are made where no other was seen: torch refuses, or has nothing to negate."""
APT_CHECKS = {"gradient doubled": ("gradients", "layout"), "NaN lost": ("special",)}
"""The checks that are asked first about a mistake; by default all."""


def mistakes_for(entry: KnownFailure) -> tuple[str, ...]:
    """The mistakes that a backend can make in cases of an entry."""
    checks = {name for name in CHECKS if matches_globs(name, entry.check)}
    if all(CHECKS[name].invalid for name in checks):
        return (ACCEPTED,)
    further = {"NaN lost": "special" in checks, "process ended": entry.ends_process}
    return ("negated", "gradient doubled", *(name for name, can_be in further.items() if can_be))


class WrongLayer(ModuleLayer):
    """torch's layer, whose answers are wrong where its backend says so."""

    backend: WrongBackend
    _put: list[tuple[torch.Tensor, str]]
    _layouts: dict[str, str]

    def put(
        self, array: np.ndarray, layout: str = "contiguous", dtype: str | None = None
    ) -> torch.Tensor:
        tensor = super().put(array, layout, dtype)
        self._put.append((tensor, layout))
        return tensor

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        self._note_layouts(inputs)
        return super().__call__(*inputs, **keywords)

    def forward_grad(self, *inputs: Any, **keywords: Any) -> Any:
        self._note_layouts(inputs)
        return super().forward_grad(*inputs, **keywords)

    def attributes(self) -> Mapping[str, Any]:
        facts = super().attributes()
        if not self._has_state_off():
            return facts
        return {name: x + 1 if type(x) is int else x for name, x in facts.items()}

    def state(self) -> Mapping[str, torch.Tensor]:
        state = super().state()
        return {name: negate(x) for name, x in state.items()} if self._has_state_off() else state

    def _accepts(self) -> bool:
        return self.backend.mistake == ACCEPTED and self.backend.is_wrong(self._layouts)

    def _has_state_off(self) -> bool:
        return self.backend.mistake == STATE_OFF and self.backend.is_wrong(self._layouts)

    def _pull_back(self, wanted: Any, inputs: Any, cotangents: Any, keywords: Any) -> Any:
        self._note_layouts(inputs, cotangents)
        try:
            return super()._pull_back(wanted, inputs, cotangents, keywords)
        except Exception:
            if not self._accepts():
                raise
            parameters = {} if self.module is None else dict(self.module.named_parameters())
            gradients = tuple(None if x is None else torch.zeros_like(x) for x in inputs)
            zeros = {name: torch.zeros_like(x) for name, x in parameters.items()}
            return torch.zeros(1), gradients, zeros

    def _note_layouts(self, inputs: Sequence[Any], cotangents: Sequence[Any] = ()) -> None:
        """Note the layout of each operand, by its name."""
        signature = CATALOGUE[self._call.layer].signature
        named = (
            *zip(signature.input_names, inputs, strict=False),
            *zip(signature.cotangent_names, cotangents, strict=False),
        )
        self._layouts = dict(self._call.layouts) | {
            name: next((layout for tensor, layout in self._put if tensor is x), "contiguous")
            for name, x in named
            if x is not None
        }

    def _forward(self, *inputs: Any, **keywords: Any) -> Any:
        is_wrong = self.backend.is_wrong(self._layouts)
        try:
            outputs = super()._forward(*inputs, **keywords)
        except Exception:
            if self._accepts():
                return torch.zeros(1)
            raise
        spoil = OUTPUT_MISTAKES.get(self.backend.mistake)
        if spoil is None or not is_wrong:
            return outputs
        spoiled = [
            spoil(y) if isinstance(y, torch.Tensor) else y
            for y in (outputs if isinstance(outputs, tuple) else (outputs,))
        ]
        return tuple(spoiled) if isinstance(outputs, tuple) else spoiled[0]


class Accepting:
    """A layer that answers every call by 0."""

    def __init__(self, layer: ModuleLayer) -> None:
        self.put, self.get = layer.put, layer.get

    def __call__(self, *inputs: Any, **keywords: Any) -> torch.Tensor:
        return torch.zeros(1)


class WrongBackend(ModuleBackend):
    """torch under another name, with a mistake in one case.

    Args:
        mistake: one of `MISTAKES`; any other name stands for none.
    """

    def __init__(self, mistake: str) -> None:
        super().__init__("holes", base="torch")
        self.mistake = mistake
        self.is_wrong: Callable[[Mapping[str, str]], bool] = is_never_wrong

    def build(self, call: Call) -> Any:
        try:
            layer = super().build(call)
        except Exception:
            if self.mistake == ACCEPTED and self.is_wrong({}):
                return Accepting(ModuleLayer(call, None, torch.zeros_like))
            raise
        layer.__class__ = WrongLayer
        layer.backend, layer._put, layer._layouts = self, [], {}  # type: ignore[attr-defined]
        return layer


def is_never_wrong(layouts: Mapping[str, str]) -> bool:
    """Make no mistake, whatever the layouts."""
    return False


def condition_on_layouts(
    entry: KnownFailure, item: Item, case: Case
) -> Callable[[Mapping[str, str]], bool]:
    """Whether a call of a case is one that an entry covers, by the layouts of its operands.

    The check `layout` repeats a case with fewer layouts, down to none. A mistake without any is for
    other checks.
    """
    variant = CHECKS[item.check].layout_variant
    if variant is None:
        return lambda layouts: True
    laid_out_case, _ = variant(case)
    return lambda layouts: (
        any(layout != "contiguous" for layout in layouts.values())
        and entry.matches_facts(Facts(laid_out_case, layouts))
    )


@dataclass(frozen=True)
class Hole:
    """The result of one mistake within the conditions of one entry.

    `cases` met the conditions. `seen` names the checks, with dtypes, that the entry names and that
    fail for the mistake; `hidden` those that excuse it; `own` those that fail for torch, too.
    Others that fail are in `checks`, or in `dtypes` if the entry does not name the dtype.
    """

    entry: int
    layer: str
    mistake: str
    reason: str
    cases: int
    seen: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    @property
    def result(self) -> str:
        """One of `RESULTS`."""
        places = (self.seen, self.checks, self.dtypes, self.hidden, self.own)
        return next((name for name, x in zip(RESULTS, places, strict=False) if x), "not reached")


def layer_of(entry: KnownFailure) -> str:
    """The layer of the pinned case, else the first layer that the entry covers."""
    pinned = [entry.case, *entry.cases.values()]
    layers = [case.call.layer for case in pinned if case is not None]
    return next((x for x in layers if x in CATALOGUE), "") or next(
        (layer for layer in CATALOGUE if matches_globs(layer, entry.layer)), ""
    )


def cases_within(entry: KnownFailure, item: Item, excuses: Excuses) -> Iterator[Case]:
    """Some pinned and drawn cases of an item that meet the conditions of an entry."""
    pinned = entry.pinned_case(item.dtype, item.device, item.id)
    is_alike = pinned is not None and ("broken" in pinned.labels) == CHECKS[item.check].invalid
    if pinned is not None and is_alike and pinned.call.layer == item.layer:
        yield with_dtype_and_device(pinned, item.dtype, item.device)
    count = 0
    for round in range(ROUNDS):
        for case in Stream(item, DRAWN, 0).cases(round):
            if excuses.is_covered(case, entry):
                count += 1
                yield case
        if count >= FEW:
            return


def examine(
    entry: KnownFailure,
    index: int,
    known: Sequence[KnownFailure],
    mistake: str,
    *,
    quick: bool = False,
) -> Hole:
    """Make a mistake within the conditions of an entry, and ask checks about it.

    Args:
        index: the entry's place in `known`.
        quick: stop at the first check that sees it.
    """
    layer, backend = layer_of(entry), WrongBackend(mistake)
    entry = replace(entry, cpu={}, versions={})
    known = (*known[:index], entry, *known[index + 1 :])
    fork = ExpendableProcess(lambda *said: None, run_in_fork) if entry.ends_process else None
    engine = Engine(backend, DRAWN, 0, known, process=fork)
    dtypes = [dtype for dtype in DTYPES if matches_globs(dtype, entry.dtype)]
    is_invalid = all(x.invalid for name, x in CHECKS.items() if matches_globs(name, entry.check))
    checks = [
        name
        for name, check in CHECKS.items()
        if check.applies(CATALOGUE[layer]) and name != "support" and check.invalid == is_invalid
    ]
    named = [name for name in checks if matches_globs(name, entry.check)]
    apt = [name for name in named if name in APT_CHECKS.get(mistake, checks)]
    count, found = 0, dict[str, dict[str, list[str]]]()
    for place, some_checks, some_dtypes in (
        ("seen", apt, dtypes),
        ("seen", [name for name in named if name not in apt], dtypes),
        ("checks", [name for name in checks if name not in named], dtypes),
        ("dtypes", checks, [dtype for dtype in DTYPES if dtype not in dtypes]),
    ):
        results = found.setdefault(place, {})
        for dtype, name in itertools.product(some_dtypes, some_checks):
            status, cases = ask(engine, backend, Item(layer, name, dtype, "cpu"), entry)
            count += cases
            results.setdefault(status, []).append(f"{name} {dtype}")
            if quick and status == "failed":
                break
        if "failed" in results:
            break
    failed = {place: tuple(results.get("failed", ())) for place, results in found.items()}
    hidden, own = (
        tuple(name for results in found.values() for name in results.get(status, ()))
        for status in ("excused", "torch's own")
    )
    return Hole(index, layer, mistake, entry.reason, count, **failed, hidden=hidden, own=own)


def ask(engine: Engine, backend: WrongBackend, item: Item, entry: KnownFailure) -> tuple[str, int]:
    """Whether a check fails, excuses or passes the mistake, and of how many cases."""
    applies = tuple(applicable_entries(engine.known, item, backend.name, "torch").values())
    excuses, stream = Excuses(applies, CHECKS[item.check]), Stream(item, DRAWN, 0)
    numerics, statuses, count = engine.numerics(item), set[str](), 0
    context = ItemContext(
        item, numerics, excuses, stream, Log(stream.cases()), lambda: math.inf, in_fork=False
    )

    seconds = ALLOWED_SECONDS.get(entry.status, 0.0)

    def outcome_of(case: Case) -> Outcome | None:
        ending = entry.ends_process or excuses.find_process_ending(case) is not None
        if not ending:
            return engine.outcome(item, case, numerics)
        return engine.forks.run(item, case, seconds) if entry.ends_process else None

    def repeat(case: Case, is_lost: bool) -> Iterator[Outcome]:
        outcomes = (outcome_of(case) for _ in range(ENDS if is_lost else DRAWS))
        return (x for x in outcomes if x is not None)

    for case in cases_within(entry, item, excuses):
        excuses.count_covered(case)
        right = outcome_of(case)
        if right is None:
            continue  # another entry says that it ends the process
        backend.is_wrong = condition_on_layouts(entry, item, case)
        try:
            outcome = outcome_of(case)
        finally:
            backend.is_wrong = is_never_wrong
        assert outcome is not None
        if outcome.status in ("unsupported", "invalid"):
            continue
        count += 1
        if outcome.is_failure:
            is_own = is_same_failure(outcome, right) or (
                (outcome.depends_on_draws or outcome.process_lost)
                and any(is_same_failure(outcome, x) for x in repeat(case, outcome.process_lost))
            )
            if backend.mistake in MISTAKES and is_own:
                statuses.add("torch's own")
            elif (excuse := engine.reference.find_excuse(context, case, outcome)) is None:
                return "failed", count
            else:
                excuses.count_excused(excuse)
                statuses.add("excused")
        if count >= (ENOUGH_SPECIAL if backend.mistake == "NaN lost" else ENOUGH):
            break
    if excuses.exceeded_entries():
        return "failed", count
    return next((x for x in ("excused", "torch's own") if x in statuses), "passed"), count


def examine_entry(index: int, mistakes: Sequence[str], *, quick: bool) -> Iterator[Hole]:
    """Mistakes within one entry of torch's."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    known = load_entries("holes", base="torch")
    first_mistakes, is_seen = mistakes or mistakes_for(known[index]), False
    for mistake in first_mistakes:
        hole = examine(known[index], index, known, mistake, quick=quick)
        is_seen |= bool(hole.seen or hole.checks or hole.dtypes)
        yield hole
    for mistake in () if is_seen or mistakes or ACCEPTED in first_mistakes else FURTHER_MISTAKES:
        hole = examine(known[index], index, known, mistake, quick=quick)
        yield hole
        if hole.seen:
            break


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
    parser.add_argument(
        "--quick", action="store_true", help="stop at the first check that sees a mistake"
    )
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        for index in options.entry:
            mistakes = ("faithful",) if options.faithful else ()
            holes = list(examine_entry(index, mistakes, quick=options.quick))
            print(json.dumps([index, [asdict(hole) for hole in holes]]), flush=True)
        return 0
    known = load_entries("holes", base="torch")
    chosen = options.entry or [k for k, e in enumerate(known) if matches_globs("cpu", e.device)]
    batches = [chosen[k : k + BATCH] for k in range(0, len(chosen), BATCH)]
    flags = [f"--{x}" for x in ("faithful", "quick") if getattr(options, x)]
    holes, unexamined = list[Hole](), 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for results in pool.map(lambda x: examine_in_child(x, *flags), batches):
            for index, result in results.items():
                if isinstance(result, str):
                    print(f"{index}: {result}", flush=True)
                    unexamined += 1
                    continue
                holes += result
                for hole in result:
                    print(describe(hole), flush=True)
            if options.output:
                options.output.write_text(json.dumps(to_data(holes), indent=1))
    print(summarise(holes, unexamined))
    return 1 if unexamined or any(hole.result == "hidden" for hole in holes) else 0


def to_data(holes: Iterable[Hole]) -> dict[str, Any]:
    """Holes for `tools/holes_table.py`, with the place where they were found."""
    return {
        "place": describe_place("torch", info(), "cpu"),
        "mistakes": [{**asdict(hole), "result": hole.result} for hole in holes],
    }


def summarise(holes: Iterable[Hole], unexamined: int = 0) -> str:
    """One line: how many mistakes have each result."""
    counts = Counter(hole.result for hole in holes)
    results = ", ".join(f"{name} {counts[name]}" for name in RESULTS)
    return f"{counts.total()} mistakes: {results}; entries that were not examined: {unexamined}"


def examine_in_child(indices: Sequence[int], *flags: str) -> dict[int, list[Hole] | str]:
    """The holes of entries, found in a process of its own: a kernel may end it.

    If it ends, each entry that is left gets another process.

    Args:
        flags: options of this command.
    """
    arguments = [sys.executable, __file__, "--child", *(f"--entry={index}" for index in indices)]
    child = subprocess.Popen(
        [*arguments, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        lines, errors = child.communicate(timeout=MAX_SECONDS * len(indices))
        end = f"ended with {child.returncode}: {errors.strip()[-300:]}"
    except subprocess.TimeoutExpired:
        child.kill()
        lines, _ = child.communicate()
        end = f"not done in {MAX_SECONDS} s"
    results = dict[int, list[Hole] | str]()
    for line in lines.splitlines():
        index, holes = json.loads(line)
        results[index] = [
            Hole(**{name: tuple(x) if isinstance(x, list) else x for name, x in fields.items()})
            for fields in holes
        ]
    left = [index for index in indices if index not in results]
    if len(indices) == 1:
        return results or {indices[0]: end}
    for index in left:
        results |= examine_in_child([index], *flags)
    return results


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
