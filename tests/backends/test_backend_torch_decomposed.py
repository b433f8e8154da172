"""The backend torch-decomposed: decompositions run, right ones pass, and wrong ones fail."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from support import verdict, with_argument

from conformance.backends.adapters.torch import decomposed
from conformance.backends.adapters.torch.decomposed import DecomposeMode

pytestmark = pytest.mark.in_fork

aten = torch.ops.aten
_verdict = partial(verdict, examples=40)


@pytest.mark.parametrize(
    "layer", ["GELU", "LayerNorm", "functional.softmax", "BatchNorm2d", "Conv2d", "LSTM", "L1Loss"]
)
@pytest.mark.parametrize("check", ["values", "gradients", "layout"])
def test_decompositions_pass(layer: str, check: str) -> None:
    item_verdict = _verdict(decomposed.backend, layer, check)
    assert item_verdict.status in ("passed", "known"), item_verdict.message
    assert item_verdict.comparisons


def test_operators_run_by_their_decomposition_forward_and_backward() -> None:
    x = torch.ones(3, requires_grad=True)
    with DecomposeMode() as mode:
        y = torch.nn.functional.gelu(x)
        forward = mode.count
        y.sum().backward()
    assert 0 < forward < mode.count
    in_place = torch.full((3,), -1.0)
    with DecomposeMode() as mode:
        torch.nn.functional.leaky_relu_(in_place, 0.5)
    assert mode.count
    assert in_place.tolist() == [-0.5] * 3


def _scaled(factor: float) -> Callable[..., Any]:
    """Multiply the first result, or the only one."""

    def change(original: Any) -> Any:
        def wrong(*arguments: Any, **options: Any) -> Any:
            result = original(*arguments, **options)
            if isinstance(result, tuple):
                return (result[0] * factor, *result[1:])
            return result * factor

        return wrong

    return change


def _instead(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda original: function


def _exponent_without_maximum(x: Any, dim: int, half_to_float: bool) -> Any:
    powers = torch.exp(x)
    return powers / powers.sum(dim, keepdim=True)


def _elu_of_everything(x: Any, alpha: float = 1.0, scale: float = 1, inner: float = 1) -> Any:
    return torch.where(x > 0, x * scale, torch.expm1(x * inner) * scale)  # without alpha


WRONG: dict[str, tuple[Any, str, str, Callable[..., Any]]] = {
    "gelu of the other form": (
        aten.gelu.default, "GELU", "values",
        _instead(lambda x, approximate="none": 0.5 * x * (1 + torch.erf(x * 0.7071))),
    ),
    "gradient of gelu": (aten.gelu_backward.default, "GELU", "gradients", _scaled(1.001)),
    "silu of 1.01 x": (
        aten.silu.default, "SiLU", "values", _instead(lambda x: x * torch.sigmoid(1.01 * x)),
    ),
    "gradient of silu": (aten.silu_backward.default, "SiLU", "gradients", _scaled(0.999)),
    "hardswish of a sixth": (
        aten.hardswish.default, "Hardswish", "values",
        _instead(lambda x: x * torch.clamp(x + 3, 0, 6) * 0.1667),
    ),
    "slope forgotten": (
        aten.leaky_relu.default, "LeakyReLU", "values", with_argument(1, 0.01),
    ),
    "alpha forgotten": (aten.elu.default, "ELU", "values", _instead(_elu_of_everything)),
    "beta of softplus forgotten": (
        aten.softplus.default, "Softplus", "values", with_argument(1, 1.0),
    ),
    "softmax without its maximum": (
        aten._softmax.default, "Softmax", "values", _instead(_exponent_without_maximum),
    ),
    "gradient of softmax": (
        aten._softmax_backward_data.default, "Softmax", "gradients", _scaled(1.0001),
    ),
    "log-softmax along the last axis": (
        aten._log_softmax.default, "LogSoftmax", "values", with_argument(1, -1),
    ),
    "layer norm's eps": (
        aten.native_layer_norm.default, "LayerNorm", "values", with_argument(4, 1e-5),
    ),
    "gradient of layer norm": (
        aten.native_layer_norm_backward.default, "LayerNorm", "gradients", _scaled(1.0001),
    ),
    "group norm of one group": (
        aten.native_group_norm.default, "GroupNorm", "values", with_argument(7, 1e-3),
    ),
    "huber's delta": (
        aten.huber_loss.default, "HuberLoss", "values", with_argument(3, 1.0),
    ),
    "gradient of the mean square": (
        aten.mse_loss_backward.default, "MSELoss", "gradients", _scaled(0.5),
    ),
    "negative log-likelihood's ignored class": (
        aten.nll_loss_forward.default, "NLLLoss", "values", with_argument(4, -100),
    ),
    "reflection is a copy of the edge": (
        aten.reflection_pad1d.default, "ReflectionPad1d", "values",
        _instead(lambda x, pads: torch.ops.aten.replication_pad1d(x, pads)),
    ),
    "nearest neighbour is half a place off": (
        aten.upsample_nearest1d.default, "functional.interpolate", "values", _scaled(1.5),
    ),
    "gradient of an embedding without its padding": (
        aten.embedding_dense_backward.default, "Embedding", "gradients", with_argument(3, -1),
    ),
    "hard sigmoid's slope": (
        aten.hardsigmoid.default, "Hardsigmoid", "values",
        _instead(lambda x: torch.clamp(x * 0.2 + 0.5, 0, 1)),
    ),
    "gradient of a threshold": (
        aten.threshold_backward.default, "ReLU", "gradients", _scaled(2.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_decomposition_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    operator, layer, check, change = WRONG[name]
    table: Any = decomposed._decompositions()
    monkeypatch.setitem(table, operator, change(table.get(operator, operator)))
    assert _verdict(decomposed.backend, layer, check).status == "failed"
