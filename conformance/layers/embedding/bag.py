"""EmbeddingBag, its function, and one_hot, of the family `embedding`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.embedding import bag as laws
from conformance.model.case import Call, Case, is_function
from conformance.oracles.embedding import bag as oracle
from conformance.spec.axes import Axes, joined
from conformance.spec.elementwise import every_axis
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import (
    Benchmark,
    Conditions,
    Generation,
    Oracle,
    State,
    Traits,
    stateless,
)
from conformance.spec.propagation import Propagation, looked_up
from conformance.spec.signature import BY_NAME, Argument, Input, Output, Signature
from conformance.spec.sizes import resized
from conformance.spec.state import Normal, Shape, StateTensor
from conformance.spec.workload import Filling, Workload
from conformance.strategies.embedding import bag as cases
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.embedding import bag as invalid

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import FactsLike as Facts

_SIZES = (
    Argument("num_embeddings", plain=1, size=True),
    Argument("embedding_dim", plain=1, size=True),
)
_OPTIONS = (
    Argument("max_norm", None, other=1.0),
    Argument("norm_type", 2.0, other=1.0),
    Argument("scale_grad_by_freq", False, other=True),
    Argument("mode", "mean", other="sum"),
    Argument("sparse", False, other=True),
    Argument("include_last_offset", False, other=True),
    Argument("padding_idx", None, other=0),
)
_FORMULA = (
    "output[b, :] = sum, mean or max of per_sample_weights[b, n] weight[input[b, n], :] over n,",
    "without padding_idx, 0 of an empty bag; bag b of a 1-D input begins at offsets[b]",
    "each embedding vector with norm larger than max_norm is renormalized to have norm max_norm",
)


def _fixed(case: Case) -> int | None:
    """Axis 0 counts the bags if the indices are a matrix with one bag per row."""
    index = case.inputs[0]
    return 0 if index is not None and index.ndim == 2 else None


def _sizes(case: Case) -> tuple[Axes, ...]:
    """The axis within a bag, if the indices are a matrix; otherwise offsets decide bag sizes."""
    if _fixed(case) is None:
        return ()
    last = len(case.inputs) - 1
    weighed = case.inputs[last] is not None
    return (((0, 1), (last, 1)) if weighed else ((0, 1),),)


def _renormalises(call: Call) -> bool:
    return call.arguments.get("max_norm") is not None


def _state(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """A weight (num_embeddings, embedding_dim) from N(0, 1), with row `padding_idx` zero."""
    shape = (arguments["num_embeddings"], arguments["embedding_dim"])
    return (StateTensor("weight", shape, Normal(arguments.get("padding_idx"))),)


def _padding(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The module stores padding_idx as a nonnegative index."""
    place = arguments["padding_idx"]
    if place is None or place >= 0:
        return {}
    return {"padding_idx": place + arguments["num_embeddings"]}


