"""One case on one backend, and the facts of a case, as laws, propagation and rows see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from conformance.arithmetic.precision import Precision
    from conformance.arithmetic.rounded import Rounded
    from conformance.model.case import Case, Numerics
    from conformance.model.protocols import Backend


class TrialLike(Protocol):
    """One case on one backend (`conformance.checks.trial.Trial`)."""

    case: Case
    row: Any
    numerics: Numerics | None
    backend: Backend

    @property
    def precision(self) -> Precision:
        """How a correct implementation may round in the case's dtype."""

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The outputs' shapes by the documentation's formulas."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs for messages."""

    @property
    def expected(self) -> tuple[Rounded, ...]:
        """The outputs' values and bounds by the oracle."""

    @property
    def answer(self) -> tuple[np.ndarray, ...]:
        """The outputs on the host, of the documented shapes."""

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The outputs on the host."""

    def forget(self) -> None:
        """Let go of the outputs: the next that are asked for are those of another call."""

    def held(self, name: str) -> np.ndarray:
        """A tensor that the call changed, on the host, after one call."""

    def evaluate(
        self, state: Mapping[str, Rounded], inputs: Sequence[Rounded | None]
    ) -> tuple[Rounded, ...]:
        """The oracle on given operands."""

    def other(self, case: Case) -> TrialLike:
        """A trial of another case on the same backend."""

    def pulled(self, *cotangents: np.ndarray) -> tuple[np.ndarray | None, ...]:
        """The backend's gradients of the inputs."""

    def together(
        self, *cotangents: np.ndarray
    ) -> tuple[tuple[np.ndarray, ...] | None, tuple[np.ndarray | None, ...]]:
        """The outputs and the inputs' gradients of one call; None for outputs that it has not."""

    def repeated(self) -> TrialLike:
        """The same case on the same layer again."""

    def text(self) -> str:
        """The call in one line."""


class FactsLike(Protocol):
    """The facts of one case (`conformance.matching.facts.Facts`)."""

    case: Case
    row: Any

    def get(self, name: str) -> Any:
        """A fact by its name; None where the case has no such fact."""

    def operand(self, name: str) -> np.ndarray | None:
        """An input or a state tensor by its name; None where it is not given."""
