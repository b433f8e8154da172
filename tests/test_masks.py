"""Bugs behind torch's known failures: what an entry does not say still fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from conformance.backends.torch import backend as torch_backend
from conformance.case import Call, Verdict
from conformance.engine import Engine
from conformance.items import Item
from conformance.known import Known, shipped

Spoil = Callable[[Call, Any, tuple[Any, ...]], Any]


class Planted:
    """torch under its own name, with a bug where `spoil` says so.

    Args:
        spoil: (call, output, inputs) → what comes out in place of the output.
    """

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


def _pair(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,)


def test_a_grouped_convolution_wrong_in_any_other_layout_fails() -> None:
    def halved(call: Call, output: Any, operands: tuple[Any, ...]) -> Any:
        grouped = call.arguments.get("groups", 1) > 1
        strided = any(torch.is_tensor(x) and not x.is_contiguous() for x in operands)
        return output / 2 if grouped and strided else output

    item = Item("functional.conv2d", "layout", "float32", "cpu")
    assert _run(torch_backend, item, shipped("torch"), 40).status in ("passed", "known")
    verdict = _run(Planted(halved), item, shipped("torch"), 60)
    assert verdict.status == "failed"
    assert "layout" not in (verdict.reference or "")


def test_a_convolution_of_the_wrong_sign_behind_a_deadly_entry_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from conformance import cpu

    flags = "fpu avx2 avx512bw avx512_bf16 avx512_fp16"
    monkeypatch.setattr(cpu, "facts", lambda: {"flags": flags})
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)

    def negated(call: Call, output: Any, operands: tuple[Any, ...]) -> Any:
        a = call.arguments
        padded = a.get("padding", 0)
        wrong = (
            max(_pair(a.get("stride", 1))) > 1
            and (padded == "same" or (padded != "valid" and max(_pair(padded)) > 0))
            and max(_pair(a.get("dilation", 1))) > 1
        )
        return -output if wrong else output

    item = Item("Conv1d", "values", "float16", "cpu")
    verdict = _run(Planted(negated), item, shipped("torch"))
    assert verdict.status == "failed"
    assert verdict.examples.failed > verdict.examples.excused
