"""Embedding: the module and the function; bags and one-hot rows are in `bag.py`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from conformance.laws.embedding import embedding as laws
from conformance.layers.embedding import bag as embedding_bag
from conformance.model.case import Call, Case, is_function
from conformance.oracles.embedding import embedding as oracle
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.parts import Benchmark, Generation, Oracle, State, Traits
from conformance.spec.propagation import looked_up
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Arguments, Input, Output, Signature
from conformance.spec.state import Normal, Shape, StateTensor
from conformance.spec.workload import Filling, Workload
from conformance.strategies.embedding import embedding as cases
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.embedding import embedding as invalid

_SIZES = (
    Argument("num_embeddings", simplest=1, size=True),
    Argument("embedding_dim", simplest=1, size=True),
)
_OPTIONS = (
    Argument("padding_idx", None, alternative=0),
    Argument("max_norm", None, alternative=1.0),
    Argument("norm_type", 2.0, alternative=1.0),
    Argument("scale_grad_by_freq", False, alternative=True),
    Argument("sparse", False),
)
_FORMULA = (
    "output[*, :] = weight[input[*], :]",
    "each embedding vector with norm larger than max_norm is renormalized to have norm max_norm",
)


_SHAPES = Shapes(
    {
        "input": "batch? *more",
        "weight": "num_embeddings embedding_dim",
        "output": "batch? *more embedding_dim",
    },
    where=("padding_idx is None or -num_embeddings <= padding_idx < num_embeddings",),
    index_limits={"input": "num_embeddings"},
)


def _renormalises(call: Call) -> bool:
    return call.arguments.get("max_norm") is not None


def _initial_tensors(arguments: Arguments, shapes: Mapping[str, Shape]) -> tuple[StateTensor, ...]:
    """A weight drawn from N(0, 1), with row `padding_idx` zero."""
    return (StateTensor("weight", shapes["weight"], Normal(arguments.get("padding_idx"))),)


def _readback(arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    """The module stores padding_idx as a nonnegative index."""
    place = arguments["padding_idx"]
    if place is None or place >= 0:
        return {}
    return {"padding_idx": place + arguments["num_embeddings"]}


def _copied_numbers(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Nothing is computed; each copied number counts as one operation."""
    return math.prod(outputs[0])


# Sizes of BERT-base (J. Devlin et al., 2019) with a tenth of its vocabulary, and of GPT-2 with a
# third of its vectors' length.
_WORKLOADS = (
    ("bert positions", (4, 64), (512, 768)),
    ("bert words", (8, 128), (3052, 768)),
    ("gpt2 words", (1, 1024), (50257, 256)),
)


def _workloads(layer: str) -> Iterator[Workload]:
    function = is_function(layer)
    # A function's table is an input, which each call makes anew: small ones only.
    for k, (name, indices, weight) in enumerate(_WORKLOADS[: 2 if function else None]):
        arguments = dict(zip(("num_embeddings", "embedding_dim"), weight, strict=True))
        yield Workload(
            layer,
            name,
            {} if function else arguments,
            (indices, weight) if function else (indices,),
            small=k == 0,
            index_limits={"input": weight[0]},
        )


def _overrides_derivative(case: Case) -> bool:
    """Whether a row of padding learns nothing, or gradients are divided by counts."""
    arguments = case.call.arguments
    return arguments.get("padding_idx") is not None or bool(arguments.get("scale_grad_by_freq"))


def _embedding_spec(name: str) -> LayerSpec:
    function = is_function(name)
    valid = partial(cases.embeddings, name)
    signature = Signature(
        _OPTIONS if function else (*_SIZES, *_OPTIONS),
        (
            Input("input", "index", differentiable=False, any_value=False),
            *((Input("weight", "weight", updated=True),) if function else ()),
        ),
        (Output("output"),),
        supports_complex=False,
        readback=_readback,
    )
    breaks = invalid.embedding_breaks(signature, _SHAPES)
    return LayerSpec(
        name,
        "embedding",
        signature=signature,
        shapes=_SHAPES,
        oracle=Oracle(
            values=oracle.functional_embedding if function else oracle.embedding,
            formula=_FORMULA,
            propagation=looked_up,
        ),
        generation=Generation(
            cases=valid, invalid=invalid_cases(valid, breaks), examples_fraction=0.4
        ),
        state=State() if function else State(tensors_from_shapes=_initial_tensors),
        traits=Traits(
            copies_input=True,
            updates_state=_renormalises,
            overrides_derivative=_overrides_derivative,
        ),
        laws=laws.LAWS,
        benchmark=Benchmark(
            workloads=tuple(_workloads(name)),
            filling=Filling(contraction=False),
            flops=_copied_numbers,
            elements_read=embedding_bag.elements_read,
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    yield from map(_embedding_spec, ("Embedding", "functional.embedding"))
    yield from embedding_bag.layer_specs()