def _refit(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments, its indices and offsets adapted; None where invalid."""
    index, *given = case.inputs
    weight = given.pop(0) if row.function else case.call.state["weight"]
    offsets, factors = given
    assert index is not None
    assert weight is not None
    if (offsets is None) is (index.ndim == 1):
        return None
    mode, wanted = arguments.get("mode", "mean"), arguments.get
    counting, sparse = wanted("scale_grad_by_freq", False), wanted("sparse", False)
    if (factors is not None and mode != "sum") or (mode == "max" and (counting or sparse)):
        return None
    if counting and sparse:
        return None  # torch has no such gradient
    if offsets is not None:
        before = case.call.arguments.get("include_last_offset", False)
        starts = offsets[:-1] if before else offsets
        offsets = np.append(starts, index.size) if wanted("include_last_offset", False) else starts
        if len(starts) == 0 and index.size:
            return None
    sizes = {"num_embeddings": weight.shape[0], "embedding_dim": weight.shape[1], **arguments}
    count, width = sizes["num_embeddings"], sizes["embedding_dim"]
    place = arguments.get("padding_idx")
    if place is not None and not -count <= place < count:
        return None
    weight, index = resized(weight, (count, width)), index % count
    call = replace(case.call, arguments=arguments, state={} if row.function else {"weight": weight})
    rest = (offsets, factors)
    return replace(case, call=call, inputs=(index, *((weight,) if row.function else ()), *rest))


def _counts_differ(found: Facts) -> bool:
    """Whether the i-th distinct index and the i-th index occur differently often, for some i.

    Both are in ascending order. Torch uses the count of the one for the other.
    """
    index = found.case.inputs[0]
    assert index is not None
    named, counts = np.unique(index, return_counts=True)
    others = np.sort(index, axis=None)[: len(named)]
    return bool((counts != counts[np.searchsorted(named, others)]).any())


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Operations: one addition for each number that is looked up."""
    return math.prod(workload.inputs[0]) * outputs[0][-1]


def looked_up_rows(arrays: Mapping[str, np.ndarray]) -> Mapping[str, int]:
    """Count the elements of the table that are read: the rows that the indices name.

    Args:
        arrays: `"input"`, the indices, and `"weight"`, the table.
    """
    return {"weight": np.unique(arrays["input"]).size * arrays["weight"].shape[1]}


# Sizes of the DLRM benchmark (M. Naumov et al., 2019), with fewer rows.
_WORKLOADS = (("64 bags of 8", (64, 8), (1000, 64)), ("512 bags of 32", (512, 32), (20000, 64)))


def _workloads(layer: str) -> Iterator[Workload]:
    for k, (name, indices, weight) in enumerate(_WORKLOADS):
        function = is_function(layer)
        arguments = dict(zip(("num_embeddings", "embedding_dim"), weight, strict=True))
        yield Workload(
            layer,
            name,
            {"mode": "sum"} | ({} if function else arguments),
            (indices, weight) if function else (indices,),
            small=k == 0,
            below={"input": weight[0]},
        )


# The oracle of a sum decides how NaN and infinities propagate; a maximum copies them.
_PROPAGATION = Propagation(looked_up.expected, parameters=False, roles=("weight", "data"))


def table(case: Case) -> tuple[Axes, ...]:
    """Both axes of a function's weight."""
    return joined(case, (1, 0)), joined(case, (1, 1))


def rows() -> Iterator[LayerSpec]:
    """The layers of bags, and one_hot, in the order of torch's documentation."""
    index = Input("input", "index", batch_axis=_fixed, differentiable=False, signed=False)
    rest = (
        Input("offsets", "index", optional=True, differentiable=False, signed=False, fixed=True),
        Input("per_sample_weights", optional=True, batch_axis=_fixed),
    )
    whole = partial(cases.embedding_bags, "EmbeddingBag")
    module = LayerSpec(
        "EmbeddingBag",
        "embedding",
        signature=Signature(
            (*_SIZES, *_OPTIONS),
            (index, *rest),
            (Output("output", _fixed),),
            complex=False,
            kept_as=_padding,
        ),
        oracle=Oracle(
            values=oracle.embedding_bag,
            shapes=oracle.embedding_bag_shape,
            formula=_FORMULA,
            propagation=_PROPAGATION,
        ),
        generation=Generation(
            cases=whole,
            invalid=invalid_cases(whole, invalid.embedding_bag_breaks("EmbeddingBag")),
            examples=0.4,
        ),
        variation=Variation(refit=_refit, free=_sizes),
        state=State(_state),
        traits=Traits(updates=_renormalises),
        conditions=Conditions(derived={"counts_differ": _counts_differ}),
        laws=laws.LAWS,
        benchmark=Benchmark(
            workloads=tuple(_workloads("EmbeddingBag")),
            filling=Filling(contraction=False),
            flops=_flops,
            needed=looked_up_rows,
        ),
    )
    yield module
    name = "functional.embedding_bag"
    valid = partial(cases.embedding_bags, name)
    yield replace(
        module,
        name=name,
        signature=replace(
            module.signature,
            arguments=_OPTIONS,
            inputs=(
                index,
                Input("weight", "weight", updated=True),
                rest[0],
                replace(rest[1], passed=BY_NAME),
            ),
        ),
        oracle=replace(
            module.oracle,
            values=oracle.functional_embedding_bag,
            shapes=oracle.functional_embedding_bag_shape,
        ),
        generation=replace(
            module.generation,
            cases=valid,
            invalid=invalid_cases(valid, invalid.embedding_bag_breaks(name)),
            examples=0.4,
        ),
        variation=replace(module.variation, shared=table),
        state=replace(module.state, tensors=stateless),
        benchmark=replace(module.benchmark, workloads=tuple(_workloads(name))),
    )
    yield _one_hot()


def _classes(case: Case) -> Mapping[str, Any]:
    """The number of classes: by default one more than the largest index."""
    (tensor,) = case.inputs
    given = case.call.arguments.get("num_classes", -1)
    assert tensor is not None
    return {"num_classes": int(tensor.max(initial=-1)) + 1 if given == -1 else given}


def _as_many(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with another `num_classes`, its indices reduced to that range."""
    (tensor,) = case.inputs
    assert tensor is not None
    given = arguments.get("num_classes", -1)
    if given < 1 and (given != -1 or not tensor.size):
        return None
    call = replace(case.call, arguments=arguments)
    return replace(case, call=call, inputs=(tensor if given == -1 else tensor % given,))


def _axis(case: Case) -> int | None:
    """Axis 0 if the call passes num_classes; an inferred number depends on the whole batch."""
    (tensor,) = case.inputs
    told = case.call.arguments.get("num_classes", -1) != -1
    return 0 if told and tensor is not None and tensor.ndim else None


def _one_hot() -> LayerSpec:
    name = "functional.one_hot"
    valid = partial(cases.one_hots, name)
    return LayerSpec(
        name,
        "embedding",
        signature=Signature(
            (Argument("num_classes", -1, other=17),),
            (Input("tensor", "index", batch_axis=_axis, differentiable=False, signed=False),),
            (Output("output", _axis, dtype=lambda case: "int64", differentiable=False),),
            complex=False,
            placed=False,
        ),
        oracle=Oracle(
            values=oracle.one_hot,
            shapes=oracle.one_hot_shape,
            formula=("output[*, c] = 1 if c = tensor[*] else 0",),
            counted=_classes,
        ),
        generation=Generation(
            cases=valid, invalid=invalid_cases(valid, invalid.one_hot_breaks()), examples=0.25
        ),
        variation=Variation(refit=_as_many, free=every_axis),
        laws=laws.ONE_HOT_LAWS,
        benchmark=Benchmark(
            workloads=(
                Workload(
                    name,
                    "4096 of 1000",
                    {"num_classes": 1000},
                    ((4096,),),
                    small=True,
                    below={"tensor": 1000},
                ),
            ),
            filling=Filling(contraction=False),
            flops=lambda workload, weights, outputs: math.prod(outputs[0]),
        ),
    )
