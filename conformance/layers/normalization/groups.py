"""Normalisations of a sample by itself: modules, lazy modules and functions."""

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
from conformance.spec.axes import Axes
from conformance.spec.layer_spec import LayerSpec, Variation
from conformance.spec.parts import (
    Benchmark,
    Conditions,
    Generation,
    Lazy,
    Oracle,
    State,
    Traits,
    stateless,
)
from conformance.spec.signature import BY_NAME, Argument, Form, Input, Output, Signature
from conformance.spec.sizes import resized
from conformance.spec.state import Shape, StateTensor
from conformance.spec.workload import Workload
from conformance.strategies.invalid.breaks import invalid_cases
from conformance.strategies.invalid.normalization import groups as invalid
from conformance.strategies.normalization import groups as cases

if TYPE_CHECKING:
    from conformance.spec.trial_like import FactsLike

_WEIGHTS = (Input("weight", "weight", optional=True), Input("bias", "bias", optional=True))
_BY_NAME = tuple(replace(x, passed=BY_NAME) for x in _WEIGHTS)
_SIZES = {1: (8, 64, 3136), 2: (8, 64, 56, 56), 3: (2, 64, 8, 28, 28)}


def _samples(dims: int, case: Case) -> int | None:
    """The axis of the batch; a sample by itself has none."""
    x = case.inputs[0]
    return 0 if x is not None and x.ndim == dims + 2 else None


def _first_axis(case: Case) -> int | None:
    return 0


def _batch_statistics(usual: bool, found: FactsLike) -> bool:
    return uses_own_statistics(usual, found.case)


def _places(case: Case) -> int:
    """How many numbers a channel of a sample has."""
    x = case.inputs[0]
    assert x is not None
    rank = x.ndim - 2 if is_function(case.call.layer) else int(case.call.layer[-2])
    return math.prod(x.shape[x.ndim - rank :])


def _trains(case: Case) -> bool:
    return _places(case) != 1


def _updates(usual: bool, call: Call) -> bool:
    return call.training and bool(call.arguments.get("track_running_stats", usual))


def _function_updates(call: Call) -> bool:
    return bool(call.arguments.get("use_input_stats", True))


def _instance_refit(
    usual: bool, row: LayerSpec, case: Case, arguments: dict[str, Any]
) -> Case | None:
    """The case with another number of channels; None where one number would have no variance."""
    first = case.inputs[0]
    assert first is not None
    axis = first.ndim - 1 - row.signature.dims
    if axis not in (0, 1):
        return None
    count = arguments.get("num_features", first.shape[axis])
    shape = (*first.shape[:axis], count, *first.shape[axis + 1 :])
    own = case.call.training or not arguments.get("track_running_stats", usual)
    if own and math.prod(shape[axis + 1 :]) == 1:
        return None
    return parts.with_state(row, case, arguments, shape)


