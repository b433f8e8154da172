"""Test a kernel on cases of the layers that reach it, and time it if it is right."""

from __future__ import annotations

import dataclasses
import math
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conformance.backends.capabilities import DEFAULT_TIMEOUT
from conformance.backends.kernel import KernelSettings, set_kernels
from conformance.checks import CHECKS
from conformance.isolation.isolated_engine import IsolatedEngine
from conformance.isolation.probe import ProbeQuery, ProbeResult
from conformance.isolation.probe_process import probe_in_process
from conformance.isolation.process import Child, ChildDied, ChildError, start_seconds
from conformance.items.planning import PROFILES, Item
from conformance.known.entry import load_entries
from conformance.layers.encoding import CaseError, decode_verdict_case
from conformance.model.breaches import KINDS
from conformance.model.case import Verdict
from conformance.model.cause import NEEDS
from conformance.model.limits import SEED_COUNT, Limits, memory_per_worker
from conformance.model.protocols import KERNEL_BACKEND, SEALED_PREFIX
from conformance.timing.workloads import FAILED, NOT_TIMED, TimedCall, plan_calls

WRONG = ("failed", "crashed", "hung")
MAX_TIMED_CALLS = 3
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
        seed: seed of the cases; None = one that is drawn after the kernel was loaded.
        failures: number of failing items after which to stop; 0 = never.
        memory_guard: the library that guards the memory of the kernel; None = no guard.
        sealed: the kernel runs in a process that has nothing of its judge's.
        allowed: operators of torch that a sealed kernel may call.
    """

    kernels: tuple[tuple[str, str], ...]
    device: str
    layers: tuple[str, ...]
    dtypes: tuple[str, ...]
    profile: str
    seed: int | None
    failures: int
    memory_guard: Path | None = None
    sealed: bool = True
    allowed: tuple[str, ...] = ()


@dataclass(frozen=True)
class SmallestFailure:
    """The smallest failing case.

    Args:
        id: the verdict's id.
        call: the call as a person would type it.
        message: what is wrong.
        needs: arguments and sizes that the failure needs, in words.
        relation: the words before them, by the evidence: `"needs"`.
    """

    id: str
    call: str
    message: str
    needs: tuple[str, ...] = ()
    relation: str = NEEDS


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
class TimedFault:
    """What is wrong with a call that was to be timed.

    Args:
        kind: `"wrong"`, or one of `breaches.KINDS`.
    """

    kind: str
    text: str
    item: TimedCall


@dataclass(frozen=True)
class Score:
    """The result of an examination; `--json` prints these fields.

    Args:
        verdict: `"right"`, `"wrong"`, or `"unchecked"` if nothing was judged; of a sealed run also
            what the code does besides computing, one of `breaches.KINDS`.
        breaches: kind → what the code does, of that kind.
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
    smallest: SmallestFailure | None
    largest: float | None
    reasons: Mapping[str, int]
    speed: tuple[Speed, ...] = ()
    info: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    breaches: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def examine(
    examination: Examination,
    on_verdict: Callable[[Item, Verdict], None] = lambda item, verdict: None,
) -> Score:
    """Examine a kernel in separate processes.

    Args:
        examination: what to examine.
        on_verdict: called with each item and its verdict.

    Raises:
        BackendError: if the kernel or the operator does not exist, or its arguments do not fit.
    """
    started = time.perf_counter()
    set_kernels(KernelSettings(examination.kernels, examination.device, examination.allowed))
    address = f"{SEALED_PREFIX}{KERNEL_BACKEND}" if examination.sealed else KERNEL_BACKEND
    request = ProbeQuery(
        address, examination.layers, tuple(CHECKS), examination.dtypes, True, (), None
    )
    offer = probe_in_process(request, start_seconds(DEFAULT_TIMEOUT))
    profile = PROFILES[examination.profile]
    examples = profile.examples
    seed = secrets.randbelow(SEED_COUNT) if examination.seed is None else examination.seed
    offer = dataclasses.replace(offer, items=profile.choose_items(offer.items, seed))
    child = Child(
        address,
        examples,
        seed,
        (),
        Limits(offer.timeout, memory_per_worker(1)),
        base=BASE,
        guard=examination.memory_guard,
    )
    engine = IsolatedEngine(
        child, offer.backend, examples, seed, load_entries(offer.backend, (), BASE),
        bases=offer.bases,
    )  # fmt: skip
    verdicts: list[Verdict] = []
    try:
        for item in offer.items:
            if examination.failures and _count_wrong(verdicts) >= examination.failures:
                break
            verdicts.append(engine.run(item))
            on_verdict(item, verdicts[-1])
        score = _make_score(examination, offer, verdicts, seed)
        if score.verdict == "right":
            speeds, faults = _time_calls(child, score.layers, examination.dtypes[0], offer.devices)
            score = dataclasses.replace(score, speed=speeds)
            score = _with_timed_faults(score, faults) if faults else score
    finally:
        engine.close()
    return dataclasses.replace(score, seconds=round(time.perf_counter() - started, 1))


def _count_wrong(verdicts: Sequence[Verdict]) -> int:
    return sum(verdict.status in WRONG for verdict in verdicts)


