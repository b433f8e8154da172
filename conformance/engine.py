"""Runs items: one check of one layer in one dtype on one device, over all drawn cases."""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from .budget import Budget
from .case import Case, Examples, Numerics, Unsupported, Verdict
from .catalogue import CATALOGUE
from .checks import CHECKS
from .drawing import draw_cases, shrink
from .encoding import encode_case
from .known import Known
from .protocols import Backend
from .reproducer import reproducer
from .trial import Evidence, Failure, Inapplicable, Trial

# Seconds that a failure may take to shrink beyond its item's budget.
LEAST_SHRINKING = 1.0
PROFILES = {"smoke": 40, "standard": 200, "thorough": 4000}


@dataclass(frozen=True)
class Item:
    """What one verdict is about.

    Args:
        layer, check, dtype, device: names.
    """

    layer: str
    check: str
    dtype: str
    device: str

    @property
    def id(self) -> str:
        """`"Conv2d-values-float32-cpu"`."""
        return f"{self.layer}-{self.check}-{self.dtype}-{self.device}"


@dataclass(frozen=True)
class Outcome:
    """What came of one check on one case.

    Args:
        status: `"passed"`, `"failed"`, `"unsupported"` or `"invalid"`.
        message: what was said.
        comparisons: numbers compared.
    """

    status: str
    message: str = ""
    comparisons: int = 0


