"""The engine as the parts that it is made of see it (`conformance.run.engine.Engine`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from conformance.checks.answers import Answers
    from conformance.checks.trial import Evidence
    from conformance.items.context import ItemContext
    from conformance.items.outcomes import Outcome
    from conformance.items.planning import Item
    from conformance.known.entry import Known
    from conformance.model.case import Case, Numerics
    from conformance.model.protocols import Backend


class CopiesLike(Protocol):
    """Runs cases in copies of the process (`conformance.items.forks.Copies`)."""

    def serve(self, item: Item) -> bool:
        """Whether copies can be trusted with an item."""

    def run(
        self, item: Item, case: Case, seconds: float, backend: Backend | None = None
    ) -> Outcome | None:
        """The outcome of a case in a copy; None where there are no copies."""

    def renew_patience(self) -> None:
        """Allow hanging cases as much time as at first."""


class EngineLike(Protocol):
    """Runs checks on cases of one backend."""

    backend: Backend
    known: tuple[Known, ...]
    expendable: bool
    note: Callable[..., None]
    reference: Any
    answers: Answers

    @property
    def copies(self) -> CopiesLike:
        """What runs cases in copies of the process."""

    def base(self, layer: str) -> str:
        """Name of the backend whose kernels a layer calls; empty for none."""

    def numerics(self, dtype: str) -> Numerics | None:
        """What the backend declares for a dtype."""

    def cases(self, item: Item) -> Sequence[Case]:
        """The cases of an item that every backend is asked."""

    def try_case(
        self,
        item: Item,
        case: Case,
        numerics: Numerics | None = None,
        backend: Backend | None = None,
    ) -> Evidence:
        """Run one check on one case; a failure is raised."""

    def cautious_outcome(self, context: ItemContext, case: Case) -> Outcome | None:
        """The outcome of a case, in a copy of the process where others have ended that."""

    def outcome(
        self,
        item: Item,
        case: Case,
        numerics: Numerics | None = None,
        backend: Backend | None = None,
    ) -> Outcome:
        """The outcome of one check on one case."""