def _instance_mode_refit(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """A function's tensors serve either mode, but for what one of them needs."""
    if arguments.get("use_input_stats", True):
        if _places(case) == 1:
            return None
    elif case.inputs[1] is None:
        return None
    given = case.inputs[1:3]
    if (given[0] is None) != (given[1] is None):
        return None  # both, or none
    return replace(case, call=replace(case.call, arguments=arguments))


def _instance_norm(dims: int, *, lazy: bool = False) -> LayerSpec:
    eager = f"InstanceNorm{dims}d"
    name = f"Lazy{eager}" if lazy else eager
    valid = partial(cases.instance_modules, name)
    samples, shape = partial(_samples, dims), _SIZES[dims]
    sizes = {} if lazy else {"num_features": shape[1]}
    return LayerSpec(
        name,
        "normalization",
        signature=Signature(
            (
                *(() if lazy else (parts.FEATURES,)),
                parts.EPS,
                parts.MOMENTUM,
                Argument("affine", lazy, other=not lazy),
                Argument("track_running_stats", lazy, other=not lazy),
                parts.BIAS,
            ),
            (Input("input", batch_axis=samples),),
            (Output("output", samples),),
            dims=dims,
            complex=False,
        ),
        oracle=Oracle(
            values=partial(oracle.instance_norm, dims, lazy),
            shapes=oracle.instance_norm_shape,
            formula=(parts.FORMULA, "x_new = (1 - momentum) * x + momentum * x_t"),
            propagation=propagation.by_instance(lazy),
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.instance_norm_breaks(name)),
            examples=0.15 if lazy else 0.3,
        ),
        variation=Variation(refit=partial(_instance_refit, lazy)),
        state=State(partial(parts.channel_state, lazy), roles=parts.STATISTICS),
        traits=Traits(modes=True, updates=partial(_updates, lazy), trains=_trains),
        conditions=Conditions(derived={"batch_statistics": partial(_batch_statistics, lazy)}),
        laws=(*laws.INSTANCE, laws.eager) if lazy else laws.INSTANCE,
        benchmark=Benchmark(
            workloads=(Workload(name, f"{dims} dimensions", sizes, (shape,), small=True),),
            filling=parts.FILLING,
            flops=parts.flops,
        ),
        lazy=Lazy(eager, partial(_inferred, dims)) if lazy else None,
    )


def _inferred(dims: int, input: Shape) -> Mapping[str, Any]:
    """The number of channels of a lazy layer."""
    return {"num_features": input[-1 - dims]}


def _functional_instance_norm() -> LayerSpec:
    name = "functional.instance_norm"
    valid = partial(cases.instance_norms, name)
    return LayerSpec(
        name,
        "normalization",
        signature=Signature(
            (Argument("use_input_stats", True, other=False), parts.MOMENTUM, parts.EPS),
            (
                Input("input", batch_axis=_first_axis),
                Input(
                    "running_mean", "statistic", differentiable=False, updated=True, optional=True
                ),
                Input(
                    "running_var",
                    "statistic",
                    differentiable=False,
                    signed=False,
                    updated=True,
                    optional=True,
                ),
                *_WEIGHTS,
            ),
            (Output("output", _first_axis),),
            complex=False,
        ),
        oracle=Oracle(
            values=oracle.functional_instance_norm,
            shapes=oracle.functional_instance_norm_shape,
            formula=(parts.FORMULA, "x_new = (1 - momentum) * x + momentum * x_t"),
            propagation=propagation.by_instance(True),
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.instance_norm_breaks(name)),
            examples=0.35,
        ),
        variation=Variation(refit=_instance_mode_refit, shared=parts.channels),
        traits=Traits(updates=_function_updates),
        conditions=Conditions(derived={"batch_statistics": partial(_batch_statistics, True)}),
        laws=laws.INSTANCE,
        benchmark=Benchmark(
            workloads=(
                Workload(name, "resnet 64", {}, (_SIZES[2], *(_SIZES[2][1:2],) * 4), small=True),
            ),
            filling=parts.FILLING,
            flops=parts.flops,
        ),
    )


