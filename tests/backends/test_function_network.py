"""Networks of a `FunctionBackend`: right and wrong operators, and what it declines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from support import first_failure

from conformance.backends.function import implements
from conformance.backends.function_network import NetworkFunctions, array_operators
from conformance.items.planning import Item
from conformance.model.case import Call, Unsupported
from conformance.run.engine import Engine


class Arrays(NetworkFunctions):
    """NumPy with two layers."""

    name = "arrays"
    less_optimized: tuple[str, ...] = ()
    operators = array_operators(np)

    @implements("functional.relu")
    def relu(self, state: Mapping[str, Any], x: Any) -> Any:
        return np.maximum(x, x.dtype.type(0))

    @implements("Linear", ignores=("in_features", "out_features", "bias"))
    def linear(self, state: Mapping[str, Any], x: Any) -> Any:
        y = np.matmul(x, state["weight"].T)
        return y + state["bias"] if "bias" in state else y


class InverseMoves(Arrays):
    """Permutes by the inverse order, which is another one for three axes or more only."""

    operators = array_operators(np, permute=lambda x, dims: np.transpose(x, np.argsort(dims)))


class WrongRelu(Arrays):
    """A function that is wrong; torch is right."""

    less_optimized = ("torch",)

    @implements("functional.relu")
    def relu(self, state: Mapping[str, Any], x: Any) -> Any:
        return x


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("check", ["shape", "values", "repeat", "state"])
def test_networks_of_numpy_pass(check: str, dtype: str) -> None:
    outcome = first_failure(Arrays(), "Network", check, dtype, 300)
    assert outcome.failure is None
    assert outcome.compared > 50


def test_a_permutation_by_the_inverse_order_fails() -> None:
    assert first_failure(InverseMoves(), "Network", "values", "float32", 200).failure


def test_a_failure_says_whether_fewer_optimisations_are_right() -> None:
    verdict = Engine(WrongRelu(), 60, 0).run(Item("Network", "values", "float32", "cpu"))
    assert "with fewer optimisations: torch right" in str(verdict.message)


def test_a_node_that_the_backend_lacks_is_declined() -> None:
    for node in (("erf", (), (-1,)), ("functional.gelu", (), (-1,))):
        nodes = (node, ("output", (), (0,)))
        layer = Arrays().build(Call("Network", {"nodes": nodes}, {}, "float32", "cpu"))
        with pytest.raises(Unsupported, match=r"erf|functional\.gelu"):
            layer(layer.put(np.ones(2)))