class Engine:
    """Runs items against one backend.

    Args:
        backend: the implementation under test.
        examples: cases of each item.
        seed: of the run.
        known: known failures.
        interrupted: asked before each case; True ends the run as Ctrl-C does.
        budget: time for each item, None = as much as it takes.
        note: told what comes next, `(phase, index, checked)` of `isolation.journal`; None where
            the engine does not run in a process that may be lost.
    """

    def __init__(
        self,
        backend: Backend,
        examples: int,
        seed: int,
        known: Sequence[Known] = (),
        interrupted: Callable[[], bool] = lambda: False,
        note: Callable[[str, int, int], None] | None = None,
        budget: Budget | None = None,
    ) -> None:
        self.backend, self.examples, self.seed = backend, examples, seed
        self.known, self.interrupted = tuple(known), interrupted
        self.budget, self.values = budget, values_per_structure(backend)
        self.expendable, self.note = note is not None, note or _nothing

    def run(self, item: Item, dead: Collection[int] = ()) -> Verdict:
        """Draw an item's cases, check them all, shrink the first failure.

        Args:
            item: what to check.
            dead: known failures, by their index, whose pinned case is known to end the process.
        """
        started = time.perf_counter()
        if not offered(self.backend, item.layer, item.dtype, item.device):
            verdict = self._declined(item)
        else:
            verdict = self._checked(item, dead)
        return replace(verdict, seconds=round(time.perf_counter() - started, 4))

    def _declined(self, item: Item) -> Verdict:
        reason = f"{item.layer} in {item.dtype} on {item.device} is not offered"
        examples = Examples(self.examples, 0, {reason: self.examples}, 0)
        return _verdict(item, "unsupported", examples, message=reason)

    def _checked(self, item: Item, dead: Collection[int]) -> Verdict:
        left = _unlimited if self.budget is None else self.budget.begin()
        try:
            numerics = numerics_of(self.backend, item.dtype)
        except Failure as failure:
            return _verdict(item, "failed", Examples(), message=str(failure))
        applying = self.applying(item)
        stale = [
            entry
            for index, entry in applying.items()
            if index not in dead and self._is_stale(item, index, entry, numerics)
        ]
        if stale:
            return _stale(item, stale)
        known = list(applying.values())
        self.note("drawing", 0, 0)
        cases = self.cases(item)
        reasons: Counter[str] = Counter()
        evidence, checked, beside, drawn = Evidence(), 0, 0, len(cases)
        for index, case in enumerate(cases):
            if left() <= 0 and index:
                drawn = index
                break
            if any(entry.deadly and entry.covers(case) for entry in known):
                beside += 1
                continue
            self.note("checking", index, checked)
            try:
                found = self.try_case(item, case, numerics)
            except Unsupported as declined:
                reasons[str(declined) or "no reason given"] += 1
                continue
            except Inapplicable:
                beside += 1
                continue
            except Failure as failure:
                checked += 1
                if any(entry.covers(case) for entry in known):
                    continue
                counts = Examples(len(cases), checked, dict(reasons), beside)
                return self._failed(
                    item, numerics, known, index, case, failure, counts, evidence, left
                )
            checked += 1
            evidence += found
        counts = Examples(drawn, checked, dict(reasons), beside, len(cases) - drawn)
        verdict = _summed_up(item, counts, evidence)
        return _known(verdict, known) if known and verdict.status != "unsupported" else verdict

    def applying(self, item: Item) -> dict[int, Known]:
        """The known failures that are about an item, by their index."""
        facts = dataclasses.asdict(item)
        return {
            index: entry
            for index, entry in enumerate(self.known)
            if entry.applies(**facts, backend=self.backend.name)
        }

    def cases(self, item: Item) -> tuple[Case, ...]:
        """The cases of an item."""
        invalid = CHECKS[item.check].invalid
        return draw_cases(
            item.layer, item.dtype, self.examples, self.seed, invalid=invalid, values=self.values
        )

    def _is_stale(self, item: Item, index: int, entry: Known, numerics: Numerics | None) -> bool:
        """Whether the pinned case of a known failure passes."""
        case = entry.pinned(item.dtype, item.device)
        if case is None or (entry.deadly and not self.expendable):
            return False
        self.note("pinned", index, 0)
        try:
            self.try_case(item, case, numerics)
        except (Failure, Unsupported, Inapplicable):
            return False
        return True

    def try_case(self, item: Item, case: Case, numerics: Numerics | None = None) -> Evidence:
        """Run one check on one case.

        Args:
            item: the check, and the device to run on.
            case: the case.
            numerics: what the backend declares for the dtype.

        Raises:
            Failure: if the check fails.
            Unsupported: if the backend declines the case.
        """
        if self.interrupted():
            raise KeyboardInterrupt
        trial = Trial(self.backend, CATALOGUE[item.layer], _on(case, item.device), numerics)
        return CHECKS[item.check].run(trial)

    def outcome(self, item: Item, case: Case) -> Outcome:
        """What comes of one check on one case.

        Args:
            item: the check, and the device to run on.
            case: the case.
        """
        try:
            evidence = self.try_case(item, case, numerics_of(self.backend, item.dtype))
        except Unsupported as declined:
            return Outcome("unsupported", str(declined))
        except Inapplicable as beside:
            return Outcome("invalid", str(beside))
        except Failure as failure:
            return Outcome("failed", str(failure))
        return Outcome("passed", comparisons=evidence.comparisons)

    def script(self, item: Item, case: Case, message: str, *, deadly: bool) -> str:
        """The reproducer of a case.

        Args:
            item: the check, and the device.
            case: the case.
            message: what is wrong with it.
            deadly: it ends the process, and must not be run for the script's sake.
        """
        trial = Trial(self.backend, CATALOGUE[item.layer], _on(case, item.device))
        return reproducer(trial, item.check, message, deadly=deadly)

    def _failed(
        self,
        item: Item,
        numerics: Numerics | None,
        known: Sequence[Known],
        index: int,
        case: Case,
        failure: Failure,
        counts: Examples,
        evidence: Evidence,
        left: Callable[[], float],
    ) -> Verdict:
        allowed = left() - LEAST_SHRINKING

        def fails(candidate: Case) -> Failure | None:
            if left() < min(allowed, 0.0) or any(entry.covers(candidate) for entry in known):
                return None
            self.note("shrinking", index, counts.checked)
            try:
                self.try_case(item, candidate, numerics)
            except (Unsupported, Inapplicable):
                return None
            except Failure as failure:
                return failure
            return None

        invalid = CHECKS[item.check].invalid
        minimal = shrink(
            item.layer, item.dtype, self.examples, self.seed, index, fails,
            invalid=invalid, values=self.values,
        )  # fmt: skip
        note = ""
        if minimal is None:
            minimal = (case, failure)
            note = "\nnote: the same case did not fail again when it was repeated"
        case, failure = minimal
        trial = Trial(self.backend, CATALOGUE[item.layer], _on(case, item.device), numerics)
        return _verdict(
            item,
            "failed",
            counts,
            **_evidence(evidence),
            message=f"{trial.text()}\n{failure}{note}",
            call=trial.text(),
            case=encode_case(trial.case),
            reproducer=reproducer(trial, item.check, str(failure)),
        )


def _unlimited() -> float:
    """No budget."""
    return math.inf


def _nothing(phase: str, index: int, checked: int) -> None:
    """Nobody listens."""


def _on(case: Case, device: str) -> Case:
    # The same object where it can be: the oracle's answer is kept with it.
    if case.call.device == device:
        return case
    return replace(case, call=replace(case.call, device=device))


