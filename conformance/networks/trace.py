"""What a call of a module or function ran: its steps, values and calls of submodules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Step:
    """One layer or operator that ran.

    Args:
        name: `"Conv2d"`, `"add"`.
        where: the line of the user's code that called it.
        operands: indices of the values that it reads.
        results: indices of the values that it gives.
        evaluate: operands → results, with their bounds.
        problem: why nothing behind it can be certified; empty if it can.
    """

    name: str
    where: str
    operands: tuple[int, ...]
    results: tuple[int, ...]
    evaluate: Callable[[Sequence[Any]], Sequence[Any]]
    problem: str = ""


@dataclass(frozen=True)
class ModuleCall:
    """One call of a submodule.

    Args:
        name: qualified, as `named_modules` has it.
        number: how often the submodule was called before.
        outputs: value indices of the tensors that it returned.
        tensors: the tensors that it returned.
    """

    name: str
    number: int
    outputs: tuple[int, ...]
    tensors: tuple[Any, ...]


@dataclass
class Trace:
    """What a call ran.

    Args:
        steps: in order.
        calls: of submodules, in the order in which they returned.
        sources: value index → its exact numbers, of inputs, parameters and constants.
        dtypes: value index → torch's name of its dtype.
        outputs: value indices of the tensors that the call returned.
        tensors: the tensors that the call returned.
        names: the keys, if it returned a dictionary.
    """

    steps: list[Step] = field(default_factory=list)
    calls: list[ModuleCall] = field(default_factory=list)
    sources: dict[int, np.ndarray] = field(default_factory=dict)
    dtypes: list[str] = field(default_factory=list)
    outputs: tuple[int, ...] = ()
    tensors: tuple[Any, ...] = ()
    names: tuple[Any, ...] = ()
