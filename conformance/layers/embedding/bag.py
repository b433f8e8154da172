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
from conformance.spec.axes import Axes, present_axes
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
    Argument("num_embeddings", simplest=1, size=True),
    Argument("embedding_dim", simplest=1, size=True),
)
_OPTIONS = (
    Argument("max_norm", None, alternative=1.0),
    Argument("norm_type", 2.0, alternative=1.0),
    Argument("scale_grad_by_freq", False, alternative=True),
    Argument("mode", "mean", alternative="sum"),
    Argument("sparse", False, alternative=True),
    Argument("include_last_offset", False, alternative=True),
    Argument("padding_idx", None, alternative=0),
)
_FORMULA = (
    "output[b, :] = sum, mean or max of per_sample_weights[b, n] weight[input[b, n], :] over n,",
    "without padding_idx, 0 of an empty bag; bag b of a 1-D input begins at offsets[b]",
    "each embedding vector with norm larger than max_norm is renormalized to have norm max_norm",
)


def _batch_axis(case: Case) -> int | None:
    """Axis 0 counts the bags if the indices are a matrix with one bag per row."""
    index = case.inputs[0]
    return 0 if index is not None and index.ndim == 2 else None


def _bag_size_axes(case: Case) -> tuple[Axes, ...]:
    """The axis within a bag, if the indices are a matrix; otherwise offsets decide bag sizes."""
    if _batch_axis(case) is None:
        return ()
    last = len(case.inputs) - 1
    has_factors = case.inputs[last] is not None
    return (((0, 1), (last, 1)) if has_factors else ((0, 1),),)


def _renormalises(call: Call) -> bool:
    return call.arguments.get("max_norm") is not None


