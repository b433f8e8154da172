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
from conformance.known.entry import KnownFailure, shipped_entries
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


def _run(
    backend: Any, item: Item, known_failures: tuple[KnownFailure, ...], examples: int = 200
) -> Verdict:
    return Engine(backend, examples, 0, known_failures).run(item)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> tuple[KnownFailure, ...]:
    """torch's known failures as they apply on a CPU with all instructions, none of them stale."""
    flags = "fpu avx2 avx512bw avx512_bf16 avx512_fp16"
    monkeypatch.setattr(cpu, "cpu_facts", lambda: {"flags": flags})
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    return tuple(replace(entry, case=None) for entry in shipped_entries("torch"))


def _largest(value: Any) -> int:
    return max(value) if isinstance(value, (tuple, list)) else int(value)


def _is_padded(call: Call) -> bool:
    padding = call.arguments.get("padding", 0)
    return padding == "same" or (padding != "valid" and _largest(padding) > 0)


def _exceeds(call: Call, name: str, threshold: int = 1) -> bool:
    return _largest(call.arguments.get(name, 1)) > threshold


def _is_strided(operands: tuple[Any, ...]) -> bool:
    return any(torch.is_tensor(x) and not x.is_contiguous() for x in operands)


def _wrong_if_grouped(call: Call, y: Any, operands: tuple[Any, ...]) -> Any:
    return y / 2 if _exceeds(call, "groups") and _is_strided(operands) else y


def _wrong_if_one_channel(call: Call, y: Any, operands: tuple[Any, ...]) -> Any:
    has_one_channel = operands[0].shape[-3] == 1
    return (
        y + 1
        if has_one_channel
        and _exceeds(call, "stride")
        and _is_strided(operands)
        and y.shape[-1] > 1
        else y
    )


def _negate_output(call: Call, y: Any, operands: tuple[Any, ...]) -> Any:
    return -y if _exceeds(call, "stride") and _is_padded(call) and _exceeds(call, "dilation") else y


def _wrong_if_wide_kernel(call: Call, y: Any, operands: tuple[Any, ...]) -> Any:
    is_wide = operands[1].shape[-1] > 14
    return -y if is_wide and _exceeds(call, "groups") and y.shape[-1] <= 30 else y


def _leak_nan(call: Call, y: Any, operands: tuple[Any, ...]) -> Any:
    leaks = operands[0].isnan().any() and operands[0].shape[-3] % 2 == 0
    return y * torch.nan if leaks and not _exceeds(call, "groups") else y


MASKED_BUGS = [
    ("functional.conv2d", "layout", "float32", _wrong_if_grouped),
    ("functional.conv2d", "layout", "float32", _wrong_if_one_channel),
    ("functional.conv2d", "layout", "float32", _negate_output),
    ("Conv1d", "values", "float16", _negate_output),
    ("functional.conv1d", "values", "float16", _wrong_if_wide_kernel),
    ("Conv2d", "special", "bfloat16", _leak_nan),
]


@pytest.mark.parametrize(("layer", "check", "dtype", "bug"), MASKED_BUGS)
def test_a_bug_beside_what_an_entry_says_fails(
    known: tuple[KnownFailure, ...], layer: str, check: str, dtype: str, bug: Spoil
) -> None:
    item = Item(layer, check, dtype, "cpu")
    verdict = _run(Planted(bug), item, known, examples=800)
    assert verdict.status == "failed", verdict.message
    assert verdict.examples.failed > verdict.examples.excused
    assert "stale" not in str(verdict.message)


def test_a_weight_gradient_wrong_beside_the_entry_fails(known: tuple[KnownFailure, ...]) -> None:
    class Doubled(Planted):
        def build(self, call: Call) -> Any:
            layer = torch_backend.build(call)

            class Layer:
                def __getattr__(self, name: str) -> Any:
                    return getattr(layer, name)

                def __call__(self, *inputs: Any, **keywords: Any) -> Any:
                    return layer(*inputs, **keywords)

                def vjp(self, inputs: Any, cotangents: Any, **keywords: Any) -> Any:
                    input_gradients, parameters = layer.vjp(inputs, cotangents, **keywords)
                    is_long = inputs[0].shape[-1] > parameters["weight"].shape[-1]
                    if _is_padded(call) and is_long:
                        parameters = {**parameters, "weight": parameters["weight"] * 2}
                    return input_gradients, parameters

            return Layer()

    item = Item("Conv1d", "gradients", "bfloat16", "cpu")
    verdict = _run(Doubled(lambda call, y, operands: y), item, known)
    assert verdict.status == "failed", verdict.message
    assert "gradient of weight" in str(verdict.message)


@pytest.mark.parametrize("layer", ["LSTMCell", "RNNCell"])
def test_another_exception_than_the_entry_says_fails(layer: str) -> None:
    case = next(
        case
        for case in draw_cases(layer, "float32", 200, 0, invalid=True)
        if case.labels["broken"] == "hx of another rank"
    )
    excuses = Excuses((KnownFailure(layer, "errors", "refused by a bug", said="*IndexError*"),))
    message = "hx of another rank (argument hx)\n  got    raised {}: 7\n  wanted a refusal"
    assert excuses.find_explanation(case, message.format("IndexError")) is not None
    assert excuses.find_explanation(case, message.format("KeyError")) is None


def test_a_case_is_known_to_end_only_in_the_ways_that_entries_list() -> None:
    case = draw_cases("Linear", "float32", 1, 0)[0]
    hung = KnownFailure("Linear", "values", "never returns", status="hung")
    crashed = replace(hung, status="crashed", reason="divides by zero")
    both = Excuses((hung, crashed))
    assert both.find_process_ending(case) is hung
    assert both.find_process_ending(case, "crashed") is crashed
    assert Excuses((hung,)).find_process_ending(case, "crashed") is None
