"""Transformers: exact regimes, what is drawn, and each law seen failing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import cases, law_findings
from torch import nn
from torch.nn import functional

from conformance.arithmetic.choices import Choices
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.checks.trial import Trial
from conformance.laws.transformer.calls import layer_arguments
from conformance.layers import CATALOGUE
from conformance.layers.transformer.parts import inputs_by_name
from conformance.model.case import Case

LAYERS = tuple(name for name, spec in CATALOGUE.items() if spec.family == "transformer")


def _expected(case: Case) -> Any:
    return Trial(torch_backend, CATALOGUE[case.call.layer], case).expected[0]


def _kind(case: Case) -> str:
    order = "first" if layer_arguments(case.call.arguments).get("norm_first") else "last"
    masked = any(x is not None for k, x in inputs_by_name(case).items() if k.endswith("mask"))
    return f"norm {order}, {'masked' if masked else 'plain'}"


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_nothing_rounds_in_a_good_share_of_each_order_of_norms(layer: str, dtype: str) -> None:
    exact: dict[str, int] = {}
    for case in cases(layer, dtype):
        expected = _expected(case)
        if (
            case.labels["regime"] != "halves"
            or isinstance(expected, Choices)
            or not expected.value.size
        ):
            continue
        exact[_kind(case)] = exact.get(_kind(case), 0) + (not expected.any_inexact)
    # Of four masks and more there is nearly always one.
    has_many_masks = sum(x.endswith("mask") for x in CATALOGUE[layer].signature.input_names) > 2
    masks = ("masked",) if has_many_masks else ("masked", "plain")
    orders = [f"norm {order}, {kind}" for order in ("first", "last") for kind in masks]
    assert min(exact.get(kind, 0) for kind in orders) >= 2, exact


@pytest.mark.parametrize("layer", LAYERS)
def test_exact_outputs_hang_on_every_input_and_weight(layer: str) -> None:
    """A wire that no exact case shows would go unseen in half precision."""
    affects_output: dict[str, bool] = {}
    for case in cases(layer, "bfloat16"):
        expected = _expected(case)
        if (
            case.labels["regime"] != "halves"
            or isinstance(expected, Choices)
            or expected.any_inexact
        ):
            continue
        for name, x in case.call.state.items():
            if affects_output.get(name) or not x.size:
                continue
            # What is added to all features alike a norm takes away.
            other_x = x + np.arange(x.size) % 2 if "bias" in name else -x
            state = {**case.call.state, name: other_x}
            call = type(case.call)(**{**vars(case.call), "state": state})
            changed = _expected(type(case)(**{**vars(case), "call": call}))
            changed = changed.alternatives[0] if isinstance(changed, Choices) else changed
            affects_output[name] = affects_output.get(name, False) or not np.array_equal(
                changed.value, expected.value
            )
    of_first_layer = {
        n: v for n, v in affects_output.items() if n.replace("layers.0.", "").count("layers.") == 0
    }
    assert of_first_layer
    assert all(v for n, v in of_first_layer.items()), [
        n for n, v in of_first_layer.items() if not v
    ]


def _wrong_backend(layer: str, when: Callable[..., bool]) -> ModuleBackend:
    """torch, a module of which answers otherwise in some calls."""

    class Wrong(getattr(nn, layer)):  # type: ignore[misc]
        def forward(self, *inputs: Any, **keywords: Any) -> Any:
            output = super().forward(*inputs, **keywords)
            names = CATALOGUE[layer].signature.input_names
            arguments = {**dict(zip(names, inputs, strict=False)), **keywords}
            ramp = torch.arange(output.numel()).reshape(output.shape).to(output.dtype)
            return output * 2 + 1 + ramp if when(self, arguments) else output

    Wrong.__name__ = layer
    return ModuleBackend(
        "fake", nn=SimpleNamespace(**{**vars(nn), layer: Wrong}), functional=functional
    )


def _is_batch_first(module: Any) -> bool:
    attentions = [x for x in module.modules() if isinstance(x, nn.MultiheadAttention)]
    return bool(attentions[0].batch_first)


def _query(arguments: dict[str, Any]) -> torch.Tensor:
    return arguments["tgt"] if "tgt" in arguments else arguments["src"]


def _batch_size(module: Any, arguments: dict[str, Any]) -> int:
    x = _query(arguments)
    return 1 if x.dim() == 2 else x.shape[0 if _is_batch_first(module) else 1]


def _longest_sequence(module: Any, arguments: dict[str, Any]) -> int:
    sequences = [arguments[name] for name in ("src", "tgt", "memory") if name in arguments]
    axis = 1 if sequences[0].dim() == 3 and _is_batch_first(module) else 0
    return max(x.shape[axis] for x in sequences)


def _masks(arguments: dict[str, Any]) -> list[torch.Tensor]:
    return [x for name, x in arguments.items() if name.endswith("mask") and x is not None]


def _always(module: Any, arguments: dict[str, Any]) -> bool:
    return True


def _first_weight(module: Any) -> float:
    attentions = [x for x in module.modules() if isinstance(x, nn.MultiheadAttention)]
    return float(attentions[0].in_proj_weight.reshape(-1)[0])


def _is_norm_first(module: Any) -> bool:
    kinds = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
    return any(x.norm_first for x in module.modules() if isinstance(x, kinds))


FAKES: dict[str, Callable[..., bool]] = {
    "unbatched": lambda m, given: _query(given).dim() == 2,
    "batch_first": lambda m, given: _is_batch_first(m),
    "batch": lambda m, given: _batch_size(m, given) > 4,
    "order": _always,
    "padding": lambda m, given: _longest_sequence(m, given) > 8,
    "hint": lambda m, given: any(x for name, x in given.items() if name.endswith("is_causal")),
    "masks": lambda m, given: any(x.dtype == torch.bool for x in _masks(given)),
    "heads": lambda m, given: _first_weight(m) > 0,
    "residual": lambda m, given: _is_norm_first(m),
    "last": lambda m, given: not _is_norm_first(m),
    "layers": _always,
    "nested": lambda m, given: m.enable_nested_tensor,
    "both": _always,
}


@pytest.mark.parametrize(
    ("layer", "name"), [(x, law.name) for x in LAYERS for law in CATALOGUE[x].laws]
)
def test_each_law_holds_of_torch_and_is_seen_failing(layer: str, name: str) -> None:
    holding, findings = law_findings(torch_backend, layer, name, unlisted_only=True)
    assert holding
    assert not findings
    assert law_findings(_wrong_backend(layer, FAKES[name]), layer, name)[1]
