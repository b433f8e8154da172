"""The interfaces: two that a backend implements, and one case on one backend as others see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np

    from conformance.arithmetic.precision import Precision
    from conformance.arithmetic.rounded import Rounded
    from conformance.model.case import Call, Case, Numerics


@runtime_checkable
class Layer(Protocol):
    """A layer built by a backend; natives are the backend's own arrays."""

    def put(self, array: np.ndarray, layout: str = "contiguous", dtype: str | None = None) -> Any:
        """Host to native, in the call's dtype unless another is named; integers stay int64."""

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Natives to one native or a tuple of them, recording no gradient; None = left out."""

    def get(self, native: Any) -> np.ndarray:
        """Native to host, exact, no subclass; Unsupported where the device holds no values."""

    def dtype(self, native: Any) -> str:
        """torch's name of the native's dtype, without the prefix."""


@runtime_checkable
class Backend(Protocol):
    """An implementation under test."""

    name: str

    def info(self) -> Mapping[str, str]:
        """Versions, hardware and flags: the report's provenance."""

    def devices(self) -> Sequence[str]:
        """The devices it offers, torch's names: `["cpu", "cuda:0"]`."""

    def build(self, call: Call) -> Layer:
        """Build the layer of a call; raises Unsupported to decline it."""


class TrialLike(Protocol):
    """One case on one backend, as laws and propagation see it (`conformance.run.trial.Trial`)."""

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
    """The facts of one case, as a row's derived facts see them (`conformance.failures.facts`)."""

    case: Case
    row: Any

    def get(self, name: str) -> Any:
        """A fact by its name; None where the case has no such fact."""

    def operand(self, name: str) -> np.ndarray | None:
        """An input or a state tensor by its name; None where it is not given."""
