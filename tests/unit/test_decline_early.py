"""Before gradients, an ordinary call asks whether a case is declined; it judges nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from conformance.backends import ModuleBackend
from conformance.backends.module import ModuleLayer
from conformance.checks import cotangents
from conformance.items.planning import Item
from conformance.model.case import Call, Unsupported
from conformance.model.failure import Failure
from conformance.model.finding import Finding
from conformance.run.engine import Engine, decline_early

pytestmark = pytest.mark.in_fork


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


class LayerWithBias(ModuleLayer):
    """A layer that declines calls without a bias, when it is called."""

    def _forward(self, *inputs: Any, **keywords: Any) -> Any:
        if self._call.arguments.get("bias") is False:
            raise Unsupported("bias=False")
        return super()._forward(*inputs, **keywords)


class BackendWithBias(ModuleBackend):
    """torch without layers that have no bias."""

    def build(self, call: Call) -> ModuleLayer:
        layer = super().build(call)
        return LayerWithBias(call, layer.module, layer.function)


def test_after_a_declined_call_the_oracle_differentiates_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    differentiated: list[bool] = []
    compute = cotangents._compute_gradients

    def count(trial: Any) -> Any:
        differentiated.append(trial.case.call.arguments.get("bias") is False)
        return compute(trial)

    monkeypatch.setattr(cotangents, "_compute_gradients", count)
    item = Item("Linear", "gradients", "float32", "cpu")
    verdict = Engine(BackendWithBias("biased", base="torch"), 60, 0).run(item)
    assert verdict.status == "passed", verdict.message
    assert sum(verdict.examples.unsupported.values()) > 3
    assert sum(differentiated) == 1