def _verdict(item: Item, status: str, examples: Examples, **facts: object) -> Verdict:
    return Verdict(
        item.id,
        item.layer,
        item.check,
        item.dtype,
        item.device,
        status,
        examples,
        **facts,  # type: ignore[arg-type]
    )


def _evidence(evidence: Evidence) -> dict[str, object]:
    return {
        "comparisons": evidence.comparisons,
        "margin": evidence.margin,
        "ulps": dict(evidence.ulps),
    }


def _summed_up(item: Item, examples: Examples, evidence: Evidence) -> Verdict:
    """Nothing failed: passed, declined throughout, or nothing compared."""
    if examples.checked and evidence.comparisons:
        return _verdict(item, "passed", examples, **_evidence(evidence))
    if examples.unsupported and not examples.checked:
        reason = max(examples.unsupported, key=lambda r: examples.unsupported[r])
        count = f"{len(examples.unsupported)} reasons, " if len(examples.unsupported) > 1 else ""
        return _verdict(item, "unsupported", examples, message=f"{count}most often: {reason}")
    message = "nothing was compared: no example gave a number with a finite bound"
    return _verdict(item, "unchecked", examples, message=message)


def _known(verdict: Verdict, known: Sequence[Known]) -> Verdict:
    """Nothing failed but what is known to."""
    reasons = "; ".join(
        entry.reason + (f" ({entry.link})" if entry.link else "") for entry in known
    )
    return replace(verdict, status="known", message=f"known failure: {reasons}")


def _stale(item: Item, stale: Sequence[Known]) -> Verdict:
    reasons = "; ".join(entry.reason for entry in stale)
    return _verdict(
        item,
        "failed",
        Examples(len(stale), len(stale)),
        message=f"stale known failure, its pinned case passes now; remove the entry: {reasons}",
    )


def numerics_of(backend: Backend, dtype: str) -> Numerics | None:
    """What a backend declares of its arithmetic, None where it offers no `numerics`.

    Raises:
        Failure: if it raises, or returns something else.
    """
    declare = getattr(backend, "numerics", None)
    if declare is None:
        return None
    try:
        said = declare(dtype)
    except Exception as error:
        raise Failure(f"numerics({dtype!r}) raised {type(error).__name__}: {error}") from error
    if said is not None and not isinstance(said, Numerics):
        raise Failure(f"numerics({dtype!r}) returned {said!r}: expected a conformance.Numerics")
    return said


def declared(backend: Backend, dtype: str) -> dict[str, str]:
    """What a backend declares beside IEEE arithmetic in a dtype, by the fields of `Numerics`.

    Args:
        backend: asked.
        dtype: torch's name of the dtype.
    """
    try:
        said = numerics_of(backend, dtype)
    except Failure as failure:
        return {"error": str(failure)}
    return {
        field.name: str(getattr(said, field.name))
        for field in dataclasses.fields(Numerics)
        if said is not None and getattr(said, field.name) != field.default
    }


def values_per_structure(backend: Backend) -> int:
    """How many cases share their shapes and arguments: the dearer these are, the more.

    A backend says by `compile_seconds` what a call of a new structure costs it, beyond the call.

    Args:
        backend: asked.
    """
    seconds = float(getattr(backend, "compile_seconds", 0.0))
    # A case costs about 10 ms otherwise, all checks together.
    return max(1, min(10, round(seconds / 0.01)))


def offered(backend: Backend, layer: str, dtype: str, device: str) -> bool:
    """Whether a backend says that it has the layer; True where it says nothing."""
    offers = getattr(backend, "offers", None)
    return True if offers is None else bool(offers(layer, dtype, device))


def plan(
    backend: Backend,
    *,
    layers: Sequence[str],
    checks: Sequence[str],
    dtypes: Sequence[str],
    devices: Sequence[str],
    every_dtype: bool,
) -> tuple[Item, ...]:
    """The items of a run, those of a layer and dtype side by side.

    Args:
        backend: asked which layers it offers in which dtype.
        layers, checks, dtypes, devices: what to combine.
        every_dtype: keep dtypes that the backend does not offer; otherwise they are left out,
            unless a layer would then have no item at all.
    """
    items = []
    for layer in layers:
        for device in devices:
            kept = [d for d in dtypes if every_dtype or offered(backend, layer, d, device)]
            items += [
                Item(layer, check, dtype, device)
                for dtype in kept or dtypes[:1]
                for check in checks
                if CHECKS[check].applies(CATALOGUE[layer])
            ]
    return tuple(items)
