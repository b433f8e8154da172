"""Embedding: the module and the function; bags and one-hot rows are in `embedding_bag.py`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from conformance.laws.embedding import embedding as laws
from conformance.layers.embedding import bag as embedding_bag
from conformance.model.case import Call, Case, is_function
from conformance.oracles.embedding import embedding as oracle
from conformance.spec.elementwise import every_axis
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import Benchmark, Generation, Oracle, State, Traits, stateless
from conformance.spec.propagation import looked_up
from conformance.spec.signature import Argument, Input, Output, Signature
from conformance.spec.sizes import resized
from conformance.spec.state import Normal, Shape, StateTensor
from conformance.spec.workload import Filling, Workload
from conformance.strategies.embedding import embedding as cases
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.embedding import embedding as invalid

_SIZES = (
    Argument("num_embeddings", plain=1, size=True),
    Argument("embedding_dim", plain=1, size=True),
)
_OPTIONS = (
    Argument("padding_idx", None, other=0),
    Argument("max_norm", None, other=1.0),
    Argument("norm_type", 2.0, other=1.0),
    Argument("scale_grad_by_freq", False, other=True),
    Argument("sparse", False),
)
_FORMULA = (
    "output[*, :] = weight[input[*], :]",
    "each embedding vector with norm larger than max_norm is renormalized to have norm max_norm",
)


def _leading(case: Case) -> int | None:
    """The first axis of the indices counts the batch, if there is one."""
    first = case.inputs[0]
    return 0 if first is not None and first.ndim else None


def _renormalises(call: Call) -> bool:
    return call.arguments.get("max_norm") is not None


def _state(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """A weight (num_embeddings, embedding_dim) from N(0, 1), its row `padding_idx` zero."""
    shape = (arguments["num_embeddings"], arguments["embedding_dim"])
    return (StateTensor("weight", shape, Normal(arguments.get("padding_idx"))),)


def _padding(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """A negative index counts from the end."""
    place = arguments["padding_idx"]
    if place is None or place >= 0:
        return {}
    return {"padding_idx": place + arguments["num_embeddings"]}


def _refit(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with other arguments, its indices within the weight that they ask for."""
    index, *weights = case.inputs
    assert index is not None
    given = case.call.state.get("weight", weights[0] if weights else None)
    assert given is not None
    sizes = {"num_embeddings": given.shape[0], "embedding_dim": given.shape[1], **arguments}
    count, width = sizes["num_embeddings"], sizes["embedding_dim"]
    place = arguments.get("padding_idx")
    if place is not None and not -count <= place < count:
        return None
    weight, index = resized(given, (count, width)), index % count
    state = {} if row.function else {"weight": weight}
    call = replace(case.call, arguments=arguments, state=state)
    return replace(case, call=call, inputs=(index, weight) if row.function else (index,))


def _moved(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Nothing is computed; a number that is copied counts as one."""
    return math.prod(outputs[0])


# Sizes of BERT-base (J. Devlin et al., 2019), its vocabulary cut to a tenth, and the vocabulary of
# GPT-2, its vectors cut to a third.
_WORKLOADS = (
    ("bert positions", (4, 64), (512, 768)),
    ("bert words", (8, 128), (3052, 768)),
    ("gpt2 words", (1, 1024), (50257, 256)),
)


def _workloads(layer: str) -> Iterator[Workload]:
    function = is_function(layer)
    # A function is given its table, which is made anew for each call: small ones only.
    for k, (name, indices, weight) in enumerate(_WORKLOADS[: 2 if function else None]):
        arguments = dict(zip(("num_embeddings", "embedding_dim"), weight, strict=True))
        yield Workload(
            layer,
            name,
            {} if function else arguments,
            (indices, weight) if function else (indices,),
            small=k == 0,
            below={"input": weight[0]},
        )


def rows() -> Iterator[LayerSpec]:
    """The rows, in the order of torch's documentation."""
    index = Input("input", "index", batch_axis=_leading, differentiable=False, signed=False)
    whole = partial(cases.embeddings, "Embedding")
    module = LayerSpec(
        "Embedding",
        "embedding",
        signature=Signature(
            (*_SIZES, *_OPTIONS),
            (index,),
            (Output("output", _leading),),
            complex=False,
            kept_as=_padding,
        ),
        oracle=Oracle(
            values=oracle.embedding,
            shapes=oracle.embedding_shape,
            formula=_FORMULA,
            propagation=looked_up,
        ),
        generation=Generation(
            cases=whole,
            invalid=invalid_cases(whole, invalid.embedding_breaks("Embedding")),
            examples=0.4,
        ),
        variation=Variation(refit=_refit, free=every_axis),
        state=State(_state),
        traits=Traits(copies=True, updates=_renormalises),
        laws=laws.LAWS,
        benchmark=Benchmark(
            workloads=tuple(_workloads("Embedding")),
            filling=Filling(contraction=False),
            flops=_moved,
            needed=embedding_bag.looked_up_rows,
        ),
    )
    yield module
    name = "functional.embedding"
    valid = partial(cases.embeddings, name)
    yield replace(
        module,
        name=name,
        signature=replace(
            module.signature,
            arguments=_OPTIONS,
            inputs=(index, Input("weight", "weight", updated=True)),
        ),
        oracle=replace(
            module.oracle,
            values=oracle.functional_embedding,
            shapes=oracle.functional_embedding_shape,
        ),
        generation=replace(
            module.generation,
            cases=valid,
            invalid=invalid_cases(valid, invalid.embedding_breaks(name)),
            examples=0.4,
        ),
        variation=replace(module.variation, shared=embedding_bag.table),
        state=replace(module.state, tensors=stateless),
        benchmark=replace(module.benchmark, workloads=tuple(_workloads(name))),
    )
    yield from embedding_bag.rows()
