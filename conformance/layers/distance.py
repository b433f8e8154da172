"""CosineSimilarity, PairwiseDistance, and their functions; pdist; normalize."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from conformance.laws.distance import normalize as unit_laws
from conformance.laws.distance import vectors as laws
from conformance.model.case import Case
from conformance.oracles.distance import normalize as unit_oracle
from conformance.oracles.distance import vectors as oracle
from conformance.spec.axes import Axes
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Generation, Oracle
from conformance.spec.propagation import computed
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Input, Output, Signature
from conformance.spec.sizes import as_size_tuple
from conformance.spec.state import Shape
from conformance.spec.workload import Filling, Workload
from conformance.strategies.distance import normalize as unit_cases
from conformance.strategies.distance import vectors as cases
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.distance import normalize as unit_invalid
from conformance.strategies.invalid.distance import vectors as invalid
from conformance.strategies.invalid.shapes import shape_breaks

_COSINE = (
    Argument("dim", 1, alternative=0, axis=True),
    Argument("eps", 1e-8, alternative=1e-6),
)
_DISTANCE = (
    Argument("p", 2.0, alternative=1.0, attribute="norm"),
    Argument("eps", 1e-6, alternative=0.0),
    Argument("keepdim", False, alternative=True),
)
_PAIRS = Shapes(
    {
        "x1": "batch? features",
        "x2": "batch? features",
        "output": "batch? 1 if keepdim else batch?",
    }
)


def _same_shape(case: Case) -> bool:
    first, second = case.inputs
    return first is not None and second is not None and first.shape == second.shape


def _pair_axis(case: Case) -> int | None:
    """Axis 0 if it counts the pairs: of matrices whose `dim` is another axis."""
    first = case.inputs[0]
    if first is None or first.ndim < 2 or not _same_shape(case):
        return None
    dim = case.call.arguments.get("dim", 1)
    return None if dim in (0, -first.ndim) else 0


def _axes(case: Case) -> tuple[Axes, ...]:
    """Every axis of both inputs; none where their shapes differ."""
    first = case.inputs[0]
    if first is None or not _same_shape(case):
        return ()
    return tuple(((0, axis), (1, axis)) for axis in range(first.ndim))


def _allows_similarity(spec: LayerSpec, case: Case) -> bool:
    """Whether both operands have the same length along `dim`, and at least one component."""
    dim = case.call.arguments.get("dim", 1)
    first, second = (() if x is None else x.shape for x in case.inputs)
    rank = max(len(first), len(second))
    if not -rank <= dim < rank:
        return False
    if first == second:
        return bool(first[dim])
    if len(first) != len(second) and dim >= 0:
        dim -= rank  # counted in the common shape
    return bool(first[dim] == second[dim])


def _has_components(spec: LayerSpec, case: Case) -> bool:
    """Whether the vectors have any component: not every norm of an empty vector is defined."""
    first = case.inputs[0]
    return first is not None and first.shape[-1] > 0


def _vector_axes(case: Case) -> list[int] | None:
    """The axes of a vector; None where the input lacks one of them, or `dim` repeats one."""
    x, axes = case.inputs[0], as_size_tuple(case.call.arguments.get("dim", 1))
    if x is None or not all(-x.ndim <= axis < x.ndim for axis in axes):
        return None
    nonnegative_axes = [axis % x.ndim for axis in axes]
    return nonnegative_axes if len(set(nonnegative_axes)) == len(nonnegative_axes) else None


def _vector_batch_axis(case: Case) -> int | None:
    """Axis 0 counts the vectors, unless it is one of their own axes."""
    axes = _vector_axes(case)
    return None if axes is None or 0 in axes else 0


def _allows_normalize(spec: LayerSpec, case: Case) -> bool:
    """Whether the axes exist; p = ∞ also needs an element to take the largest of."""
    x, axes = case.inputs[0], _vector_axes(case)
    if x is None or axes is None:
        return False
    return case.call.arguments.get("p", 2.0) != math.inf or all(x.shape[axis] for axis in axes)


def _flops(
    flops_per_element: int, workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]
) -> int:
    return flops_per_element * math.prod(workload.inputs[0])


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    name = "CosineSimilarity"
    valid = partial(cases.similarities, name)
    inputs = tuple(Input(x, batch_axis=_pair_axis) for x in ("x1", "x2"))
    filling = Filling(contraction=False, scale=lambda name, arguments: 1.0)
    cosine = LayerSpec(
        name,
        "distance",
        signature=Signature(
            _COSINE,
            inputs,
            (Output("output", _pair_axis),),
            supports_complex=False,
            takes_device_and_dtype=False,
        ),
        oracle=Oracle(
            values=oracle.cosine_similarity,
            shapes=oracle.cosine_similarity_shape,
            formula=("similarity = x1 x2 / max(|x1| |x2|, eps)",),
            propagation=computed,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.cosine_breaks()),
            examples_fraction=0.4,
        ),
        variation=Variation(allows=_allows_similarity, independent_axes=_axes),
        laws=laws.SIMILARITY,
        benchmark=Benchmark(
            workloads=_workloads(name, ((512, 256), (512, 256))),
            filling=filling,
            flops=partial(_flops, 6),
        ),
    )
    yield cosine
    name = "functional.cosine_similarity"
    valid = partial(cases.similarities, name)
    yield replace(
        cosine,
        name=name,
        oracle=replace(
            cosine.oracle,
            values=oracle.functional_cosine_similarity,
            formula=("similarity = x1 x2 / (max(|x1|, eps) max(|x2|, eps))",),
        ),
        generation=replace(
            cosine.generation, cases=valid, invalid=invalid_cases(valid, invalid.cosine_breaks())
        ),
        benchmark=replace(cosine.benchmark, workloads=_workloads(name, ((512, 256), (512, 256)))),
    )
    signature = replace(
        cosine.signature,
        arguments=_DISTANCE,
        inputs=(Input("x1"), Input("x2")),
        outputs=(Output("output"),),
    )
    for name in ("PairwiseDistance", "functional.pairwise_distance"):
        valid = partial(cases.distances, name)
        yield replace(
            cosine,
            name=name,
            signature=signature,
            shapes=_PAIRS,
            oracle=replace(
                cosine.oracle,
                values=oracle.pairwise_distance,
                shapes=None,
                formula=("dist(x1, x2) = |x1 - x2 + eps|_p, |x|_p = (sum |x_i|^p)^(1/p)",),
            ),
            generation=replace(
                cosine.generation,
                cases=valid,
                invalid=invalid_cases(valid, invalid.distance_breaks()),
                examples_fraction=0.4,
            ),
            variation=Variation(allows=_has_components),
            laws=laws.DISTANCE,
            benchmark=replace(
                cosine.benchmark,
                workloads=_workloads(name, ((512, 256), (512, 256))),
                flops=partial(_flops, 4),
            ),
        )
    name = "functional.pdist"
    valid = partial(cases.pdists, name)
    signature = Signature(
        (Argument("p", 2.0, alternative=1.0),),
        (Input("input"),),
        (Output("output"),),
        supports_complex=False,
        takes_device_and_dtype=False,
    )
    shapes = Shapes({"input": "rows features", "output": "(rows*(rows - 1)//2)"})
    breaks = (*shape_breaks(signature, shapes), *invalid.pdist_breaks())
    yield LayerSpec(
        name,
        "distance",
        signature=signature,
        shapes=shapes,
        oracle=Oracle(
            values=oracle.pdist,
            formula=("|input[i] - input[j]|_p of all i < j, |x|_p = (sum |x_i|^p)^(1/p)",),
            propagation=computed,
        ),
        generation=Generation(
            cases=valid, invalid=invalid_cases(valid, breaks), examples_fraction=0.2
        ),
        laws=laws.PAIRS,
        benchmark=Benchmark(
            workloads=_workloads(name, ((128, 64),)),
            filling=filling,
            flops=lambda workload, weights, outputs: 3 * outputs[0][0] * workload.inputs[0][1],
        ),
    )
    name = "functional.normalize"
    valid = partial(unit_cases.normalizations, name)
    yield LayerSpec(
        name,
        "distance",
        signature=Signature(
            (
                Argument("p", 2.0, alternative=1.0),
                Argument("dim", 1, alternative=0, axis=True),
                Argument("eps", 1e-12, alternative=1e-6),
            ),
            (Input("input", batch_axis=_vector_batch_axis),),
            (Output("output", _vector_batch_axis),),
            supports_complex=False,
            takes_device_and_dtype=False,
        ),
        shapes=Shapes({"input": "*sizes", "output": "*sizes"}),
        oracle=Oracle(
            values=unit_oracle.normalize,
            formula=("v = v / max(|v|_p, eps)",),
            propagation=computed,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, unit_invalid.normalize_breaks()),
            examples_fraction=0.4,
        ),
        variation=Variation(allows=_allows_normalize),
        laws=unit_laws.UNIT,
        benchmark=Benchmark(
            workloads=_workloads(name, ((512, 256),)), filling=filling, flops=partial(_flops, 3)
        ),
    )


def _workloads(name: str, shapes: tuple[Shape, ...]) -> tuple[Workload, ...]:
    text = " by ".join(map(str, shapes[0]))
    return (Workload(name, text, {}, shapes, small=True),)
