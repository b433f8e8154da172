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
LAYERS = tuple(name for name, spec in CATALOGUE.items() if spec.family == "sequences")


def _corners(case: Case) -> set[str]:
    spec = CATALOGUE[case.call.layer]
    arrays = [x for x in case.inputs if x is not None]
    arguments = {**spec.signature.defaults, **case.call.arguments}
    lengths = [len(x) for x in arrays]
    if spec.signature.input_names[1] == "lengths":
        lengths = arrays[1].tolist()
    if spec.signature.input_names[1] == "batch_sizes":
        lengths = [int((arrays[1] > k).sum()) for k in range(arrays[1][0])]
    total = arguments.get("total_length")
    conditions = {
        "one": len(lengths) == 1,
        "many": len(lengths) == 6,
        "alike": len(lengths) > 1 and len(set(lengths)) == 1,
        "ties": 1 < len(set(lengths)) < len(lengths),
        "long": max(lengths) > 16,
        "whole numbers": arrays[0].dtype.kind == "i",
        "longer": total is not None and total > max(lengths),
    }
    options = {
        f"{name} {value}" for name, value in arguments.items() if isinstance(value, (bool, str))
    }
    return {name for name, holds in conditions.items() if holds} | options


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
    drawn = [_corners(case) for case in cases(layer)]
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
    text = "utils.rnn.unpack_sequence(torch.nn.utils.rnn.PackedSequence(data, batch_sizes))"
    assert case_text(packed).startswith(text)


def test_cases_are_fitted_to_other_arguments() -> None:
    spec = CATALOGUE["utils.rnn.pack_padded_sequence"]
    case = _case("pack_padded_sequence", np.arange(6.0).reshape(3, 2), [2, 3], enforce_sorted=False)
    assert replace_argument(spec, case, "enforce_sorted", True) is None
    turned = replace_argument(spec, case, "batch_first", True)
    assert turned is not None
    assert turned.inputs[0].shape == (2, 3)
    assert select_places(spec, case, ((0, 0),), range(2)) is None  # three steps are asked for
    assert select_places(spec, case, ((0, 1), (1, 0)), [1]) is not None
    spec = CATALOGUE["utils.rnn.pad_packed_sequence"]
    case = _case("pad_packed_sequence", [1.0, 2.0], [1, 1])
    assert replace_argument(spec, case, "total_length", 1) is None
    assert replace_argument(spec, case, "total_length", 2) is not None


def _change_numbers(output: Any) -> Any:
    """Every number another one."""
    if isinstance(output, list):
        return [_change_numbers(x) for x in output]
    if isinstance(output, rnn.PackedSequence):
        return rnn.PackedSequence(_change_numbers(output.data), *output[1:])
    if isinstance(output, tuple):
        return (_change_numbers(output[0]), *output[1:])
    ramp = torch.arange(output.numel()).reshape(output.shape).to(output.dtype)
    return output * 2 + 1 + ramp


def _wrong_backend(name: str, when: Callable[..., bool]) -> ModuleBackend:
    """torch, a function of which answers otherwise in some calls."""
    original = {n: getattr(rnn, n) for n in EVERY}

    def wrong_function(*inputs: Any, **arguments: Any) -> Any:
        change = when(*inputs, **arguments)
        output = original[name](*inputs, **arguments)
        return _change_numbers(output) if change else output

    namespace = SimpleNamespace(**{**original, name: wrong_function})
    nn = SimpleNamespace(utils=SimpleNamespace(rnn=namespace))
    return ModuleBackend("fake", nn=nn, functional=torch.nn.functional)


def _is_long(first: Any, *others: Any, **arguments: Any) -> bool:
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
    **{(name, "rows"): _is_long for name in EVERY},
}


def test_every_law_has_a_fake() -> None:
    laws = {(n.rpartition(".")[2], law.name) for n in LAYERS for law in CATALOGUE[n].laws}
    assert laws == set(FAKES)


@pytest.mark.parametrize(("name", "law"), FAKES)
def test_each_law_is_seen_failing(name: str, law: str) -> None:
    assert law_findings(_wrong_backend(name, FAKES[name, law]), f"utils.rnn.{name}", law)[1]
    compared, findings = law_findings(torch_backend, f"utils.rnn.{name}", law)
    assert compared
    assert not findings
