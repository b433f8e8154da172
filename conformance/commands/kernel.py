"""A kernel examined: the cases of the layers that reach it; its speed where it is right."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conformance.backends.capabilities import TIMEOUT
from conformance.backends.kernel import NAME, tell
from conformance.checks import CHECKS
from conformance.isolation.isolated_engine import IsolatedEngine
from conformance.isolation.probe import Asked, Offer
from conformance.isolation.probe_process import offered_by
from conformance.isolation.process import Child, ChildError, Died, starting
from conformance.items.planning import PROFILES, Item
from conformance.known.entry import read
from conformance.layers.encoding import CaseError, case_of
from conformance.model.case import Verdict
from conformance.model.limits import Limits, share_of_memory
from conformance.timing.workloads import plan

WRONG = ("failed", "crashed", "hung")
TIMED = 3
"""Calls that are timed."""
BASE = "torch"


@dataclass(frozen=True)
class Examination:
    """What to examine, and how.

    Args:
        kernels: operators, each with its function as `module:attribute`.
        device: torch's name.
        layers: names of the catalogue.
        dtypes: torch's names.
        profile: one of `PROFILES`.
        seed: of the cases.
        failures: items that may fail before the others are left out; 0 = all are run.
    """

    kernels: tuple[tuple[str, str], ...]
    device: str
    layers: tuple[str, ...]
    dtypes: tuple[str, ...]
    profile: str
    seed: int
    failures: int


@dataclass(frozen=True)
class Smallest:
    """The smallest failing case that was found.

    Args:
        id: of the verdict.
        call: as a person would type it.
        message: what is wrong.
        needs: what the failure needs of the arguments and sizes, in words.
    """

    id: str
    call: str
    message: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Speed:
    """A call timed in turns with torch's.

    Args:
        layer, name, dtype: what was timed.
        seconds: of a call.
        ratio: time ÷ torch's; below 1 is faster.
        low, high: an interval of 95 % around it.
    """

    layer: str
    name: str
    dtype: str
    seconds: float
    ratio: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Score:
    """What came of it.

    Args:
        verdict: `"right"`, `"wrong"`, or `"unchecked"` where nothing was judged.
        kernels: operator → its function.
        hits: how often each function ran.
        device, profile, seed: as examined.
        layers: in which a function ran.
        checked, failed, declined: cases.
        share: of the cases checked that are right; None where none was.
        items: of each status.
        left_out: items not run, since enough had failed.
        smallest: the smallest failing case; None where none fails.
        largest: largest error ÷ bound; infinite where equality was due.
        reasons: for which cases were declined, the most frequent first.
        speed: empty where the kernel is not right, or nothing could be timed.
        info: of the backend: versions and hardware.
        seconds: wall time.
    """

    verdict: str
    kernels: Mapping[str, str]
    hits: Mapping[str, int]
    device: str
    profile: str
    seed: int
    layers: tuple[str, ...]
    checked: int
    failed: int
    declined: int
    share: float | None
    items: Mapping[str, int]
    left_out: int
    smallest: Smallest | None
    largest: float | None
    reasons: Mapping[str, int]
    speed: tuple[Speed, ...] = ()
    info: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def examine(
    asked: Examination, told: Callable[[Item, Verdict], None] = lambda item, verdict: None
) -> Score:
    """Examine a kernel in processes of their own.

    Args:
        asked: what, and how.
        told: called with each item and its verdict.

    Raises:
        BackendError: if the kernel or the operator is none, or takes other arguments.
    """
    started = time.perf_counter()
    tell(asked.kernels, asked.device)
    question = Asked(NAME, asked.layers, tuple(CHECKS), asked.dtypes, True, (), None)
    offer = offered_by(question, starting(TIMEOUT))
    profile = PROFILES[asked.profile]
    offer = dataclasses.replace(offer, items=profile.chosen(offer.items))
    examples = profile.examples
    child = Child(
        NAME, examples, asked.seed, (), Limits(offer.timeout, share_of_memory(1)), base=BASE
    )
    engine = IsolatedEngine(
        child, offer.backend, examples, asked.seed, read(offer.backend, (), BASE),
        bases=offer.bases,
    )  # fmt: skip
    verdicts: list[Verdict] = []
    try:
        for item in offer.items:
            if asked.failures and _wrong(verdicts) >= asked.failures:
                break
            verdicts.append(engine.run(item))
            told(item, verdicts[-1])
        score = _score(asked, offer, verdicts)
        if score.verdict == "right":
            timed = _timed(child, score.layers, asked.dtypes[0], offer.devices)
            score = dataclasses.replace(score, speed=timed)
    finally:
        engine.close()
    return dataclasses.replace(score, seconds=round(time.perf_counter() - started, 1))


def _wrong(verdicts: Sequence[Verdict]) -> int:
    return sum(verdict.status in WRONG for verdict in verdicts)


def _score(asked: Examination, offer: Offer, verdicts: Sequence[Verdict]) -> Score:
    hits, reasons = Counter(dict.fromkeys(dict(asked.kernels), 0)), Counter[str]()
    for verdict in verdicts:
        hits.update({_key(asked, name): count for name, count in verdict.hits.items()})
        reasons.update(verdict.examples.unsupported)
    checked = sum(v.examples.checked for v in verdicts)
    failed = sum(v.examples.failed - v.examples.excused for v in verdicts)
    failing = [v for v in verdicts if v.status in WRONG]
    right = any(v.status in ("passed", "known") for v in verdicts)
    return Score(
        verdict="wrong" if failing else "right" if right else "unchecked",
        kernels=dict(asked.kernels),
        hits=dict(hits),
        device=", ".join(offer.devices),
        profile=asked.profile,
        seed=asked.seed,
        layers=tuple(dict.fromkeys(v.layer for v in verdicts if any(v.hits.values()))),
        checked=checked,
        failed=failed,
        declined=sum(v.examples.declined for v in verdicts),
        share=1 - failed / checked if checked else None,
        items=dict(Counter(v.status for v in verdicts)),
        left_out=len(offer.items) - len(verdicts),
        smallest=_smallest(failing),
        largest=max(filter(None, map(_error, verdicts)), default=None),
        reasons=dict(reasons.most_common(10)),
        info=offer.info,
    )


def _key(asked: Examination, name: str) -> str:
    """The operator as the user names it."""
    given = dict(asked.kernels)
    return name if name in given or f"{name}.default" not in given else f"{name}.default"


def _error(verdict: Verdict) -> float | None:
    found = [verdict.margin, None if verdict.excess is None else float(verdict.excess)]
    return max((x for x in found if x is not None and not math.isnan(x)), default=None)


def _smallest(failing: Sequence[Verdict]) -> Smallest | None:
    if not failing:
        return None
    # Of two a person learns more from the one that tells what the failure needs.
    verdict = min(failing, key=lambda v: (all(need.fails for need in v.needs), _size(v)))
    needs = tuple(dict.fromkeys(need.words for need in verdict.needs if not need.fails))
    return Smallest(verdict.id, verdict.call or "", verdict.own_message, needs)


def _size(verdict: Verdict) -> float:
    """Elements of a verdict's failing case; infinite where it holds none."""
    try:
        case = case_of(verdict)
    except CaseError:
        case = None
    return math.inf if case is None else sum(x.size for x in case.operands)


def _timed(
    child: Child, layers: Sequence[str], dtype: str, devices: Sequence[str]
) -> tuple[Speed, ...]:
    """The first calls of usual sizes that the kernel's answers are right in."""
    found: list[Speed] = []
    for item in plan("small", layers=layers, dtypes=(dtype,), devices=devices):
        if item.direction != "forward" or len(found) == TIMED:
            continue
        request = {"benchmark": dataclasses.asdict(item), "set": "small"}
        try:
            line: Mapping[str, Any] = child.ask(request).get("line", {})
        except (Died, ChildError):
            continue
        if line.get("status") == "timed":
            numbers = [line.get(name) for name in ("ratio", "ratio_low", "ratio_high")]
            found.append(Speed(item.layer, item.name, item.dtype, line["seconds"], *numbers))
    return tuple(found)
