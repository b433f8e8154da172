"""Norms within each sample (instance, group, RMS, response): modules, lazy modules, functions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws.normalization import groups as laws
from conformance.layers.normalization import parts, propagation
from conformance.model.case import Call, Case, is_function
from conformance.oracles.normalization import groups as oracle
from conformance.oracles.normalization.modes import uses_own_statistics
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
from conformance.spec.state import Shape
from conformance.spec.workload import Workload
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.normalization import groups as invalid
from conformance.strategies.invalid.normalization.batch_and_layer import row_breaks
from conformance.strategies.normalization import groups as cases

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import FactsLike

_WEIGHTS = (Input("weight", "weight", optional=True), Input("bias", "bias", optional=True))
_BY_NAME = tuple(replace(x, passing=BY_NAME) for x in _WEIGHTS)
_INSTANCE = parts.channelwise_shapes("batch? num_features *space")
_GROUP = Shapes(
    {
        "input": "batch num_channels *length",
        "weight": "num_channels if affine",
        "bias": "num_channels if affine and bias",
        "output": "batch num_channels *length",
    },
    where=("num_channels % num_groups == 0",),
)
_FUNCTIONAL_GROUP = Shapes(
    {
        "input": "batch channels *length",
        "weight": "channels",
        "bias": "channels",
        "output": "batch channels *length",
    },
    where=("channels % num_groups == 0",),
)
_SPATIAL = Shapes(dict.fromkeys(("input", "output"), "batch channels length *more"))
_IMAGES = Shapes(dict.fromkeys(("input", "output"), "batch channels height width"))
_WORKLOAD_SHAPES = {1: (8, 64, 3136), 2: (8, 64, 56, 56), 3: (2, 64, 8, 28, 28)}


def _uses_own_statistics(tracks_by_default: bool, facts: FactsLike) -> bool:
    return uses_own_statistics(tracks_by_default, facts.case)


def _numbers_per_channel(case: Case) -> int:
    """Number of elements of one channel of one sample."""
    x = case.inputs[0]
    assert x is not None
    rank = x.ndim - 2 if is_function(case.call.layer) else int(case.call.layer[-2])
    return math.prod(x.shape[x.ndim - rank :])


def _can_train(case: Case) -> bool:
    return _numbers_per_channel(case) != 1


def _updates(tracks_by_default: bool, call: Call) -> bool:
    return call.training and bool(call.arguments.get("track_running_stats", tracks_by_default))


def _function_updates(call: Call) -> bool:
    return bool(call.arguments.get("use_input_stats", True))


def _allows_instance_norm(tracks_by_default: bool, spec: LayerSpec, case: Case) -> bool:
    """Whether there are both running statistics or none, as needed, and variances are defined.

    A channel of a sample with a single number has no variance.
    """
    if uses_own_statistics(tracks_by_default, case):
        is_missing = [x is None for x in case.inputs[1:3]]
        return _can_train(case) and len(set(is_missing)) < 2
    return not spec.is_function or all(x is not None for x in case.inputs[1:3])


def _instance_norm_spec(dims: int, *, lazy: bool = False) -> LayerSpec:
    eager = f"InstanceNorm{dims}d"
    name = f"Lazy{eager}" if lazy else eager
    valid = partial(cases.instance_norm_modules, name)
    shape = _WORKLOAD_SHAPES[dims]
    sizes = {} if lazy else {"num_features": shape[1]}
    signature = Signature(
        (
            *(() if lazy else (parts.FEATURES,)),
            parts.EPS,
            parts.MOMENTUM,
            Argument("affine", lazy, alternative=not lazy),
            Argument("track_running_stats", lazy, alternative=not lazy),
            parts.BIAS,
        ),
        (Input("input"),),
        (Output("output"),),
        dims=dims,
        supports_complex=False,
    )
    return LayerSpec(
        name,
        "normalization",
        signature=signature,
        shapes=_INSTANCE,
        oracle=Oracle(
            values=partial(oracle.instance_norm, dims, lazy),
            formula=(parts.FORMULA, "x_new = (1 - momentum) * x + momentum * x_t"),
            propagation=propagation.instance_propagation(lazy),
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.instance_norm_breaks(signature, _INSTANCE)),
            examples_fraction=0.15 if lazy else 0.3,
        ),
        variation=Variation(allows=partial(_allows_instance_norm, lazy)),
        state=State(tensors_from_shapes=parts.initial_tensors, roles=parts.STATISTICS),
        traits=Traits(
            train_and_eval_differ=True,
            updates_state=partial(_updates, lazy),
            valid_in_train_mode=_can_train,
        ),
        conditions=Conditions(
            derived_facts={"batch_statistics": partial(_uses_own_statistics, lazy)}
        ),
        laws=(*laws.INSTANCE, laws.eager) if lazy else laws.INSTANCE,
        benchmark=Benchmark(
            workloads=(Workload(name, f"{dims} dimensions", sizes, (shape,), small=True),),
            filling=parts.FILLING,
            flops=parts.flops,
        ),
        lazy=Lazy(eager, partial(_inferred_arguments, dims)) if lazy else None,
    )


def _inferred_arguments(dims: int, input: Shape) -> Mapping[str, Any]:
    """The number of channels, which a lazy layer infers."""
    return {"num_features": input[-1 - dims]}


def _functional_instance_norm_spec() -> LayerSpec:
    name = "functional.instance_norm"
    valid = partial(cases.instance_norms, name)
    mean = Input("running_mean", "statistic", differentiable=False, updated=True, optional=True)
    signature = Signature(
        (Argument("use_input_stats", True, alternative=False), parts.MOMENTUM, parts.EPS),
        (Input("input"), mean, replace(mean, name="running_var", any_value=False), *_WEIGHTS),
        (Output("output"),),
        supports_complex=False,
    )
    breaks = invalid.functional_instance_norm_breaks(signature, parts.CHANNELWISE)
    return LayerSpec(
        name,
        "normalization",
        signature=signature,
        shapes=parts.CHANNELWISE,
        oracle=Oracle(
            values=oracle.functional_instance_norm,
            formula=(parts.FORMULA, "x_new = (1 - momentum) * x + momentum * x_t"),
            propagation=propagation.instance_propagation(True),
        ),
        generation=Generation(
            cases=valid, invalid=invalid_cases(valid, breaks), examples_fraction=0.35
        ),
        variation=Variation(allows=partial(_allows_instance_norm, True)),
        traits=Traits(updates_state=_function_updates),
        conditions=Conditions(
            derived_facts={"batch_statistics": partial(_uses_own_statistics, True)}
        ),
        laws=laws.INSTANCE,
        benchmark=Benchmark(
            workloads=(
                Workload(
                    name,
                    "resnet 64",
                    {},
                    (_WORKLOAD_SHAPES[2], *(_WORKLOAD_SHAPES[2][1:2],) * 4),
                    small=True,
                ),
            ),
            filling=parts.FILLING,
            flops=parts.flops,
        ),
    )


def _allows_group_norm(spec: LayerSpec, case: Case) -> bool:
    """Whether a group has more than one number: a single number has no variance."""
    x = case.inputs[0]
    return x is not None and x.size != case.call.arguments["num_groups"]


def _largest_offset(facts: FactsLike) -> int | None:
    """Largest distance of a group's mean from 0, in its standard deviations."""
    x, groups = facts.case.inputs[0], facts.get("num_groups")
    if x is None or not x.size or not isinstance(groups, int) or not 0 < groups <= x.shape[1]:
        return None
    rows = x.reshape(len(x), groups, -1)
    with np.errstate(all="ignore"):
        ratios = np.abs(rows.mean(-1)) / rows.std(-1)
    return int(np.nan_to_num(ratios, nan=0.0, posinf=2.0**62).max())


