"""Batch and layer normalisations: modules, lazy modules and functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from conformance.laws.normalization import batch_and_layer as laws
from conformance.layers.normalization import groups, parts
from conformance.layers.normalization.propagation import channel_propagation, row_propagation
from conformance.model.case import is_function
from conformance.oracles.normalization import batch_and_layer as oracle
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import (
    Benchmark,
    Conditions,
    Generation,
    Lazy,
    Oracle,
    State,
    Traits,
)
from conformance.spec.shapes import Shapes
from conformance.spec.signature import BY_NAME, Argument, Form, Input, Output, Signature
from conformance.spec.workload import Workload
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.normalization import batch_and_layer as invalid
from conformance.strategies.normalization import batch_and_layer as cases

# Images of ResNet-50, and sequences and volumes of about the size of the first one.
_WORKLOAD_SHAPES = {
    1: ((8, 64, 3136),),
    2: tuple(shape for _, shape in parts.TIMED_IMAGES),
    3: ((2, 64, 8, 28, 28),),
}
_WORKLOAD_NAMES = {
    1: ("sequence 64",),
    2: tuple(title for title, _ in parts.TIMED_IMAGES),
    3: ("video 64",),
}


def _row_workloads(name: str) -> Iterator[Workload]:
    for k, (title, shape) in enumerate(parts.TIMED_ROWS):
        if name == "LayerNorm":
            yield Workload(name, title, {"normalized_shape": shape[-1]}, (shape,), k == 0)
        else:
            inputs = (shape, shape[-1:], shape[-1:])
            yield Workload(name, title, {"normalized_shape": shape[-1:]}, inputs, k == 0)


def _batch_workloads(name: str, dims: int, lazy: bool) -> Iterator[Workload]:
    for k, (title, shape) in enumerate(
        zip(_WORKLOAD_NAMES[dims], _WORKLOAD_SHAPES[dims], strict=True)
    ):
        arguments = {} if lazy else {"num_features": shape[1]}
        if not (lazy and k):
            yield Workload(name, title, arguments, (shape,), k == 0)


_LAYER_NORM = Shapes(
    {
        "input": "*batch *normalized_shape",
        "weight": "*normalized_shape if elementwise_affine",
        "bias": "*normalized_shape if elementwise_affine and bias",
        "output": "*batch *normalized_shape",
    }
)
_WEIGHTS = dict.fromkeys(("weight", "bias"), "*normalized_shape")
_FUNCTIONAL_LAYER_NORM = replace(_LAYER_NORM, texts={**_LAYER_NORM.texts, **_WEIGHTS})


def _layer_norm_spec(name: str) -> LayerSpec:
    valid, function = partial(cases.layer_norms, name), is_function(name)
    simplest = (1,) if function else 1
    normalized_shape = Argument(
        "normalized_shape", simplest=simplest, size=True, form=Form(sequence=not function)
    )
    affine = (Argument("elementwise_affine", True, alternative=False), parts.BIAS)
    weights = (
        Input("weight", "weight", optional=True, passing=BY_NAME),
        Input("bias", "bias", optional=True, passing=BY_NAME),
    )
    shapes = _FUNCTIONAL_LAYER_NORM if function else _LAYER_NORM
    signature = Signature(
        (normalized_shape, parts.EPS, *(() if function else affine)),
        (Input("input", batch_axis=parts.leading_axis), *(weights if function else ())),
        (Output("output", parts.leading_axis),),
        supports_complex=False,
    )
    return LayerSpec(
        name,
        "normalization",
        signature=signature,
        shapes=shapes,
        oracle=Oracle(
            values=oracle.functional_layer_norm if function else oracle.layer_norm,
            formula=(parts.FORMULA, "Var[x]: the biased estimator"),
            propagation=row_propagation,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.row_breaks(signature, shapes)),
            examples_fraction=0.4 if function else 0.75,
        ),
        state=State() if function else State(tensors_from_shapes=parts.initial_tensors),
        laws=laws.LAYER,
        benchmark=Benchmark(
            workloads=tuple(_row_workloads(name)), filling=parts.FILLING, flops=parts.flops
        ),
    )


def _batch_norm_spec(dims: int, *, lazy: bool = False) -> LayerSpec:
    eager = f"BatchNorm{dims}d"
    name = f"Lazy{eager}" if lazy else eager
    valid = partial(cases.batch_norm_modules, name)
    # In one dimension the length is optional, so that it is not always the last axis.
    axes = "batch num_features " + ("length?" if dims == 1 else "*space")
    shapes = parts.channelwise_shapes(axes)
    signature = Signature(
        (
            *(() if lazy else (parts.FEATURES,)),
            parts.EPS,
            parts.MOMENTUM,
            Argument("affine", True, alternative=False),
            Argument("track_running_stats", True, alternative=False),
            parts.BIAS,
        ),
        (Input("input", batch_axis=parts.batch_axis),),
        (Output("output", parts.batch_axis),),
        dims=0 if dims == 1 else dims,
        supports_complex=False,
    )
    return LayerSpec(
        name,
        "normalization",
        signature=signature,
        shapes=shapes,
        oracle=Oracle(
            values=oracle.batch_norm,
            formula=(
                parts.FORMULA,
                "x_new = (1 - momentum) * x + momentum * x_t",
                "running_var: the unbiased estimator",
            ),
            propagation=channel_propagation,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.batch_norm_breaks(signature, shapes)),
            # A lazy module computes the same: its cases test only what it infers.
            examples_fraction=0.15 if lazy else 0.4,
        ),
        variation=Variation(allows=parts.allows),
        state=State(tensors_from_shapes=parts.initial_tensors, roles=parts.STATISTICS),
        traits=Traits(
            train_and_eval_differ=True,
            updates_state=parts.updates,
            valid_in_train_mode=parts.can_train,
            always_batched=True,
        ),
        conditions=Conditions(derived_facts=parts.BATCH_FACTS),
        laws=(*laws.BATCH, laws.lazy),
        benchmark=Benchmark(
            workloads=tuple(_batch_workloads(name, dims, lazy)),
            filling=parts.FILLING,
            flops=parts.scaling_flops,
        ),
        lazy=Lazy(eager, parts.inferred_features) if lazy else None,
    )


def _sync_batch_norm_spec() -> LayerSpec:
    """SyncBatchNorm, in one process a batch norm of any number of dimensions."""
    name = "SyncBatchNorm"
    valid = partial(cases.batch_norm_modules, name)
    base = _batch_norm_spec(2)
    signature = replace(base.signature, dims=0)
    shapes = parts.channelwise_shapes("batch num_features *length")
    return replace(
        base,
        name=name,
        signature=signature,
        shapes=shapes,
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.batch_norm_breaks(signature, shapes)),
            examples_fraction=0.3,
        ),
        laws=(*laws.BATCH, laws.alone),
        benchmark=replace(base.benchmark, workloads=tuple(_batch_workloads(name, 2, lazy=False))),
    )


def _functional_batch_norm_spec() -> LayerSpec:
    name = "functional.batch_norm"
    valid = partial(cases.batch_norms, name)
    signature = Signature(
        (Argument("training", False, alternative=True), parts.MOMENTUM, parts.EPS),
        (
            Input("input", batch_axis=parts.batch_axis),
            Input("running_mean", "statistic", differentiable=False, updated=True),
            Input("running_var", "statistic", differentiable=False, any_value=False, updated=True),
            Input("weight", "weight", optional=True),
            Input("bias", "bias", optional=True),
        ),
        (Output("output", parts.batch_axis),),
        supports_complex=False,
    )
    breaks = invalid.functional_batch_norm_breaks(signature, parts.CHANNELWISE)
    return LayerSpec(
        name,
        "normalization",
        signature=signature,
        shapes=parts.CHANNELWISE,
        oracle=Oracle(
            values=oracle.functional_batch_norm,
            formula=(parts.FORMULA, "x_new = (1 - momentum) * x + momentum * x_t"),
            propagation=channel_propagation,
        ),
        generation=Generation(
            cases=valid, invalid=invalid_cases(valid, breaks), examples_fraction=0.35
        ),
        variation=Variation(allows=parts.allows),
        traits=Traits(updates_state=parts.function_updates),
        conditions=Conditions(derived_facts=parts.BATCH_FACTS),
        laws=laws.BATCH,
        benchmark=Benchmark(
            workloads=tuple(
                Workload(name, title, {"training": True}, (shape, *(shape[1:2],) * 4), k == 0)
                for k, (title, shape) in enumerate(parts.TIMED_IMAGES)
            ),
            filling=parts.FILLING,
            flops=parts.flops,
        ),
    )


def layer_specs() -> Iterator[LayerSpec]:
    """The family's layers, in the order of torch's documentation."""
    for dims in (1, 2, 3):
        yield _batch_norm_spec(dims)
    for dims in (1, 2, 3):
        yield _batch_norm_spec(dims, lazy=True)
    yield _sync_batch_norm_spec()
    yield from groups.instance_norm_specs()
    yield _layer_norm_spec("LayerNorm")
    yield from groups.module_specs()
    yield _functional_batch_norm_spec()
    yield _layer_norm_spec("functional.layer_norm")
    yield from groups.function_specs()
