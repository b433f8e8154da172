"""Record the operators that torch runs, and compare each result with an oracle and its bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from conformance.arithmetic.choices import Choices
from conformance.arithmetic.precision import Precision
from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.backends.operators import arguments_by_name, call_text, dtype_name
from conformance.layers.operators import MOVES, UnknownFormError, find_operator_oracle
from conformance.model.case import Numerics

RIGHT, WRONG, MOVED, UNKNOWN = "right", "wrong", "moves numbers", "not known"
Compare = Callable[[str, np.ndarray, "Rounded | Choices"], str]
"""(name, actual values, expected values) → text of the difference; empty if there is none."""


@dataclass(frozen=True)
class OperatorRun:
    """One run of an operator.

    Args:
        name: `"aten::addmm"`.
        text: the call: `"aten::addmm(float32 (3,), float32 (1, 2), float32 (2, 3))"`.
        outcome: `RIGHT`, `WRONG`, `MOVED` or `UNKNOWN`.
        says: the difference for `WRONG`, the reason for `UNKNOWN`.
    """

    name: str
    text: str
    outcome: str
    says: str = ""


class OperatorTrace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records and judges every operator that torch runs inside a `with` block.

    Args:
        compare: compares actual with expected values.
        numerics: dtype → the numerics that the backend declares.

    Attributes:
        runs: the operators, in the order in which they ran.
    """

    def __init__(self, compare: Compare, numerics: Callable[[str], Numerics | None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.compare, self.numerics = compare, numerics
        self.runs: list[OperatorRun] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator and judge its result; operands are read before, as it may write them."""
        keywords = dict(kwargs or {})
        space, _, name = func._schema.name.partition("::")
        text = call_text(func._schema.name, args, keywords)
        oracle = find_operator_oracle(name) if space == "aten" else None
        if oracle is None:
            result = func(*args, **keywords)
            outcome = MOVED if name in MOVES else UNKNOWN
            self.runs.append(OperatorRun(func._schema.name, text, outcome))
            return result
        operands, problem = self._read_operands(arguments_by_name(func._schema, args, keywords))
        result = func(*args, **keywords)
        if problem:
            self.runs.append(OperatorRun(func._schema.name, text, UNKNOWN, problem))
        else:
            outcome, message = self._judge(oracle, operands, result)
            self.runs.append(OperatorRun(func._schema.name, text, outcome, message))
        return result

    def _read_operands(self, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        tensors = [x for x in arguments.values() if isinstance(x, torch.Tensor)]
        floating = [x for x in tensors if x.is_floating_point()]
        if not floating or len({x.dtype for x in floating}) > 1:
            return {}, "operands of other dtypes"
        dtype = dtype_name(floating[0].dtype)
        precision = Precision.of(dtype, self.numerics(dtype))
        return {
            name: exact_operand(_to_host(x), precision) if isinstance(x, torch.Tensor) else x
            for name, x in arguments.items()
        }, ""

    def _judge(
        self, oracle: Callable[[Any], Any], operands: Mapping[str, Any], result: Any
    ) -> tuple[str, str]:
        try:
            with np.errstate(all="ignore"):
                expected = oracle(operands)
        except UnknownFormError as error:
            return UNKNOWN, str(error)
        answers = result if isinstance(result, (tuple, list)) else (result,)
        for number, (answer, expected_values) in enumerate(zip(answers, expected, strict=False)):
            if expected_values is None or not isinstance(answer, torch.Tensor):
                continue
            name = "result" if len(expected) == 1 else f"result {number}"
            message = self.compare(name, _to_host(answer), expected_values)
            if message:
                return WRONG, message
        return RIGHT, ""


def _to_host(tensor: torch.Tensor) -> np.ndarray:
    wide = torch.float64 if tensor.is_floating_point() else tensor.dtype
    return np.array(tensor.detach().to("cpu", wide).numpy())