def _group_norm_spec(name: str) -> LayerSpec:
    valid, function = partial(cases.group_norms, name), is_function(name)
    image, channels = _WORKLOAD_SHAPES[2], _WORKLOAD_SHAPES[2][1]
    num_channels = Argument("num_channels", simplest=1, size=True)
    affine = Argument("affine", True, alternative=False)
    signature = Signature(
        (
            Argument("num_groups", simplest=1),
            *((parts.EPS,) if function else (num_channels, parts.EPS, affine, parts.BIAS)),
        ),
        (Input("input"), *(_BY_NAME if function else ())),
        (Output("output"),),
        supports_complex=False,
    )
    shapes = _FUNCTIONAL_GROUP if function else _GROUP
    timed_arguments = (
        {"num_groups": 32} if function else {"num_groups": 32, "num_channels": channels}
    )
    timed_shapes = (image, *((channels,),) * 2) if function else (image,)
    return LayerSpec(
        name,
        "normalization",
        signature=signature,
        shapes=shapes,
        oracle=Oracle(
            values=oracle.functional_group_norm if function else oracle.group_norm,
            formula=(parts.FORMULA, "Var[x]: the biased estimator, of each group"),
            propagation=propagation.group_propagation,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.group_norm_breaks(signature, shapes)),
            examples_fraction=0.35 if function else 0.4,
        ),
        variation=Variation(allows=_allows_group_norm),
        state=State() if function else State(tensors_from_shapes=parts.initial_tensors),
        conditions=Conditions(derived_facts={"offset": _largest_offset}),
        laws=laws.GROUP,
        benchmark=Benchmark(
            workloads=(
                Workload(name, "resnet 64 in 32", timed_arguments, timed_shapes, small=True),
            ),
            filling=parts.FILLING,
            flops=parts.flops,
        ),
    )


