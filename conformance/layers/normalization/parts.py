"""What rows of normalisations share: arguments, state, arrays fitted to other arguments, sizes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformance.model.case import Call, Case
from conformance.oracles.normalization.modes import uses_batch_statistics
from conformance.spec.axes import Axes, joined
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.signature import Argument
from conformance.spec.sizes import resized, sizes_of
from conformance.spec.state import Constant, Shape, StateTensor
from conformance.spec.workload import Filling, Workload

if TYPE_CHECKING:
    from conformance.spec.trial_like import FactsLike

FORMULA = "y = (x - E[x]) / sqrt(Var[x] + eps) * gamma + beta"
ONES, ZEROS = Constant(1.0), Constant(0.0)
EPS = Argument("eps", 1e-5, other=0.1)
MOMENTUM = Argument("momentum", 0.1, other=0.5)
FEATURES = Argument("num_features", plain=1, size=True)
BIAS = Argument("bias", True, other=False)
FILLING = Filling(contraction=False, wide_adjoints=True)
STATISTICS = {
    "running_mean": "statistic",
    "running_var": "statistic",
    "num_batches_tracked": "statistic",
}


def from_batch(found: FactsLike) -> bool:
    """Whether the batch's own statistics are used."""
    return uses_batch_statistics(found.case)


def rows_apart(case: Case) -> int | None:
    """The axis of the batch, if its samples are each by itself."""
    return None if uses_batch_statistics(case) else 0


def leading(case: Case) -> int | None:
    """The first axis, if it is not normalised."""
    x = case.inputs[0]
    sizes = sizes_of(case.call.arguments["normalized_shape"])
    return 0 if x is not None and x.ndim > len(sizes) else None


def length(case: Case) -> tuple[Axes, ...]:
    """The axes behind the channels."""
    x = case.inputs[0]
    return () if x is None else tuple(((0, axis),) for axis in range(2, x.ndim))


def inferred_features(input: Shape) -> Mapping[str, Any]:
    """The number of channels of a lazy layer."""
    return {"num_features": input[1]}


def row_state(arguments: Mapping[str, Any], input: Shape) -> tuple[StateTensor, ...]:
    """Weight and bias of the shape that is normalised."""
    shape = sizes_of(arguments["normalized_shape"])
    if not arguments.get("elementwise_affine", True):
        return ()
    weight = StateTensor("weight", shape, ONES)
    return (weight, StateTensor("bias", shape, ZEROS)) if arguments.get("bias", True) else (weight,)


def channel_state(
    usual: bool, arguments: Mapping[str, Any], input: Shape
) -> tuple[StateTensor, ...]:
    """Weight and bias of each channel, the running statistics, and how many batches they are of.

    Args:
        usual: the default of `affine` and of `track_running_stats`.
        arguments: of the call.
        input: shape of the first input.
    """
    shape, found = (arguments["num_features"],), list[StateTensor]()
    if arguments.get("affine", usual):
        found.append(StateTensor("weight", shape, ONES))
        if arguments.get("bias", True):
            found.append(StateTensor("bias", shape, ZEROS))
    if arguments.get("track_running_stats", usual):
        found += [
            StateTensor("running_mean", shape, ZEROS, buffer=True),
            StateTensor("running_var", shape, ONES, buffer=True, constraint="positive"),
            StateTensor(
                "num_batches_tracked", (), ZEROS, buffer=True, integer=True, constraint="count"
            ),
        ]
    return tuple(found)


def with_state(row: LayerSpec, case: Case, arguments: dict[str, Any], shape: Shape) -> Case | None:
    """The case with an input of a shape, and the state that its new arguments ask for."""
    first, state = case.inputs[0], case.call.state
    assert first is not None
    if first.size == 0 and 0 not in shape:
        return None
    wanted = {x.name: x for x in row.state_tensors({**arguments, **row.inferred(shape)}, shape)}
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


def row_refit(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with the sizes of another normalized_shape."""
    first = case.inputs[0]
    assert first is not None
    old, new = (sizes_of(a["normalized_shape"]) for a in (case.call.arguments, arguments))
    return with_state(row, case, arguments, (*first.shape[: first.ndim - len(old)], *new))


def channel_refit(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """The case with another number of channels; None where one number would have no variance."""
    first = case.inputs[0]
    assert first is not None
    shape = first.shape
    if row.signature.dims and len(shape) != row.signature.dims + 2:
        return None
    shape = (shape[0], arguments.get("num_features", shape[1]), *shape[2:])
    batch = case.call.training or not arguments.get("track_running_stats", True)
    if batch and math.prod(shape) == shape[1]:
        return None
    return with_state(row, case, arguments, shape)


def shape_refit(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
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


def channels(case: Case) -> tuple[Axes, ...]:
    """The channels of a function's input, statistics and weights."""
    return (joined(case, (0, 1), *((place, 0) for place in range(1, len(case.inputs)))),)


def mode_refit(row: LayerSpec, case: Case, arguments: dict[str, Any]) -> Case | None:
    """A function's tensors serve either mode, but for what one of them needs."""
    x, centre = case.inputs[:2]
    assert x is not None
    if arguments.get("training", False):
        if x.size == x.shape[1]:
            return None
    elif centre is None:
        return None
    return replace(case, call=replace(case.call, arguments=arguments))


def trains(case: Case) -> bool:
    """One number a channel has no variance: torch refuses it."""
    x = case.inputs[0]
    return x is not None and x.size != x.shape[1]


def updates(call: Call) -> bool:
    """Whether a batch normalisation's module keeps statistics."""
    return call.training and bool(call.arguments.get("track_running_stats", True))


def function_updates(call: Call) -> bool:
    """Whether functional.batch_norm keeps statistics."""
    return bool(call.arguments.get("training", False))


def flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Two passes for the statistics, x̂ and its scaling."""
    return 7 * math.prod(outputs[0])


def scaling_flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """x·s + t: the statistics are there."""
    return 2 * math.prod(outputs[0])


# Sizes of BERT-base after J. Devlin et al. (2019) and ResNet-50 after K. He et al. (2015).
ROWS = (
    ("bert 768", (4, 128, 768)),
    ("bert large 1024", (4, 128, 1024)),
    ("gpt 4096", (1, 64, 4096)),
    ("llama 8192", (1, 64, 8192)),
)
IMAGES = (("resnet 64", (8, 64, 56, 56)), ("resnet 512", (8, 512, 7, 7)))
