"""Test a kernel on cases of the layers that reach it, and time it if it is right."""

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
"""Calls to time, at most."""
BASE = "torch"


@dataclass(frozen=True)
class Examination:
    """What to examine, and how.

    Args:
        kernels: pairs of an operator and its function, as `module:attribute`.
        device: torch's name.
        layers: names of the catalogue.
        dtypes: torch's names.
        profile: one of `PROFILES`.
        seed: seed of the cases.
        failures: number of failing items after which to stop; 0 = never.
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
    """The smallest failing case.

    Args:
        id: the verdict's id.
        call: the call as a person would type it.
        message: what is wrong.
        needs: arguments and sizes that the failure needs, in words.
    """

    id: str
    call: str
    message: str
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Speed:
    """The time of a call, measured in turns with torch's.

    Args:
        layer, name, dtype: what was timed.
        seconds: time of one call.
        ratio: time ÷ torch's time; below 1 is faster.
        low, high: a 95 % interval of the ratio.
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
    """The result of an examination; `--json` prints these fields.

    Args:
        verdict: `"right"`, `"wrong"`, or `"unchecked"` if nothing was judged.
        kernels: operator → its function.
        hits: operator → number of calls of its function.
        device, profile, seed: as examined.
        layers: the layers that called a function.
        checked, failed, declined: numbers of cases.
        share: right cases ÷ checked cases; None if no case was checked.
        items: status → number of items.
        left_out: number of items that did not run because enough had failed.
        smallest: the smallest failing case; None if none fails.
        largest: the largest error ÷ bound; infinite if the bound is 0.
        reasons: reason → number of declined cases, the most frequent first.
        speed: timed calls; empty if the kernel is not right or nothing could be timed.
        info: versions and hardware of the backend.
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
    """Examine a kernel in separate processes.

    Args:
        asked: what to examine.
        told: called with each item and its verdict.

    Raises:
        BackendError: if the kernel or the operator does not exist, or its arguments do not fit.
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
    """The operator's name as the user gave it."""
    given = dict(asked.kernels)
    return name if name in given or f"{name}.default" not in given else f"{name}.default"


def _error(verdict: Verdict) -> float | None:
    found = [verdict.margin, None if verdict.excess is None else float(verdict.excess)]
    return max((x for x in found if x is not None and not math.isnan(x)), default=None)


def _smallest(failing: Sequence[Verdict]) -> Smallest | None:
    if not failing:
        return None
    # Prefer a verdict that states what the failure needs: it says more than a smaller case.
    verdict = min(failing, key=lambda v: (all(need.fails for need in v.needs), _size(v)))
    needs = tuple(dict.fromkeys(need.words for need in verdict.needs if not need.fails))
    return Smallest(verdict.id, verdict.call or "", verdict.own_message, needs)


def _size(verdict: Verdict) -> float:
    """Number of elements of a verdict's failing case; infinite if the verdict has no case."""
    try:
        case = case_of(verdict)
    except CaseError:
        case = None
    return math.inf if case is None else sum(x.size for x in case.operands)


def _timed(
    child: Child, layers: Sequence[str], dtype: str, devices: Sequence[str]
) -> tuple[Speed, ...]:
    """Time the first calls of usual sizes for which the kernel's answers are right."""
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
