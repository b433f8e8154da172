"""Run failing cases on torch, or on the backend whose kernels are inherited, for comparison."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from conformance.backends.capabilities import devices_of, less_optimized_of
from conformance.backends.guard import BackendError
from conformance.backends.registry import load
from conformance.diagnosis.parts import find_excuse_of_part, has_parts
from conformance.items.context import ItemContext
from conformance.items.forks import ALLOWED_SECONDS
from conformance.items.outcomes import Outcome, is_same_failure
from conformance.items.planning import Item
from conformance.known.entry import KnownFailure
from conformance.matching.facts import Facts
from conformance.model.case import Case
from conformance.model.checks import facts_of

if TYPE_CHECKING:
    from conformance.items.engine_protocol import EngineLike
    from conformance.model.protocols import Backend

TORCH = "torch"


class Reference:
    """Compares failures with the backend's base if it has one, else with torch.

    Args:
        engine: runs the cases.
    """

    def __init__(self, engine: EngineLike) -> None:
        self._engine = engine
        self._loaded: dict[str, Backend | None] = {}

    def find_excuse(
        self, context: ItemContext, case: Case, outcome: Outcome
    ) -> KnownFailure | None:
        """Find the known failure that excuses a failing case, the backend's own or inherited.

        An entry of the base excuses a case only if the base fails on it in the same way. This is
        not required if the entry says `chance`, or if the failure depends on drawn values.

        Args:
            outcome: how the case fails.
        """
        item = context.item
        entry = context.excuses.find_explanation(case, outcome.message, outcome.failure)
        if entry is not None and not entry.base:
            return entry
        if entry is None and has_parts(case):
            entry_of_part = find_excuse_of_part(self._engine, item, case, outcome.failure)
            if entry_of_part is not None:
                return entry_of_part
        base = self._engine.base(item.layer)
        if not base:
            return None
        if entry is not None and (entry.chance or outcome.depends_on_draws):
            return entry
        base_outcome = self._reference_outcome(base, item, case, outcome)
        if entry is not None and base_outcome is not None and base_outcome.depends_on_draws:
            # The base's outcome depends on its own draws, so compare it with the entry instead.
            return (
                entry
                if entry.explains(Facts(case), base_outcome.message, base_outcome.error_ratio)
                else None
            )
        if base_outcome is None or not is_same_failure(outcome, base_outcome):
            return None
        if entry is not None:
            return entry
        reason = f"{base} fails alike, not among its known failures: {outcome.kind}"
        return KnownFailure(item.layer, item.check, reason, base=base)

    def compare(self, item: Item, case: Case, outcome: Outcome) -> str | None:
        """Compare a failure with torch's or the base's: `"torch: same"` or `"torch: differs"`.

        `"torch: fails otherwise"` where it fails, too, but not in the same way.

        None if the backend is itself the reference, or the reference cannot run the case.

        Args:
            outcome: how the case fails.
        """
        name = self._engine.base(item.layer) or TORCH
        if name == self._engine.backend.name:
            return None
        reference_outcome = self._reference_outcome(name, item, case, outcome)
        if reference_outcome is None or reference_outcome.status in ("unsupported", "invalid"):
            return None
        if is_same_failure(outcome, reference_outcome):
            return f"{name}: same"
        return f"{name}: {'fails otherwise' if reference_outcome.is_failure else 'differs'}"

    def compare_less_optimized(self, item: Item, case: Case, outcome: Outcome) -> str | None:
        """How a failing case ends with fewer optimisations, in one line; None if nobody knows.

        Example: `"with fewer optimisations: basic wrong, unoptimized right"`.
        """
        verdicts = []
        for name in less_optimized_of(self._engine.backend):
            other = self._reference_outcome(name, item, case, outcome)
            if other is not None and other.status not in ("unsupported", "invalid"):
                verdict = "wrong" if other.is_failure else "right"
                verdicts.append(f"{name.rpartition(':')[2]} {verdict}")
        return f"with fewer optimisations: {', '.join(verdicts)}" if verdicts else None

    def base_outcome(self, item: Item, case: Case, seconds: float) -> Outcome | None:
        """The base's outcome of a case in a copy of the process; None if it is unknown.

        Args:
            seconds: time limit of the copy.
        """
        base = self._load_backend(self._engine.base(item.layer) or "")
        if base is None:
            return None
        return self._engine.forks.run(item, case, seconds, base)

    def _reference_outcome(
        self, name: str, item: Item, case: Case, outcome: Outcome
    ) -> Outcome | None:
        backend = self._load_backend(name)
        if backend is None:
            return None
        item = replace(item, device=item.device if item.device in devices_of(backend) else "cpu")
        # Where a backend fails, its base may end the process.
        if self._engine.forks.can_run(item):
            allowed = ALLOWED_SECONDS["hung" if outcome.status == "hung" else "crashed"]
            check = facts_of(item.check)
            if not check.says_nothing_in_copies:
                return self._engine.forks.run(item, case, allowed, backend)
            # A copy can tell only that the calls of the check do not end the process.
            for name in check.runs:
                part = self._engine.forks.run(replace(item, check=name), case, allowed, backend)
                if part is None or part.process_lost:
                    return None
        if outcome.status != "failed":
            return None
        return self._engine.outcome(item, case, self._engine.numerics(item), backend)

    def _load_backend(self, name: str) -> Backend | None:
        if name not in self._loaded:
            self._loaded[name] = None
            with suppress(BackendError):
                self._loaded[name] = load(name)
        return self._loaded[name]
