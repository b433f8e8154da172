"""ReLU, LeakyReLU and SiLU: the modules and the functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from conformance.laws import activation as laws
from conformance.laws.law import Law
from conformance.layers.propagation import computed
from conformance.layers.row import Argument, Input, Output, Row, Traits, every_axis, whole
from conformance.layers.state import Shape
from conformance.layers.workload import Filling, Workload
from conformance.model.case import Call, Case
from conformance.oracles import activation as oracle
from conformance.strategies import activation as cases

_INPLACE = Argument("inplace", False, other=True)
_SLOPE = Argument("negative_slope", 0.01, other=0.5)


@dataclass(frozen=True)
class _Kind:
    """What the module and the function of one activation share.

    Args:
        oracle: of both.
        formula: as documented.
        arguments: of both, in torch's order.
        laws: further ones.
        operations: floating-point operations of an element.
    """

    oracle: Callable[..., Any]
    formula: str
    arguments: tuple[Argument, ...]
    laws: tuple[Law, ...]
    operations: int


_KINDS = {
    ("ReLU", "functional.relu"): _Kind(
        oracle.relu, "ReLU(x) = max(0, x)", (_INPLACE,), (laws.doubled,), 1
    ),
    ("LeakyReLU", "functional.leaky_relu"): _Kind(
        oracle.leaky_relu,
        "LeakyReLU(x) = max(0, x) + negative_slope * min(0, x)",
        (_SLOPE, _INPLACE),
        (laws.doubled, laws.slope_zero),
        2,
    ),
    ("SiLU", "functional.silu"): _Kind(
        oracle.silu, "silu(x) = x * sigmoid(x)", (_INPLACE,), (laws.reflected,), 4
    ),
}


def _first(case: Case) -> int | None:
    x = case.inputs[0]
    return 0 if x is not None and x.ndim else None


def _writes(call: Call) -> bool:
    return bool(call.arguments.get("inplace", False))


def _flops(
    operations: int, workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    return operations * math.prod(outputs[0])


def rows() -> Iterator[Row]:
    """The rows, in the order of torch's documentation: modules, then functions."""
    for place in range(2):
        for names, kind in _KINDS.items():
            name = names[place]
            yield Row(
                name,
                "activation",
                kind.arguments,
                (Input("input", batch_axis=_first, updated=True),),
                (Output("output", _first),),
                cases=partial(cases.activations, name),
                values=kind.oracle,
                shapes=oracle.shape,
                formula=(kind.formula,),
                complex=False,
                # No `invalid`: every shape and every slope is valid.
                laws=(laws.elements, laws.reshaped, laws.form, *kind.laws),
                propagation=computed,
                free=every_axis,
                whole=partial(whole, name),
                traits=Traits(placed=False, aliases=True, updates=_writes),
                workloads=(Workload(name, "64 by 3072", {}, ((64, 3072),), small=True),),
                filling=Filling(contraction=False, scale=lambda name, arguments: 1.0),
                flops=partial(_flops, kind.operations),
            )
