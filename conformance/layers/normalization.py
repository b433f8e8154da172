"""LayerNorm and BatchNorm: modules and functions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.laws import normalization as laws
from conformance.layers.normalization_propagation import by_channel, by_row, uses_batch_statistics
from conformance.layers.row import Argument, Input, Output, Row, Traits, stateless
from conformance.layers.sizes import resized, sizes_of
from conformance.layers.state import Constant, Shape, StateTensor
from conformance.layers.workload import Filling, Workload
from conformance.model.case import Call, Case
from conformance.oracles import normalization as oracle
from conformance.strategies import normalization as cases
from conformance.strategies.invalid import normalization as invalid
from conformance.strategies.invalid.breaks import invalid_cases

if TYPE_CHECKING:
    from conformance.model.protocols import FactsLike

_FORMULA = "y = (x - E[x]) / sqrt(Var[x] + eps) * gamma + beta"
_ONES, _ZEROS = Constant(1.0), Constant(0.0)
_EPS = Argument("eps", 1e-5, other=0.1)
_MOMENTUM = Argument("momentum", 0.1, other=0.5)


def _from_batch(found: FactsLike) -> bool:
    return uses_batch_statistics(found.case)


def _rows_apart(case: Case) -> int | None:
    return None if uses_batch_statistics(case) else 0


def _leading(case: Case) -> int | None:
    """The first axis, if it is not normalised."""
    x = case.inputs[0]
    sizes = sizes_of(case.call.arguments["normalized_shape"])
    return 0 if x is not None and x.ndim > len(sizes) else None


def _layer_norm_state(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """Weight and bias of the shape that is normalised."""
    shape = sizes_of(arguments["normalized_shape"])
    if not arguments.get("elementwise_affine", True):
        return ()
    weight = StateTensor("weight", shape, _ONES)
    return (
        (weight, StateTensor("bias", shape, _ZEROS)) if arguments.get("bias", True) else (weight,)
    )


def _batch_norm_state(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """Weight and bias of each channel, the running statistics, and how many batches they are of."""
    shape, found = (arguments["num_features"],), list[StateTensor]()
    if arguments.get("affine", True):
        found.append(StateTensor("weight", shape, _ONES))
        if arguments.get("bias", True):
            found.append(StateTensor("bias", shape, _ZEROS))
    if arguments.get("track_running_stats", True):
        found += [
            StateTensor("running_mean", shape, _ZEROS, buffer=True),
            StateTensor("running_var", shape, _ONES, buffer=True, constraint="positive"),
            StateTensor(
                "num_batches_tracked", (), _ZEROS, buffer=True, integer=True, constraint="count"
            ),
        ]
    return tuple(found)


def _refit(row: Row, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with the state that other arguments ask for, and an input of other sizes."""
    first, state = case.inputs[0], case.call.state
    assert first is not None
    shape = first.shape
    if row.argument("normalized_shape") is not None:
        old, new = (sizes_of(a["normalized_shape"]) for a in (case.call.arguments, arguments))
        shape = (*shape[: len(shape) - len(old)], *new)
    else:
        if len(shape) != row.dims + 2:
            return None
        shape = (shape[0], arguments["num_features"], *shape[2:])
        batch = case.call.training or not arguments.get("track_running_stats", True)
        if batch and math.prod(shape) == shape[1]:
            return None  # one number has no variance
    if first.size == 0 and math.prod(shape):
        return None
    wanted = {x.name: x for x in row.state(arguments, shape)}
    source = np.concatenate([x.reshape(-1) for x in state.values()] or [np.ones(1)])
    arrays: dict[str, np.ndarray] = {}
    for name, tensor in wanted.items():
        if name in state:
            arrays[name] = resized(state[name], tensor.shape)
        elif tensor.constraint == "any":
            arrays[name] = resized(source, tensor.shape)
        else:
            arrays[name] = np.zeros((), np.int64) if tensor.integer else np.ones(tensor.shape)
    layouts = {k: v for k, v in case.call.layouts.items() if k in arrays}
    call = replace(case.call, arguments=arguments, state=arrays, layouts=layouts)
    return replace(case, call=call, inputs=(resized(first, shape),))


def _shape_refit(row: Row, case: Case, arguments: dict[str, Any]) -> Case | None:
    """A function's tensors in the sizes of another normalized_shape."""
    old, new = (sizes_of(a["normalized_shape"]) for a in (case.call.arguments, arguments))
    x, *weights = case.inputs
    assert x is not None
    if x.size == 0:
        return None
    inputs = (
        resized(x, (*x.shape[: x.ndim - len(old)], *new)),
        *(None if w is None else resized(w, new) for w in weights),
    )
    return replace(case, call=replace(case.call, arguments=arguments), inputs=inputs)


def _mode_refit(row: Row, case: Case, arguments: dict[str, Any]) -> Case | None:
    """A function's tensors serve either mode, but for what one of them needs."""
    x, centre = case.inputs[:2]
    assert x is not None
    if arguments.get("training", False):
        if x.size == x.shape[1]:
            return None
    elif centre is None:
        return None
    return replace(case, call=replace(case.call, arguments=arguments))


def _trains(case: Case) -> bool:
    """One number a channel has no variance: torch refuses it."""
    x = case.inputs[0]
    return x is not None and x.size != x.shape[1]


def _updates(call: Call) -> bool:
    return call.training and bool(call.arguments.get("track_running_stats", True))


def _function_updates(call: Call) -> bool:
    return bool(call.arguments.get("training", False))