def _rms_norm_spec(name: str) -> LayerSpec:
    valid, function = partial(cases.rms_norms, name), is_function(name)
    affine = Argument("elementwise_affine", True, alternative=False)
    simplest = (1,) if function else 1
    normalized_shape = Argument(
        "normalized_shape", simplest=simplest, size=True, form=Form(sequence=not function)
    )
    signature = Signature(
        (
            normalized_shape,
            Argument("eps", None, alternative=0.1),
            *(() if function else (affine,)),
        ),
        (Input("input", batch_axis=parts.leading_axis), *(_BY_NAME[:1] if function else ())),
        (Output("output", parts.leading_axis),),
        supports_complex=False,
    )
    weight = "*normalized_shape" if function else "*normalized_shape if elementwise_affine"
    input_axes = "*batch *normalized_shape"
    # A weight of another dtype is valid: the result gets the wider dtype.
    promoted = ("weight of another dtype",) if function else ()
    shapes = Shapes({"input": input_axes, "weight": weight, "output": input_axes})
    return LayerSpec(
        name,
        "normalization",
        signature=signature,
        shapes=shapes,
        oracle=Oracle(
            values=oracle.functional_rms_norm if function else oracle.rms_norm,
            formula=("y_i = x_i / RMS(x) * gamma_i", "RMS(x) = sqrt(eps + 1/n * sum_i x_i^2)"),
            propagation=propagation.square_propagation,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, row_breaks(signature, shapes, promoted)),
            examples_fraction=0.4,
        ),
        state=State() if function else State(tensors_from_shapes=parts.initial_tensors),
        laws=laws.SQUARE,
        benchmark=Benchmark(
            workloads=tuple(
                Workload(
                    name,
                    title,
                    {"normalized_shape": shape[-1:] if function else shape[-1]},
                    (shape, shape[-1:]) if function else (shape,),
                    small=k == 0,
                )
                for k, (title, shape) in enumerate(parts.TIMED_ROWS)
            ),
            filling=parts.FILLING,
            flops=parts.flops,
        ),
    )


def _local_response_norm_spec(name: str) -> LayerSpec:
    valid = partial(cases.response_norms, name)
    signature = Signature(
        (
            Argument("size", simplest=1),
            Argument("alpha", 1e-4, alternative=1.0),
            Argument("beta", 0.75, alternative=1.0),
            Argument("k", 1.0, alternative=2.0),
        ),
        (Input("input"),),
        (Output("output"),),
        supports_complex=False,
        takes_device_and_dtype=False,
    )
    return LayerSpec(
        name,
        "normalization",
        signature=signature,
        shapes=_SPATIAL,
        oracle=Oracle(
            values=oracle.local_response_norm,
            formula=("b_c = a_c * (k + alpha/n * sum_c' a_c'^2) ^ -beta",),
            propagation=propagation.neighbour_propagation,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.response_norm_breaks(signature, _SPATIAL)),
            examples_fraction=0.25,
        ),
        laws=laws.RESPONSE,
        benchmark=Benchmark(
            workloads=(Workload(name, "alexnet 96", {"size": 5}, ((8, 96, 27, 27),), small=True),),
            filling=parts.FILLING,
            flops=parts.flops,
        ),
    )


def _has_odd_size(spec: LayerSpec, case: Case) -> bool:
    """Whether the window has an odd number of channels: even windows are not documented."""
    return bool(case.call.arguments["size"] % 2)


def _cross_map_lrn_spec() -> LayerSpec:
    """CrossMapLRN2d, which is undocumented and accepts images only."""
    name = "CrossMapLRN2d"
    spec = _local_response_norm_spec("LocalResponseNorm")
    valid = partial(cases.cross_map_norms, name)
    breaks = invalid.cross_map_breaks(spec.signature, _IMAGES)
    return replace(
        spec,
        name=name,
        shapes=_IMAGES,
        oracle=replace(spec.oracle, values=oracle.cross_map_lrn),
        generation=replace(spec.generation, cases=valid, invalid=invalid_cases(valid, breaks)),
        variation=Variation(allows=_has_odd_size),
        laws=laws.CROSS_MAP,
        benchmark=replace(
            spec.benchmark,
            workloads=(Workload(name, "alexnet 96", {"size": 5}, ((8, 96, 27, 27),), small=True),),
        ),
    )


def instance_norm_specs() -> Iterator[LayerSpec]:
    """InstanceNorm1d to 3d, then their lazy forms."""
    for lazy in (False, True):
        for dims in (1, 2, 3):
            yield _instance_norm_spec(dims, lazy=lazy)


def module_specs() -> Iterator[LayerSpec]:
    """GroupNorm, RMSNorm, LocalResponseNorm and CrossMapLRN2d."""
    yield _group_norm_spec("GroupNorm")
    yield _rms_norm_spec("RMSNorm")
    yield _local_response_norm_spec("LocalResponseNorm")
    yield _cross_map_lrn_spec()


def function_specs() -> Iterator[LayerSpec]:
    """The functions of all these modules that torch has."""
    yield _functional_instance_norm_spec()
    yield _group_norm_spec("functional.group_norm")
    yield _rms_norm_spec("functional.rms_norm")
    yield _local_response_norm_spec("functional.local_response_norm")
