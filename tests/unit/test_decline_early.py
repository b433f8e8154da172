"""Before gradients, an ordinary call asks whether a case is declined; it judges nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from conformance.model.case import Unsupported
from conformance.model.failure import Failure
from conformance.model.finding import Finding
from conformance.run.engine import decline_early


class FakeTrial:
    """A trial whose call ends in an exception."""

    def __init__(self, error: Exception, **members: Any) -> None:
        self.error, self.layer, self.calls = error, SimpleNamespace(**members), 0

    @property
    def outputs(self) -> Any:
        """Count the call, and raise."""
        self.calls += 1
        raise self.error


def test_a_declined_call_is_declined_and_a_failing_one_is_left_to_the_check() -> None:
    trial: Any = FakeTrial(Unsupported("groups=2"), vjp=lambda: None)
    with pytest.raises(Unsupported, match="groups=2"):
        decline_early(trial)
    failing: Any = FakeTrial(Failure(Finding("other", says="no")), vjp=lambda: None)
    decline_early(failing)
    assert failing.calls == 1


def test_a_layer_without_gradients_is_not_called() -> None:
    trial: Any = FakeTrial(Unsupported("groups=2"))
    decline_early(trial)
    assert not trial.calls