def _state_tensors(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """A weight (num_embeddings, embedding_dim) from N(0, 1), with row `padding_idx` zero."""
    shape = (arguments["num_embeddings"], arguments["embedding_dim"])
    return (StateTensor("weight", shape, Normal(arguments.get("padding_idx"))),)


def _readback(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The module stores padding_idx as a nonnegative index."""
    place = arguments["padding_idx"]
    if place is None or place >= 0:
        return {}
    return {"padding_idx": place + arguments["num_embeddings"]}


def _resize(spec: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments, its indices and offsets adapted; None where invalid."""
    index, *others = case.inputs
    weight = others.pop(0) if spec.is_function else case.call.state["weight"]
    offsets, factors = others
    assert index is not None
    assert weight is not None
    if (offsets is None) is (index.ndim == 1):
        return None
    mode, argument_or_default = arguments.get("mode", "mean"), arguments.get
    by_frequency, sparse = (
        argument_or_default("scale_grad_by_freq", False),
        argument_or_default("sparse", False),
    )
    if (factors is not None and mode != "sum") or (mode == "max" and (by_frequency or sparse)):
        return None
    if by_frequency and sparse:
        return None  # torch has no such gradient
    if offsets is not None:
        had_last_offset = case.call.arguments.get("include_last_offset", False)
        starts = offsets[:-1] if had_last_offset else offsets
        offsets = (
            np.append(starts, index.size)
            if argument_or_default("include_last_offset", False)
            else starts
        )
        if len(starts) == 0 and index.size:
            return None
    sizes = {"num_embeddings": weight.shape[0], "embedding_dim": weight.shape[1], **arguments}
    count, width = sizes["num_embeddings"], sizes["embedding_dim"]
    place = arguments.get("padding_idx")
    if place is not None and not -count <= place < count:
        return None
    weight, index = resized(weight, (count, width)), index % count
    call = replace(
        case.call, arguments=arguments, state={} if spec.is_function else {"weight": weight}
    )
    optional_inputs = (offsets, factors)
    return replace(
        case, call=call, inputs=(index, *((weight,) if spec.is_function else ()), *optional_inputs)
    )


def _counts_differ(facts: Facts) -> bool:
    """Whether the i-th distinct index and the i-th index occur differently often, for some i.

    Both are in ascending order. Torch uses the count of the one for the other.
    """
    index = facts.case.inputs[0]
    assert index is not None
    row_indices, counts = np.unique(index, return_counts=True)
    sorted_indices = np.sort(index, axis=None)[: len(row_indices)]
    return bool((counts != counts[np.searchsorted(row_indices, sorted_indices)]).any())


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Operations: one addition for each number that is looked up."""
    return math.prod(workload.inputs[0]) * outputs[0][-1]


def elements_read(arrays: Mapping[str, np.ndarray]) -> Mapping[str, int]:
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
            index_limits={"input": weight[0]},
        )


# The oracle of a sum decides how NaN and infinities propagate; a maximum copies them.
_PROPAGATION = Propagation(looked_up.expected, special_parameters=False, roles=("weight", "data"))


def _divides_by_counts(case: Case) -> bool:
    return bool(case.call.arguments.get("scale_grad_by_freq"))


def weight_axes(case: Case) -> tuple[Axes, ...]:
    """Both axes of a function's weight."""
    return present_axes(case, (1, 0)), present_axes(case, (1, 1))


def layer_specs() -> Iterator[LayerSpec]:
    """The layers of bags, and one_hot, in the order of torch's documentation."""
    index = Input("input", "index", batch_axis=_batch_axis, differentiable=False, any_value=False)
    optional_inputs = (
        Input("offsets", "index", optional=True, differentiable=False, any_value=False, fixed=True),
        Input("per_sample_weights", optional=True, batch_axis=_batch_axis),
    )
    module_cases = partial(cases.embedding_bags, "EmbeddingBag")
    module = LayerSpec(
        "EmbeddingBag",
        "embedding",
        signature=Signature(
            (*_SIZES, *_OPTIONS),
            (index, *optional_inputs),
            (Output("output", _batch_axis),),
            supports_complex=False,
            readback=_readback,
        ),
        oracle=Oracle(
            values=oracle.embedding_bag,
            shapes=oracle.embedding_bag_shape,
            formula=_FORMULA,
            propagation=_PROPAGATION,
        ),
        generation=Generation(
            cases=module_cases,
            invalid=invalid_cases(module_cases, invalid.embedding_bag_breaks("EmbeddingBag")),
            examples_fraction=0.4,
        ),
        variation=Variation(resize=_resize, independent_axes=_bag_size_axes),
        state=State(_state_tensors),
        traits=Traits(updates_state=_renormalises, overrides_derivative=_divides_by_counts),
        conditions=Conditions(derived_facts={"counts_differ": _counts_differ}),
        laws=laws.LAWS,
        benchmark=Benchmark(
            workloads=tuple(_workloads("EmbeddingBag")),
            filling=Filling(contraction=False),
            flops=_flops,
            elements_read=elements_read,
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
                optional_inputs[0],
                replace(optional_inputs[1], passing=BY_NAME),
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
            examples_fraction=0.4,
        ),
        variation=replace(module.variation, tied_axes=weight_axes),
        state=replace(module.state, tensors=stateless),
        benchmark=replace(module.benchmark, workloads=tuple(_workloads(name))),
    )
    yield _one_hot_spec()


def _class_count(case: Case) -> Mapping[str, Any]:
    """The number of classes: by default one more than the largest index."""
    (tensor,) = case.inputs
    num_classes = case.call.arguments.get("num_classes", -1)
    assert tensor is not None
    return {"num_classes": int(tensor.max(initial=-1)) + 1 if num_classes == -1 else num_classes}


def _resize_one_hot(spec: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with another `num_classes`, its indices reduced to that range."""
    (tensor,) = case.inputs
    assert tensor is not None
    num_classes = arguments.get("num_classes", -1)
    if num_classes < 1 and (num_classes != -1 or not tensor.size):
        return None
    call = replace(case.call, arguments=arguments)
    return replace(case, call=call, inputs=(tensor if num_classes == -1 else tensor % num_classes,))


def _one_hot_batch_axis(case: Case) -> int | None:
    """Axis 0 if the call passes num_classes; an inferred number depends on the whole batch."""
    (tensor,) = case.inputs
    has_num_classes = case.call.arguments.get("num_classes", -1) != -1
    return 0 if has_num_classes and tensor is not None and tensor.ndim else None


def _one_hot_spec() -> LayerSpec:
    name = "functional.one_hot"
    valid = partial(cases.one_hots, name)
    return LayerSpec(
        name,
        "embedding",
        signature=Signature(
            (Argument("num_classes", -1, alternative=17),),
            (
                Input(
                    "tensor",
                    "index",
                    batch_axis=_one_hot_batch_axis,
                    differentiable=False,
                    any_value=False,
                ),
            ),
            (
                Output(
                    "output", _one_hot_batch_axis, dtype=lambda case: "int64", differentiable=False
                ),
            ),
            supports_complex=False,
            takes_device_and_dtype=False,
        ),
        oracle=Oracle(
            values=oracle.one_hot,
            shapes=oracle.one_hot_shape,
            formula=("output[*, c] = 1 if c = tensor[*] else 0",),
            value_inferred_arguments=_class_count,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.one_hot_breaks()),
            examples_fraction=0.25,
        ),
        variation=Variation(resize=_resize_one_hot, independent_axes=every_axis),
        laws=laws.ONE_HOT_LAWS,
        benchmark=Benchmark(
            workloads=(
                Workload(
                    name,
                    "4096 of 1000",
                    {"num_classes": 1000},
                    ((4096,),),
                    small=True,
                    index_limits={"tensor": 1000},
                ),
            ),
            filling=Filling(contraction=False),
            flops=lambda workload, weights, outputs: math.prod(outputs[0]),
        ),
    )
