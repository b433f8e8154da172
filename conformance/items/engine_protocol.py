"""Interface of `conformance.run.engine.Engine` for the modules that it is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from conformance.checks.answers import OracleAnswers
    from conformance.checks.trial import Evidence
    from conformance.items.context import ItemContext
    from conformance.items.outcomes import Outcome
    from conformance.items.planning import Item
    from conformance.known.entry import KnownFailure
    from conformance.model.case import Case, Numerics
    from conformance.model.protocols import Backend


class ForksLike(Protocol):
    """Runs cases in copies of the process (`conformance.items.forks.Forks`)."""

    def can_run(self, item: Item) -> bool:
        """Whether a plain case of an item survives in a copy."""

    def run(
        self, item: Item, case: Case, seconds: float, backend: Backend | None = None
    ) -> Outcome | None:
        """The outcome of a case in a copy; None if copies are not available."""

    def reset_hang_time(self) -> None:
        """Reset the time that cases may hang."""


class ReferenceLike(Protocol):
    """Compares failures with another backend (`conformance.diagnosis.reference.Reference`)."""

    def find_excuse(
        self, context: ItemContext, case: Case, outcome: Outcome
    ) -> KnownFailure | None:
        """The known failure that excuses a failing case."""

    def compare(self, item: Item, case: Case, outcome: Outcome) -> str | None:
        """`"torch: same"`, `"torch: fails otherwise"` or `"torch: differs"`.

        None if there is nothing to compare with.
        """

    def compare_less_optimized(self, item: Item, case: Case, outcome: Outcome) -> str | None:
        """How a failing case ends with fewer optimisations; None if nobody knows."""


class EngineLike(Protocol):
    """Runs checks on cases of one backend."""

    backend: Backend
    known: tuple[KnownFailure, ...]
    expendable: bool
    note: Callable[..., None]
    answers: OracleAnswers

    @property
    def reference(self) -> ReferenceLike:
        """Compares failures with torch or the backend's base."""

    @property
    def forks(self) -> ForksLike:
        """Runs cases in copies of the process."""

    def base(self, layer: str) -> str:
        """Name of the backend whose kernels a layer calls; empty for none."""

    def numerics(self, item: Item) -> Numerics:
        """The arithmetic of the grade that the backend promises for an item."""

    def cases(self, item: Item) -> Sequence[Case]:
        """The cases of an item that every backend gets."""

    def try_case(
        self,
        item: Item,
        case: Case,
        numerics: Numerics | None = None,
        backend: Backend | None = None,
    ) -> Evidence:
        """Run one check on one case.

        Raises:
            Failure: if the check fails.
        """

    def cautious_outcome(self, context: ItemContext, case: Case) -> Outcome | None:
        """The outcome of a case, run in a copy if cases of the layer have ended the process."""

    def outcome(
        self,
        item: Item,
        case: Case,
        numerics: Numerics | None = None,
        backend: Backend | None = None,
    ) -> Outcome:
        """The outcome of one check on one case."""

    def graded_outcome(self, item: Item, case: Case) -> Outcome:
        """The outcome under the promised numerics, with the best grade that the case reaches."""