def _group_state(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """Weight and bias of each channel."""
    if not arguments.get("affine", True):
        return ()
    shape = (arguments["num_channels"],)
    weight, bias = StateTensor("weight", shape, parts.ONES), StateTensor("bias", shape, parts.ZEROS)
    return (weight, bias) if arguments.get("bias", True) else (weight,)


def _group_refit(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with another number of groups or channels; None where these do not divide."""
    x, *weights = case.inputs
    assert x is not None
    channels, groups = arguments.get("num_channels", x.shape[1]), arguments["num_groups"]
    shape = (x.shape[0], channels, *x.shape[2:])
    if channels % groups or math.prod(shape) == groups:
        return None
    if not row.function:
        return parts.with_state(row, case, arguments, shape)
    inputs = (resized(x, shape), *weights)
    return replace(case, call=replace(case.call, arguments=arguments), inputs=inputs)


def _offset(found: FactsLike) -> int | None:
    """How many of its deviations the mean of a group is from 0, of the group farthest from it."""
    x, groups = found.case.inputs[0], found.get("num_groups")
    if x is None or not x.size or not isinstance(groups, int) or not 0 < groups <= x.shape[1]:
        return None
    rows = x.reshape(len(x), groups, -1)
    with np.errstate(all="ignore"):
        ratios = np.abs(rows.mean(-1)) / rows.std(-1)
    return int(np.nan_to_num(ratios, nan=0.0, posinf=2.0**62).max())


def _group_norm() -> LayerSpec:
    valid = partial(cases.group_norms, "GroupNorm")
    return LayerSpec(
        "GroupNorm",
        "normalization",
        signature=Signature(
            (
                Argument("num_groups", plain=1),
                Argument("num_channels", plain=1, size=True),
                parts.EPS,
                Argument("affine", True, other=False),
                parts.BIAS,
            ),
            (Input("input", batch_axis=_first_axis),),
            (Output("output", _first_axis),),
            complex=False,
        ),
        oracle=Oracle(
            values=oracle.group_norm,
            shapes=oracle.weighted_shape,
            formula=(parts.FORMULA, "Var[x]: the biased estimator, of each group"),
            propagation=propagation.by_group,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.group_norm_breaks("GroupNorm")),
            examples=0.4,
        ),
        variation=Variation(refit=_group_refit, free=parts.length),
        state=State(_group_state),
        conditions=Conditions(derived={"offset": _offset}),
        laws=laws.GROUP,
        benchmark=Benchmark(
            workloads=(
                Workload(
                    "GroupNorm",
                    "resnet 64 in 32",
                    {"num_groups": 32, "num_channels": 64},
                    (_SIZES[2],),
                    small=True,
                ),
            ),
            filling=parts.FILLING,
            flops=parts.flops,
        ),
    )


def _one_group(case: Case) -> tuple[Axes, ...]:
    """The channels, where any number of them is one group."""
    return parts.channels(case) if case.call.arguments["num_groups"] == 1 else ()


def _functional_group_norm() -> LayerSpec:
    name = "functional.group_norm"
    valid = partial(cases.group_norms, name)
    inputs = (_SIZES[2], *(_SIZES[2][1:2],) * 2)
    base = _group_norm()
    return replace(
        base,
        name=name,
        signature=replace(
            base.signature,
            arguments=(Argument("num_groups", plain=1), parts.EPS),
            inputs=(Input("input", batch_axis=_first_axis), *_BY_NAME),
        ),
        oracle=replace(base.oracle, values=oracle.functional_group_norm),
        generation=replace(
            base.generation,
            cases=valid,
            invalid=invalid_cases(valid, invalid.group_norm_breaks(name)),
            examples=0.35,
        ),
        variation=replace(base.variation, shared=_one_group),
        state=replace(base.state, tensors=stateless),
        benchmark=replace(
            base.benchmark,
            workloads=(Workload(name, "resnet 64 in 32", {"num_groups": 32}, inputs, small=True),),
        ),
    )


def _square_state(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """A weight of the shape that is normalised."""
    return parts.row_state({**arguments, "bias": False}, input)


def _rms_norm(name: str) -> LayerSpec:
    valid, function = partial(cases.rms_norms, name), is_function(name)
    affine = Argument("elementwise_affine", True, other=False)
    plain = (1,) if function else 1
    sizes = Argument("normalized_shape", plain=plain, size=True, form=Form(sequence=not function))
    return LayerSpec(
        name,
        "normalization",
        signature=Signature(
            (sizes, Argument("eps", None, other=0.1), *(() if function else (affine,))),
            (Input("input", batch_axis=parts.leading), *(_BY_NAME[:1] if function else ())),
            (Output("output", parts.leading),),
            complex=False,
        ),
        oracle=Oracle(
            values=oracle.functional_rms_norm if function else oracle.rms_norm,
            shapes=oracle.weighted_shape,
            formula=("y_i = x_i / RMS(x) * gamma_i", "RMS(x) = sqrt(eps + 1/n * sum_i x_i^2)"),
            propagation=propagation.by_square,
        ),
        generation=Generation(
            cases=valid, invalid=invalid_cases(valid, invalid.rms_norm_breaks(name)), examples=0.4
        ),
        variation=Variation(refit=parts.shape_refit if function else parts.row_refit),
        state=State(stateless if function else _square_state),
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
                for k, (title, shape) in enumerate(parts.ROWS)
            ),
            filling=parts.FILLING,
            flops=parts.flops,
        ),
    )


def _all_but_samples(case: Case) -> tuple[Axes, ...]:
    x = case.inputs[0]
    return () if x is None else tuple(((0, axis),) for axis in range(1, x.ndim))


def _local_response_norm(name: str) -> LayerSpec:
    valid = partial(cases.response_norms, name)
    return LayerSpec(
        name,
        "normalization",
        signature=Signature(
            (
                Argument("size", plain=1),
                Argument("alpha", 1e-4, other=1.0),
                Argument("beta", 0.75, other=1.0),
                Argument("k", 1.0, other=2.0),
            ),
            (Input("input", batch_axis=_first_axis),),
            (Output("output", _first_axis),),
            complex=False,
            placed=False,
        ),
        oracle=Oracle(
            values=oracle.local_response_norm,
            shapes=oracle.weighted_shape,
            formula=("b_c = a_c * (k + alpha/n * sum_c' a_c'^2) ^ -beta",),
            propagation=propagation.by_neighbour,
        ),
        generation=Generation(
            cases=valid,
            invalid=invalid_cases(valid, invalid.response_norm_breaks(name)),
            examples=0.25,
        ),
        variation=Variation(free=_all_but_samples),
        laws=laws.RESPONSE,
        benchmark=Benchmark(
            workloads=(Workload(name, "alexnet 96", {"size": 5}, ((8, 96, 27, 27),), small=True),),
            filling=parts.FILLING,
            flops=parts.flops,
        ),
    )


def _odd_refit(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with another window, of an odd number of channels: of others nothing is known."""
    odd = arguments["size"] % 2
    return replace(case, call=replace(case.call, arguments=arguments)) if odd else None


def _cross_map_lrn() -> LayerSpec:
    """Undocumented, and refused of any input but images."""
    name = "CrossMapLRN2d"
    row = _local_response_norm("LocalResponseNorm")
    valid = partial(cases.cross_maps, name)
    return replace(
        row,
        name=name,
        oracle=replace(row.oracle, values=oracle.cross_map_lrn),
        generation=replace(
            row.generation, cases=valid, invalid=invalid_cases(valid, invalid.cross_map_breaks())
        ),
        variation=replace(row.variation, refit=_odd_refit),
        laws=laws.CROSS_MAP,
        benchmark=replace(
            row.benchmark,
            workloads=(Workload(name, "alexnet 96", {"size": 5}, ((8, 96, 27, 27),), small=True),),
        ),
    )


def instance_rows() -> Iterator[LayerSpec]:
    """InstanceNorm1d to 3d, then their lazy forms."""
    for lazy in (False, True):
        for dims in (1, 2, 3):
            yield _instance_norm(dims, lazy=lazy)


def module_rows() -> Iterator[LayerSpec]:
    """The other modules."""
    yield _group_norm()
    yield _rms_norm("RMSNorm")
    yield _local_response_norm("LocalResponseNorm")
    yield _cross_map_lrn()


def function_rows() -> Iterator[LayerSpec]:
    """The functions."""
    yield _functional_instance_norm()
    yield _functional_group_norm()
    yield _rms_norm("functional.rms_norm")
    yield _local_response_norm("functional.local_response_norm")