def _make_score(
    examination: Examination, offer: ProbeResult, verdicts: Sequence[Verdict], seed: int
) -> Score:
    hits, reasons = Counter(dict.fromkeys(dict(examination.kernels), 0)), Counter[str]()
    for verdict in verdicts:
        hits.update(
            {_operator_name(examination, name): count for name, count in verdict.hits.items()}
        )
        reasons.update(verdict.examples.unsupported)
    checked = sum(v.examples.checked for v in verdicts)
    failed = sum(v.examples.failed - v.examples.excused for v in verdicts)
    failing = [v for v in verdicts if v.status in WRONG]
    # Cases that fail as listed show nothing of the kernel: torch refuses them before it runs.
    judging = [v for v in verdicts if v.check in ("values", "gradients")]
    any_right = any(v.status in ("passed", "known") and v.comparisons for v in judging)
    breaches = _breaches(failing)
    judged = "wrong" if failing else "right" if any_right else "unchecked"
    return Score(
        verdict=next(iter(breaches), judged),
        breaches=breaches,
        kernels=dict(examination.kernels),
        hits=dict(hits),
        device=", ".join(offer.devices),
        profile=examination.profile,
        seed=seed,
        layers=tuple(dict.fromkeys(v.layer for v in verdicts if any(v.hits.values()))),
        checked=checked,
        failed=failed,
        declined=sum(v.examples.declined for v in verdicts),
        share=1 - failed / checked if checked else None,
        items=dict(Counter(v.status for v in verdicts)),
        left_out=len(offer.items) - len(verdicts),
        smallest=_smallest_failure(failing),
        largest=max(filter(None, map(_largest_error, verdicts)), default=None),
        reasons=dict(reasons.most_common(10)),
        info=offer.info,
    )


def _breaches(failing: Sequence[Verdict]) -> dict[str, tuple[str, ...]]:
    """What the code under test does besides computing, the gravest kind first."""
    texts_by_kind: dict[str, dict[str, None]] = {kind: {} for kind in KINDS}
    for verdict in failing:
        findings = [verdict.failure, *(cause.failure for cause in verdict.others)]
        for finding in findings:
            if finding is not None and finding.kind == "breach":
                texts_by_kind[finding.what][finding.says] = None
    return {kind: tuple(texts) for kind, texts in texts_by_kind.items() if texts}


def _operator_name(examination: Examination, name: str) -> str:
    """The operator's name as the user gave it."""
    kernels = dict(examination.kernels)
    return name if name in kernels or f"{name}.default" not in kernels else f"{name}.default"


def _largest_error(verdict: Verdict) -> float | None:
    errors = [verdict.margin, None if verdict.excess is None else float(verdict.excess)]
    return max((x for x in errors if x is not None and not math.isnan(x)), default=None)


def _smallest_failure(failing: Sequence[Verdict]) -> SmallestFailure | None:
    if not failing:
        return None
    # Prefer a verdict that states what the failure needs: it says more than a smaller case.
    verdict = min(failing, key=lambda v: (all(need.fails for need in v.needs), _size(v)))
    needs = tuple(dict.fromkeys(need.phrase for need in verdict.needs if not need.fails))
    relation = NEEDS if verdict.share is None else verdict.share.relation
    return SmallestFailure(verdict.id, verdict.call or "", verdict.own_message, needs, relation)


def _size(verdict: Verdict) -> float:
    """Number of elements of a verdict's failing case; infinite if the verdict has no case."""
    try:
        case = decode_verdict_case(verdict)
    except CaseError:
        case = None
    return math.inf if case is None else sum(x.size for x in case.operands)


def _time_calls(
    child: Child, layers: Sequence[str], dtype: str, devices: Sequence[str]
) -> tuple[tuple[Speed, ...], tuple[TimedFault, ...]]:
    """Time the first calls of usual sizes, which are larger than the cases, and judge them."""
    speeds: list[Speed] = []
    faults: list[TimedFault] = []
    for item in plan_calls("small", layers=layers, dtypes=(dtype,), devices=devices):
        if item.direction != "forward" or len(speeds) == MAX_TIMED_CALLS or faults:
            continue
        request = {"benchmark": dataclasses.asdict(item), "set": "small"}
        try:
            line: Mapping[str, Any] = child.ask(request).get("line", {})
        except ChildDied as error:
            faults.append(TimedFault("wrong", str(error), item))
            continue
        except ChildError:
            continue
        status = str(line.get("status", "")).removeprefix(NOT_TIMED)
        if status == "timed":
            numbers = [line.get(name) for name in ("ratio", "ratio_low", "ratio_high")]
            speeds.append(Speed(item.layer, item.name, item.dtype, line["seconds"], *numbers))
        elif status in KINDS or status.startswith(FAILED):
            kind = status if status in KINDS else "wrong"
            faults.append(TimedFault(kind, str(line.get("message") or status), item))
    return tuple(speeds), tuple(faults)


def _with_timed_faults(score: Score, faults: Sequence[TimedFault]) -> Score:
    """The score of a kernel that is right on small cases, and not on calls of usual sizes."""
    breaches: dict[str, tuple[str, ...]] = {
        kind: tuple(fault.text for fault in faults if fault.kind == kind)
        for kind in KINDS
        if any(fault.kind == kind for fault in faults)
    }
    first = faults[0]
    call = f"{first.item.layer}, {first.item.name}, {first.item.dtype}"
    return dataclasses.replace(
        score,
        verdict=next(iter(breaches), "wrong"),
        breaches=breaches,
        checked=score.checked + len(faults),
        failed=score.failed + len(faults),
        share=1 - (score.failed + len(faults)) / (score.checked + len(faults)),
        items={**score.items, "failed": score.items.get("failed", 0) + len(faults)},
        smallest=SmallestFailure(first.item.id, call, first.text),
        speed=(),
    )
