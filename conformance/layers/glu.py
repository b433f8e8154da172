"""GLU and its function: the first half of an axis times the sigmoid of the second half.

They are a family apart from the elementwise functions, because the halved axis can go wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial

from conformance.laws import glu as laws
from conformance.model.case import Case
from conformance.oracles import glu as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Generation, Oracle
from conformance.spec.propagation import computed
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Input, Output, Signature
from conformance.spec.workload import Filling, Workload
from conformance.strategies import glu as cases
from conformance.strategies.invalid import glu as invalid
from conformance.strategies.invalid.breaks import invalid_cases


def _halved_axis(case: Case) -> int:
    x = case.inputs[0]
    assert x is not None
    return int(case.call.arguments.get("dim", -1)) % x.ndim


def _batch_axis(case: Case) -> int | None:
    """Axis 0 counts the batch, unless it is the axis that is halved."""
    return 0 if _halved_axis(case) else None


def _allows(spec: LayerSpec, case: Case) -> bool:
    """Whether the input has the axis `dim`, and its length is even."""
    x, dim = case.inputs[0], case.call.arguments.get("dim", -1)
    return x is not None and -x.ndim <= dim < x.ndim and x.shape[dim] % 2 == 0


def layer_specs() -> Iterator[LayerSpec]:
    """The specifications of the module and of the function."""
    for name in ("GLU", "functional.glu"):
        valid = partial(cases.glus, name)
        yield LayerSpec(
            name,
            "glu",
            signature=Signature(
                (Argument("dim", -1, alternative=0, axis=True),),
                (Input("input", batch_axis=_batch_axis),),
                (Output("output", _batch_axis),),
                supports_complex=False,
                takes_device_and_dtype=False,
            ),
            shapes=Shapes({"input": "*sizes", "output": "*halved"}),
            oracle=Oracle(
                values=oracle.glu,
                shapes=oracle.glu_shape,
                formula=("GLU(a, b) = a * sigmoid(b)",),
                propagation=computed,
            ),
            generation=Generation(
                cases=valid,
                invalid=invalid_cases(valid, invalid.glu_breaks()),
                examples_fraction=0.4,
            ),
            variation=Variation(allows=_allows),
            laws=laws.LAWS,
            benchmark=Benchmark(
                workloads=(Workload(name, "64 by 3072", {}, ((64, 3072),), small=True),),
                filling=Filling(contraction=False, scale=lambda name, arguments: 1.0),
                flops=lambda workload, weights, outputs: 4 * math.prod(outputs[0]),
            ),
        )