def _flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Two passes for the statistics, x̂ and its scaling."""
    return 7 * math.prod(outputs[0])


def _scaling_flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """x·s + t: the statistics are there."""
    return 2 * math.prod(outputs[0])


# Sizes of BERT-base after J. Devlin et al. (2019) and ResNet-50 after K. He et al. (2015).
_ROWS = (("bert 768", (4, 128, 768)), ("gpt 4096", (1, 64, 4096)))
_IMAGES = (("resnet 64", (8, 64, 56, 56)), ("resnet 512", (8, 512, 7, 7)))


def _workloads(name: str) -> Iterator[Workload]:
    for k, (title, shape) in enumerate(_ROWS if "ayer" in name else _IMAGES):
        if name == "LayerNorm":
            yield Workload(name, title, {"normalized_shape": shape[-1]}, (shape,), k == 0)
        elif name == "BatchNorm2d":
            yield Workload(name, title, {"num_features": shape[1]}, (shape,), k == 0)
        elif "ayer" in name:
            rows = (shape, shape[-1:], shape[-1:])
            yield Workload(name, title, {"normalized_shape": shape[-1:]}, rows, k == 0)
        else:
            images = (shape, *(shape[1:2],) * 4)
            yield Workload(name, title, {"training": True}, images, k == 0)


_FILLING = Filling(contraction=False, wide_adjoints=True)


def _layer_norm() -> Row:
    valid = partial(cases.layer_norms, "LayerNorm")
    return Row(
        "LayerNorm",
        "normalization",
        (
            Argument("normalized_shape", plain=1, sequence=True),
            _EPS,
            Argument("elementwise_affine", True, other=False),
            Argument("bias", True, other=False),
        ),
        (Input("input", batch_axis=_leading),),
        (Output("output", _leading),),
        cases=valid,
        values=oracle.layer_norm,
        shapes=oracle.layer_norm_shape,
        formula=(_FORMULA, "Var[x]: the biased estimator"),
        complex=False,
        invalid=invalid_cases(valid, invalid.layer_norm_breaks("LayerNorm")),
        laws=laws.LAYER,
        state=_layer_norm_state,
        propagation=by_row,
        refit=_refit,
        workloads=tuple(_workloads("LayerNorm")),
        filling=_FILLING,
        flops=_flops,
    )


def _functional_layer_norm() -> Row:
    name = "functional.layer_norm"
    valid = partial(cases.layer_norms, name)
    return replace(
        _layer_norm(),
        name=name,
        arguments=(Argument("normalized_shape", plain=(1,)), _EPS),
        inputs=(
            Input("input", batch_axis=_leading),
            Input("weight", "weight", optional=True, by_name=True),
            Input("bias", "bias", optional=True, by_name=True),
        ),
        cases=valid,
        values=oracle.functional_layer_norm,
        shapes=oracle.functional_layer_norm_shape,
        invalid=invalid_cases(valid, invalid.layer_norm_breaks(name)),
        state=stateless,
        refit=_shape_refit,
        workloads=tuple(_workloads(name)),
    )


def _batch_norm_2d() -> Row:
    valid = partial(cases.batch_norms_2d, "BatchNorm2d")
    return Row(
        "BatchNorm2d",
        "normalization",
        (
            Argument("num_features", plain=1),
            _EPS,
            _MOMENTUM,
            Argument("affine", True, other=False),
            Argument("track_running_stats", True, other=False),
            Argument("bias", True, other=False),
        ),
        (Input("input", batch_axis=_rows_apart),),
        (Output("output", _rows_apart),),
        cases=valid,
        values=oracle.batch_norm_2d,
        shapes=oracle.batch_norm_2d_shape,
        formula=(
            _FORMULA,
            "x_new = (1 - momentum) * x + momentum * x_t",
            "running_var: the unbiased estimator",
        ),
        dims=2,
        complex=False,
        invalid=invalid_cases(valid, invalid.batch_norm_breaks("BatchNorm2d")),
        laws=laws.BATCH,
        state=_batch_norm_state,
        state_roles={
            "running_mean": "statistic",
            "running_var": "statistic",
            "num_batches_tracked": "statistic",
        },
        propagation=by_channel,
        traits=Traits(modes=True, updates=_updates, trains=_trains),
        derived={"batch_statistics": _from_batch},
        refit=_refit,
        workloads=tuple(_workloads("BatchNorm2d")),
        filling=_FILLING,
        flops=_scaling_flops,
        examples=1.5,
    )


def _functional_batch_norm() -> Row:
    name = "functional.batch_norm"
    valid = partial(cases.batch_norms, name)
    return Row(
        name,
        "normalization",
        (Argument("training", False, other=True), _MOMENTUM, _EPS),
        (
            Input("input", batch_axis=_rows_apart),
            Input("running_mean", "statistic", differentiable=False, updated=True),
            Input("running_var", "statistic", differentiable=False, signed=False, updated=True),
            Input("weight", "weight", optional=True),
            Input("bias", "bias", optional=True),
        ),
        (Output("output", _rows_apart),),
        cases=valid,
        values=oracle.functional_batch_norm,
        shapes=oracle.functional_batch_norm_shape,
        formula=(_FORMULA, "x_new = (1 - momentum) * x + momentum * x_t"),
        complex=False,
        invalid=invalid_cases(valid, invalid.batch_norm_breaks(name)),
        laws=laws.BATCH,
        propagation=by_channel,
        traits=Traits(updates=_function_updates),
        derived={"batch_statistics": _from_batch},
        refit=_mode_refit,
        workloads=tuple(_workloads(name)),
        filling=_FILLING,
        flops=_flops,
        examples=1.5,
    )


def rows() -> Iterator[Row]:
    """The rows, in the order of torch's documentation."""
    yield _batch_norm_2d()
    yield _layer_norm()
    yield _functional_batch_norm()
    yield _functional_layer_norm()
