"""Dropout: the module and the function."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial

from conformance.laws import dropout as laws
from conformance.layers.propagation import copied
from conformance.layers.row import Argument, Input, Output, Row, Traits, every_axis
from conformance.layers.state import Shape
from conformance.layers.workload import Filling, Workload
from conformance.model.case import Call, Case, is_function
from conformance.oracles import dropout as oracle
from conformance.strategies import dropout as cases
from conformance.strategies.invalid import dropout as invalid
from conformance.strategies.invalid.breaks import invalid_cases

_P = Argument("p", 0.5, other=0.1)
_TRAINING = Argument("training", True, other=False)
_INPLACE = Argument("inplace", False, other=True)
_FORMULA = (
    "in training y = x m / (1 - p), m = 0 with probability p and 1 otherwise",
    "otherwise y = x",
)


def _first(case: Case) -> int | None:
    x = case.inputs[0]
    return 0 if x is not None and x.ndim else None


def _writes(call: Call) -> bool:
    return bool(call.arguments.get("inplace", False))


def _drops(call: Call) -> bool:
    """Whether a module in train mode, or a function in training, has anything to draw."""
    function = is_function(call.layer)
    training = call.arguments.get("training", True) if function else call.training
    return bool(training) and 0 < call.arguments.get("p", 0.5) < 1


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    return math.prod(outputs[0])


def rows() -> Iterator[Row]:
    """The rows, in the order of torch's documentation."""
    for name in ("Dropout", "functional.dropout"):
        function = is_function(name)
        valid = partial(cases.dropouts, name)
        workload = Workload(name, "64 by 768", {}, ((64, 768),), small=True)
        yield Row(
            name,
            "dropout",
            (_P, _TRAINING, _INPLACE) if function else (_P, _INPLACE),
            (Input("input", batch_axis=_first, updated=True),),
            (Output("output", _first),),
            cases=valid,
            values=oracle.functional_dropout if function else oracle.dropout,
            shapes=oracle.functional_dropout_shape if function else oracle.dropout_shape,
            formula=_FORMULA,
            complex=False,
            invalid=invalid_cases(valid, invalid.dropout_breaks()),
            laws=laws.LAWS,
            propagation=copied,
            traits=Traits(
                placed=False, aliases=True, random=_drops, modes=not function, updates=_writes
            ),
            draws=laws.draws,
            free=every_axis,
            workloads=(workload,),
            filling=Filling(contraction=False, scale=lambda name, arguments: 1.0),
            flops=_flops,
        )
