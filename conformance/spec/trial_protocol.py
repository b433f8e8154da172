"""Protocols of a trial and of a case's facts, for laws, propagation and layer specifications."""

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
    spec: Any
    numerics: Numerics | None
    backend: Backend

    @property
    def precision(self) -> Precision:
        """Units and ranges that bound how a correct implementation rounds in the case's dtype."""

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the outputs that are present, by the documented formulas."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs that are present, for messages."""

    @property
    def expected(self) -> tuple[Rounded, ...]:
        """Values and bounds of the outputs, by the oracle."""

    @property
    def answer(self) -> tuple[np.ndarray, ...]:
        """The outputs on the host; a wrong shape is a failure."""

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """The outputs on the host."""

    def drop_outputs(self) -> None:
        """Drop the outputs: the next access makes another call."""

    def updated_tensor(self, name: str) -> np.ndarray:
        """A state tensor or input as the call left it, on the host."""

    def evaluate(
        self, state: Mapping[str, Rounded], inputs: Sequence[Rounded | None]
    ) -> tuple[Rounded, ...]:
        """The oracle on given operands."""

    def trial_of(self, case: Case) -> TrialLike:
        """A trial of another case on the same backend."""

    def input_gradients(self, *cotangents: np.ndarray) -> tuple[np.ndarray | None, ...]:
        """The backend's gradients of the inputs."""

    def outputs_and_gradients(
        self, *cotangents: np.ndarray
    ) -> tuple[tuple[np.ndarray, ...] | None, tuple[np.ndarray | None, ...]]:
        """Outputs and input gradients of one call; None for outputs without `value_and_vjp`."""

    def answer_of_batch(self, batch: np.ndarray, randomness: str) -> np.ndarray | None:
        """The output of vmap over a batch of inputs that draws as told; None if not offered."""

    def on_same_layer(self) -> TrialLike:
        """A new trial of the same case on the same built layer."""

    def text(self) -> str:
        """The call in one line."""


class FactsLike(Protocol):
    """The facts of one case (`conformance.matching.facts.Facts`)."""

    case: Case
    spec: Any

    def get(self, name: str) -> Any:
        """A fact by its name; None if the case has no such fact."""

    def operand(self, name: str) -> np.ndarray | None:
        """An input or a state tensor by its name; None if it is absent."""
