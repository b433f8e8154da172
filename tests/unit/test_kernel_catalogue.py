"""The catalogue of wrong kernels: its contents, and that entries are as wrong as declared."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from dataclasses import replace

import pytest
import torch
from kernel_check import check_kernels
from planted import KERNELS

from conformance.layers import CATALOGUE

pytestmark = pytest.mark.in_fork

OPERATORS = sorted({kernel.operator for kernel in KERNELS})
WRONG_KERNELS = [kernel for kernel in KERNELS if kernel.wrong is not None]
SHORT_LIST = (
    "addmm-drops-the-tail-of-k-past-128",
    "bmm-grid-ends-at-64-batches",
    "convolution-blocked",
    "flash-attention-returns-sums-in-base-two",
    "max-pool2d-of-one-tap-returns-its-input",
    "native-layer-norm-keeps-the-variance-for-the-gradients",
)


def test_names_are_unique_and_in_kebab_case() -> None:
    names = Counter(kernel.name for kernel in KERNELS)
    assert [name for name, count in names.items() if count > 1] == []
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", name) for name in names)


def test_there_are_many_wrong_kernels_and_a_right_one_of_each_operator() -> None:
    assert len(WRONG_KERNELS) >= 45
    right = Counter(kernel.operator for kernel in KERNELS if kernel.wrong is None)
    assert right == dict.fromkeys(OPERATORS, 1)
    assert {kernel.operator for kernel in WRONG_KERNELS} == set(OPERATORS)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
def test_a_kernel_has_the_signature_of_its_operator(kernel: object) -> None:
    schema = getattr(torch.ops.aten, kernel.operator.removeprefix("aten::")).default._schema
    parameters = inspect.signature(kernel.function).parameters.values()
    expected = [(argument.name, argument.kwarg_only) for argument in schema.arguments]
    assert [(p.name, p.kind is p.KEYWORD_ONLY) for p in parameters] == expected
    optional = [argument.has_default_value() for argument in schema.arguments]
    assert [p.default is not p.empty for p in parameters] == optional


@pytest.mark.parametrize("operator", OPERATORS)
def test_layers_of_an_operator_are_in_the_catalogue(operator: str) -> None:
    layers = {kernel.layers for kernel in KERNELS if kernel.operator == operator}
    assert len(layers) == 1
    assert set(*layers) <= set(CATALOGUE)


def test_entries_are_what_they_say() -> None:
    chosen = [kernel for kernel in KERNELS if kernel.name in SHORT_LIST]
    assert len(chosen) == len(SHORT_LIST)
    assert [finding for finding in check_kernels(chosen) if not finding.is_expected] == []


def test_a_kernel_that_is_not_what_it_says_is_found() -> None:
    wrong = next(kernel for kernel in KERNELS if kernel.name == SHORT_LIST[0])
    right = next(kernel for kernel in KERNELS if kernel.name == "addmm-blocked")
    unused = next(kernel for kernel in KERNELS if kernel.name == "gelu-blocked")
    swapped = [
        # The name stays; the function, or the operator, is another.
        replace(wrong, function=right.function),
        replace(right, agrees=unused.agrees),
    ]
    outcomes = [finding.got for finding in check_kernels(swapped) if not finding.is_expected]
    assert outcomes == ["agrees"] * len(wrong.differs) + ["not reached"] * len(unused.agrees)


def test_this_process_keeps_its_own_operators() -> None:
    assert not torch._C._dispatch_has_kernel_for_dispatch_key("aten::convolution", "CPU")
