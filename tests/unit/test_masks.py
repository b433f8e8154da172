"""Planted bugs next to torch's known failures: an entry excuses only what it describes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from conformance.backends.adapters.torch import backend as torch_backend
from conformance.generation.drawing import draw_cases
from conformance.items.planning import Item
from conformance.known import cpu
from conformance.known.entry import Known, shipped
from conformance.known.matches import Excuses
from conformance.model.case import Call, Verdict
from conformance.run.engine import Engine

pytestmark = pytest.mark.in_fork

Spoil = Callable[[Call, Any, tuple[Any, ...]], Any]


class Planted:
    """torch under its own name, with a bug: `spoil(call, output, inputs)` replaces the output."""

    name = "torch"

    def __init__(self, spoil: Spoil) -> None:
        self._spoil = spoil

    def __getattr__(self, name: str) -> Any:
        return getattr(torch_backend, name)

    def build(self, call: Call) -> Any:
        layer, spoil = torch_backend.build(call), self._spoil

        class Layer:
            def __getattr__(self, name: str) -> Any:
                return getattr(layer, name)

            def __call__(self, *inputs: Any, **keywords: Any) -> Any:
                output = layer(*inputs, **keywords)
                weight = getattr(layer.module, "weight", None) if layer.module else None
                operands = (*inputs, *([] if weight is None else [weight]))
                return spoil(call, output, operands)

        return Layer()


def _run(backend: Any, item: Item, known: tuple[Known, ...], examples: int = 200) -> Verdict:
    return Engine(backend, examples, 0, known).run(item)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> tuple[Known, ...]:
    """torch's known failures as they apply on a CPU with all instructions, none of them stale."""
    flags = "fpu avx2 avx512bw avx512_bf16 avx512_fp16"
    monkeypatch.setattr(cpu, "cpu_facts", lambda: {"flags": flags})
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    return tuple(replace(entry, case=None) for entry in shipped("torch"))


def _most(value: Any) -> int:
    return max(value) if isinstance(value, (tuple, list)) else int(value)


def _padded(call: Call) -> bool:
    padding = call.arguments.get("padding", 0)
    return padding == "same" or (padding != "valid" and _most(padding) > 0)


def _above(call: Call, name: str, least: int = 1) -> bool:
    return _most(call.arguments.get(name, 1)) > least


def _strided(operands: tuple[Any, ...]) -> bool:
    return any(torch.is_tensor(x) and not x.is_contiguous() for x in operands)


def _grouped_in_any_layout(call: Call, y: Any, operands: tuple[Any, ...]) -> Any:
    return y / 2 if _above(call, "groups") and _strided(operands) else y


def _one_channel_in_any_layout(call: Call, y: Any, operands: tuple[Any, ...]) -> Any:
    one = operands[0].shape[-3] == 1
    return y + 1 if one and _above(call, "stride") and _strided(operands) and y.shape[-1] > 1 else y


def _negated(call: Call, y: Any, operands: tuple[Any, ...]) -> Any:
    return -y if _above(call, "stride") and _padded(call) and _above(call, "dilation") else y


def _wide_kernel(call: Call, y: Any, operands: tuple[Any, ...]) -> Any:
    wide = operands[1].shape[-1] > 14
    return -y if wide and _above(call, "groups") and y.shape[-1] <= 30 else y


def _leaking(call: Call, y: Any, operands: tuple[Any, ...]) -> Any:
    leaks = operands[0].isnan().any() and operands[0].shape[-3] % 2 == 0
    return y * torch.nan if leaks and not _above(call, "groups") else y


MASKED = [
    ("functional.conv2d", "layout", "float32", _grouped_in_any_layout),
    ("functional.conv2d", "layout", "float32", _one_channel_in_any_layout),
    ("functional.conv2d", "layout", "float32", _negated),
    ("Conv1d", "values", "float16", _negated),
    ("functional.conv1d", "values", "float16", _wide_kernel),
    ("Conv2d", "special", "bfloat16", _leaking),
]


@pytest.mark.parametrize(("layer", "check", "dtype", "bug"), MASKED)
def test_a_bug_beside_what_an_entry_says_fails(
    known: tuple[Known, ...], layer: str, check: str, dtype: str, bug: Spoil
) -> None:
    item = Item(layer, check, dtype, "cpu")
    verdict = _run(Planted(bug), item, known)
    assert verdict.status == "failed", verdict.message
    assert verdict.examples.failed > verdict.examples.excused
    assert "stale" not in str(verdict.message)


def test_a_weight_gradient_wrong_beside_the_entry_fails(known: tuple[Known, ...]) -> None:
    class Doubled(Planted):
        def build(self, call: Call) -> Any:
            layer = torch_backend.build(call)

            class Layer:
                def __getattr__(self, name: str) -> Any:
                    return getattr(layer, name)

                def __call__(self, *inputs: Any, **keywords: Any) -> Any:
                    return layer(*inputs, **keywords)

                def vjp(self, inputs: Any, cotangents: Any, **keywords: Any) -> Any:
                    found, parameters = layer.vjp(inputs, cotangents, **keywords)
                    long = inputs[0].shape[-1] > parameters["weight"].shape[-1]
                    if _padded(call) and long:
                        parameters = {**parameters, "weight": parameters["weight"] * 2}
                    return found, parameters

            return Layer()

    item = Item("Conv1d", "gradients", "bfloat16", "cpu")
    verdict = _run(Doubled(lambda call, y, operands: y), item, known)
    assert verdict.status == "failed", verdict.message
    assert "gradient of weight" in str(verdict.message)


@pytest.mark.parametrize("layer", ["LSTMCell", "RNNCell"])
def test_another_exception_than_the_entry_says_fails(known: tuple[Known, ...], layer: str) -> None:
    """torch's cells refuse a state of another rank by IndexError; a KeyError is a bug."""
    broken = "hx of another rank"
    case = next(
        case
        for case in draw_cases(layer, "float32", 200, 0, invalid=True)
        if case.labels["broken"] == broken and case.inputs[0].ndim == 2
    )
    item = {"layer": layer, "check": "errors", "dtype": "float32", "device": "cpu"}
    applies = [e for e in known if e.applies(**item, backend="torch") and not e.deadly]
    excuses = Excuses(tuple(applies))
    said = "hx of another rank (argument hx)\n  got    raised {}: 7\n  wanted a refusal"
    assert excuses.explaining(case, said.format("IndexError")) is not None
    assert excuses.explaining(case, said.format("KeyError")) is None


def test_a_case_is_known_to_end_only_in_the_ways_that_entries_list() -> None:
    case = draw_cases("Linear", "float32", 1, 0)[0]
    hung = Known("Linear", "values", "never returns", status="hung")
    crashed = replace(hung, status="crashed", reason="divides by zero")
    both = Excuses((hung, crashed))
    assert both.deadly(case) is hung
    assert both.deadly(case, "crashed") is crashed
    assert Excuses((hung,)).deadly(case, "crashed") is None
