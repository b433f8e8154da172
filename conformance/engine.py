"""Runs items: one check of one layer in one dtype on one device, over all drawn cases."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from . import verdicts
from .backends.declared import compiling, numerics_of, offered, values_per_structure
from .budget import Budget
from .case import Case, Examples, Numerics, Unsupported, Verdict
from .catalogue import CATALOGUE
from .checks import EVERY_CHECK
from .checks.support import Answer, Conclusion
from .describe import written
from .drawing import draw_cases
from .drawn import columns
from .encoding import encode_case
from .finding import found_out, on_device
from .items import Item
from .known import Known, applying
from .log import Log
from .protocols import Backend
from .reproducer import reproducer
from .trial import Evidence, Failure, Inapplicable, Trial

# Seconds that a failing item may take to count which others of its cases fail.
SURVEYING = 10.0
# Seconds that the pinned case of a deadly known failure may take in a copy of the process: what
# has not come back by then hangs still, or is looked at with all the time that a case has.
COPIED = {"crashed": 10.0, "hung": 1.0}


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
        copied: runs something in a copy of this process, for so many seconds at most, and tells
            its status, `"crashed"` or `"hung"` where the copy is lost; None = no copies.
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
        copied: Callable[[Callable[[], Outcome], float], str] | None = None,
    ) -> None:
        self.backend, self.examples, self.seed = backend, examples, seed
        self.known, self.interrupted = tuple(known), interrupted
        self.budget, self.values = budget, values_per_structure(backend)
        self.expendable, self.note = note is not None, note or _nothing
        self._copied, self._lost = copied, set[tuple[int, str, str]]()

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
        return verdicts.make(item, "unsupported", examples, message=reason)

    def _checked(self, item: Item, dead: Collection[int]) -> Verdict:
        left = _unlimited if self.budget is None else self.budget.begin()
        if left is None:
            return verdicts.left_out(item, self.examples)
        try:
            numerics = numerics_of(self.backend, item.dtype)
        except Failure as failure:
            return verdicts.make(item, "failed", Examples(), message=str(failure))
        applies = applying(self.known, dataclasses.asdict(item), self.backend.name)
        stale = [
            entry
            for index, entry in applies.items()
            if left() > 0 and index not in dead and self._is_stale(item, index, entry, numerics)
        ]
        if stale:
            return verdicts.as_stale(item, stale)
        return self._looked_at(item, numerics, list(applies.values()), left)

    def _looked_at(
        self,
        item: Item,
        numerics: Numerics | None,
        known: Sequence[Known],
        left: Callable[[], float],
    ) -> Verdict:
        """All cases in turn; the first that fails is shrunk, of others it is only counted."""
        self.note("drawing", 0, 0)
        cases = self.cases(item)
        log, finding = Log(cases), None
        for done, index in enumerate(self._order(cases)):
            case = cases[index]
            if done and left() <= 0:
                break
            if finding is not None and log.surveyed() > SURVEYING:
                break
            if any(entry.deadly and entry.covers(case) for entry in known):
                log.beside(index)
                continue
            self.note("checking", index, log.checked)
            try:
                log.passed(index, self.try_case(item, case, numerics))
            except Unsupported as declined:
                log.declined(index, written(declined) or "no reason given")
            except Inapplicable:
                log.beside(index)
            except Failure as failure:
                log.failed(index)
                if finding is None and not any(entry.covers(case) for entry in known):
                    finding = found_out(self, item, numerics, known, index, failure, log, left)
        conclude = EVERY_CHECK[item.check].conclude
        told = None if conclude is None else conclude([Answer(*a) for a in log.answers()])
        examples = log.examples(stopped=left() <= 0)
        facts = {**log.facts(), "drawn": columns(cases)}
        if finding is not None:
            if told is not None:
                finding["message"] = f"{finding['message']}\nbeside that {told.message}"
            return verdicts.make(item, "failed", examples, **facts, **finding)
        verdict = verdicts.summed_up(item, examples, facts)
        if told is not None:
            verdict = self._concluded(item, verdict, told)
        if known and verdict.status != "unsupported":
            return verdicts.as_known(verdict, known)
        return verdict

    def _concluded(self, item: Item, verdict: Verdict, conclusion: Conclusion) -> Verdict:
        """The verdict that all answers together come to."""
        verdict = replace(verdict, status=conclusion.status, message=conclusion.message)
        if conclusion.case is None:
            return verdict
        trial = Trial(self.backend, CATALOGUE[item.layer], on_device(conclusion.case, item.device))
        return replace(
            verdict,
            call=trial.text(),
            case=encode_case(trial.case),
            reproducer=reproducer(trial, item.check, conclusion.message),
        )

    def _order(self, cases: Sequence[Case]) -> Sequence[int]:
        """The places of an item's cases; within a budget those that say most come first.

        Of few structures the plainest, drawn first, comes last, and after all others those with
        an input that has no element: they leave nothing to compare.

        Args:
            cases: of the item.
        """
        if self.budget is None:
            return range(len(cases))
        first = min(self.values, len(cases)) % max(len(cases), 1)
        order = (*range(first, len(cases)), *range(first))
        return sorted(
            order, key=lambda k: any(x is not None and not x.size for x in cases[k].inputs)
        )

    def cases(self, item: Item) -> Sequence[Case]:
        """The cases of an item."""
        invalid = EVERY_CHECK[item.check].invalid
        return draw_cases(
            item.layer, item.dtype, self.examples, self.seed, invalid=invalid, values=self.values
        )

    def _is_stale(self, item: Item, index: int, entry: Known, numerics: Numerics | None) -> bool:
        """Whether the pinned case of a known failure passes."""
        case = entry.pinned(item.dtype, item.device)
        if case is None or (entry.deadly and not self.expendable):
            return False
        if not EVERY_CHECK[item.check].applies(CATALOGUE[case.call.layer]):
            return False  # pinned in another layer, of which this check has nothing to ask
        if entry.deadly and self._is_lost_in_copy(item, index, entry, case):
            return False
        self.note("pinned", index, 0)
        try:
            self.try_case(item, case, numerics)
        except (Failure, Unsupported, Inapplicable):
            return False
        return True

    def _is_lost_in_copy(self, item: Item, index: int, entry: Known, case: Case) -> bool:
        """Whether a deadly case ends a copy of this process as its entry says.

        A copy costs milliseconds, a new process seconds. Some frameworks die or hang in any copy:
        what such a one does says nothing, so a case that the entry is not about has to live in it.
        """
        key = index, item.dtype, item.device
        if self._copied is None or key in self._lost:
            return key in self._lost
        copied, self._copied = self._copied, None  # not to be tried again, unless it serves
        more = compiling(self.backend)
        plain = next((other for other in self.cases(item) if not entry.covers(other)), None)
        if plain is None:
            return False
        if copied(lambda: self.outcome(item, case), COPIED[entry.status] + more) != entry.status:
            return False
        lives = copied(lambda: self.outcome(item, plain), COPIED["crashed"] + more)
        if lives in ("crashed", "hung", ""):
            return False
        self._copied = copied
        self._lost.add(key)
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
        # The pinned case of a known failure may be of another layer than the item.
        row = CATALOGUE[case.call.layer]
        trial = Trial(self.backend, row, on_device(case, item.device), numerics)
        return EVERY_CHECK[item.check].run(trial)

    def outcome(self, item: Item, case: Case) -> Outcome:
        """What comes of one check on one case.

        Args:
            item: the check, and the device to run on.
            case: the case.
        """
        try:
            evidence = self.try_case(item, case, numerics_of(self.backend, item.dtype))
        except Unsupported as declined:
            return Outcome("unsupported", written(declined))
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
        trial = Trial(self.backend, CATALOGUE[item.layer], on_device(case, item.device))
        return reproducer(trial, item.check, message, deadly=deadly)


def _unlimited() -> float:
    """No budget."""
    return math.inf


def _nothing(phase: str, index: int, checked: int) -> None:
    """Nobody listens."""
