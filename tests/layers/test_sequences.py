"""Padded and packed sequences: what is drawn, orders of equal lengths, each law seen failing."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from support import cases, law_findings
from torch.nn.utils import rnn

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import exact_operand
from conformance.backends import ModuleBackend
from conformance.backends.adapters.torch import backend as torch_backend
from conformance.layers import CATALOGUE
from conformance.layers.describe import case_text
from conformance.layers.fitting import replace_argument, select_places
from conformance.model.case import Call, Case
from conformance.oracles.sequences import count_valid_orders, pack_sequence, valid_orders

FLOAT32 = Precision.of("float32")
LAYERS = tuple(name for name, row in CATALOGUE.items() if row.family == "sequences")


def _facts(case: Case) -> set[str]:
    row = CATALOGUE[case.call.layer]
    arrays = [x for x in case.inputs if x is not None]
    given = {**row.signature.defaults, **case.call.arguments}
    lengths = [len(x) for x in arrays]
    if row.signature.input_names[1] == "lengths":
        lengths = arrays[1].tolist()
    if row.signature.input_names[1] == "batch_sizes":
        lengths = [int((arrays[1] > k).sum()) for k in range(arrays[1][0])]
    total = given.get("total_length")
    found = {
        "one": len(lengths) == 1,
        "many": len(lengths) == 6,
        "alike": len(lengths) > 1 and len(set(lengths)) == 1,
        "ties": 1 < len(set(lengths)) < len(lengths),
        "long": max(lengths) > 16,
        "whole numbers": arrays[0].dtype.kind == "i",
        "longer": total is not None and total > max(lengths),
    }
    named = {f"{name} {value}" for name, value in given.items() if isinstance(value, (bool, str))}
    return {name for name, holds in found.items() if holds} | named


COMMON = {"one", "many", "alike", "ties", "long", "whole numbers"}
FIRST = {"batch_first True", "batch_first False"}
SORTED = {"enforce_sorted True", "enforce_sorted False"}
EVERY = {
    "pad_sequence": COMMON | FIRST | {"padding_side left", "padding_side right"},
    "pack_padded_sequence": COMMON | FIRST | SORTED,
    "pad_packed_sequence": COMMON | FIRST | {"longer"},
    "pack_sequence": COMMON | SORTED,
    "unpad_sequence": COMMON | FIRST,
    "unpack_sequence": COMMON,
}


@pytest.mark.parametrize("layer", LAYERS)
def test_every_corner_is_drawn(layer: str) -> None:
    drawn = [_facts(case) for case in cases(layer)]
    assert set().union(*drawn) == EVERY[layer.rpartition(".")[2]]


def test_sequences_of_one_length_may_come_in_any_order() -> None:
    assert list(valid_orders([2, 3, 2])) == [(1, 0, 2), (1, 2, 0)]
    assert count_valid_orders([2, 3, 2, 3, 3]) == 12
    sequences = [exact_operand(np.full(n, float(k)), FLOAT32) for k, n in enumerate((1, 2, 1))]
    data, sizes, order, back = pack_sequence({}, *sequences, enforce_sorted=False)
    assert isinstance(data, Choices)
    assert [x.value.tolist() for x in data.alternatives] == [[1, 0, 2, 1], [1, 2, 0, 1]]
    assert sizes.value.tolist() == [3, 1]
    assert [x.value.tolist() for x in order.alternatives] == [[1, 0, 2], [1, 2, 0]]
    assert [x.value.tolist() for x in back.alternatives] == [[1, 0, 2], [2, 0, 1]]


def _case(name: str, *inputs: Any, **arguments: Any) -> Case:
    arrays = tuple(np.asarray(x) for x in inputs)
    return Case(Call(f"utils.rnn.{name}", arguments, {}, "float32", "cpu"), arrays)


def test_a_call_is_told_as_torch_has_it() -> None:
    two = _case("pad_sequence", [1.0, 2.0], [3.0], batch_first=True)
    assert case_text(two).startswith("utils.rnn.pad_sequence([sequence0, sequence1], batch_first")
    packed = _case("unpack_sequence", [1.0, 2.0], [1, 1])
    told = "utils.rnn.unpack_sequence(torch.nn.utils.rnn.PackedSequence(data, batch_sizes))"
    assert case_text(packed).startswith(told)


def test_cases_are_fitted_to_other_arguments() -> None:
    row = CATALOGUE["utils.rnn.pack_padded_sequence"]
    case = _case("pack_padded_sequence", np.arange(6.0).reshape(3, 2), [2, 3], enforce_sorted=False)
    assert replace_argument(row, case, "enforce_sorted", True) is None
    turned = replace_argument(row, case, "batch_first", True)
    assert turned is not None
    assert turned.inputs[0].shape == (2, 3)
    assert select_places(row, case, ((0, 0),), range(2)) is None  # three steps are asked for
    assert select_places(row, case, ((0, 1), (1, 0)), [1]) is not None
    row = CATALOGUE["utils.rnn.pad_packed_sequence"]
    case = _case("pad_packed_sequence", [1.0, 2.0], [1, 1])
    assert replace_argument(row, case, "total_length", 1) is None
    assert replace_argument(row, case, "total_length", 2) is not None


def _wrong(found: Any) -> Any:
    """Every number another one."""
    if isinstance(found, list):
        return [_wrong(x) for x in found]
    if isinstance(found, rnn.PackedSequence):
        return rnn.PackedSequence(_wrong(found.data), *found[1:])
    if isinstance(found, tuple):
        return (_wrong(found[0]), *found[1:])
    ramp = torch.arange(found.numel()).reshape(found.shape).to(found.dtype)
    return found * 2 + 1 + ramp


def _fake(name: str, when: Callable[..., bool]) -> ModuleBackend:
    """torch, a function of which answers otherwise in some calls."""
    real = {n: getattr(rnn, n) for n in EVERY}

    def function(*inputs: Any, **arguments: Any) -> Any:
        wrong = when(*inputs, **arguments)
        found = real[name](*inputs, **arguments)
        return _wrong(found) if wrong else found

    space = SimpleNamespace(**{**real, name: function})
    nn = SimpleNamespace(utils=SimpleNamespace(rnn=space))
    return ModuleBackend("fake", nn=nn, functional=torch.nn.functional)


def _many(first: Any, *others: Any, **arguments: Any) -> bool:
    x = first[0] if isinstance(first, (list, rnn.PackedSequence)) else first
    return bool(x.shape[-1] > 33)


def _always(*inputs: Any, **arguments: Any) -> bool:
    return True


FAKES: dict[tuple[str, str], Callable[..., bool]] = {
    ("pad_sequence", "order"): _always,
    ("pad_sequence", "reversed"): lambda x, **a: a.get("padding_side") == "left",
    ("pad_sequence", "transposed"): lambda x, **a: not a.get("batch_first"),
    ("pad_sequence", "taken back"): _always,
    ("pack_padded_sequence", "taken back"): _always,
    ("pack_padded_sequence", "list"): _always,
    ("pack_padded_sequence", "transposed"): lambda x, n, **a: not a.get("batch_first"),
    ("pad_packed_sequence", "transposed"): lambda x, **a: not a.get("batch_first"),
    ("pad_packed_sequence", "longer"): _always,
    ("pad_packed_sequence", "list"): _always,
    ("pad_packed_sequence", "packed again"): _always,
    ("pack_sequence", "padded"): _always,
    ("pack_sequence", "taken back"): _always,
    ("unpad_sequence", "alone"): lambda x, n, **a: len(n) == 1,
    ("unpad_sequence", "transposed"): lambda x, n, **a: not a.get("batch_first"),
    ("unpad_sequence", "padded again"): _always,
    ("unpack_sequence", "by padding"): _always,
    ("unpack_sequence", "packed again"): _always,
    **{(name, "rows"): _many for name in EVERY},
}


def test_every_law_has_a_fake() -> None:
    laws = {(n.rpartition(".")[2], law.name) for n in LAYERS for law in CATALOGUE[n].laws}
    assert laws == set(FAKES)


@pytest.mark.parametrize(("name", "law"), FAKES)
def test_each_law_is_seen_failing(name: str, law: str) -> None:
    assert law_findings(_fake(name, FAKES[name, law]), f"utils.rnn.{name}", law)[1]
    compared, found = law_findings(torch_backend, f"utils.rnn.{name}", law)
    assert compared
    assert not found
