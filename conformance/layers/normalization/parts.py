"""Parts that normalisations share: arguments, shapes, state, sizes of timed calls."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from conformance.model.case import Call, Case
from conformance.oracles.normalization.modes import uses_batch_statistics
from conformance.spec.layer_spec import LayerSpec
from conformance.spec.shapes import Shapes
from conformance.spec.signature import Argument, Arguments
from conformance.spec.sizes import as_size_tuple
from conformance.spec.state import Constant, Shape, StateTensor
from conformance.spec.workload import Filling, Workload

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import FactsLike

FORMULA = "y = (x - E[x]) / sqrt(Var[x] + eps) * gamma + beta"
EPS = Argument("eps", 1e-5, alternative=0.1)
MOMENTUM = Argument("momentum", 0.1, alternative=0.5)
FEATURES = Argument("num_features", simplest=1, size=True)
BIAS = Argument("bias", True, alternative=False)
FILLING = Filling(contraction=False, wide_adjoints=True)
STATISTICS = {
    "running_mean": "statistic",
    "running_var": "statistic",
    "num_batches_tracked": "statistic",
}


def has_batch_statistics(facts: FactsLike) -> bool:
    """Whether the call normalises by the batch's own statistics, not by running ones."""
    return uses_batch_statistics(facts.case)


def cancellation(facts: FactsLike) -> int | None:
    """Largest mean² ÷ (variance + eps) of a channel of the batch.

    E[x²] − E[x]² rounds numbers that are so many times larger than what the channel is divided by.
    """
    x, eps = facts.case.inputs[0], facts.get("eps")
    if x is None or not x.size or x.ndim < 2 or not isinstance(eps, (int, float)):
        return None
    rows = np.moveaxis(x, 1, 0).reshape(x.shape[1], -1)
    with np.errstate(all="ignore"):
        ratios = rows.mean(-1) ** 2 / (rows.var(-1) + eps)
    return int(np.nan_to_num(ratios, nan=0.0, posinf=2.0**62).clip(0, 2.0**62).max())


BATCH_FACTS = {"batch_statistics": has_batch_statistics, "cancellation": cancellation}


def batch_axis(case: Case) -> int | None:
    """Axis 0 if samples are independent: not with statistics of the batch."""
    return None if uses_batch_statistics(case) else 0


def leading_axis(case: Case) -> int | None:
    """Axis 0, if it is not one of the normalised axes."""
    x = case.inputs[0]
    sizes = as_size_tuple(case.call.arguments["normalized_shape"])
    return 0 if x is not None and x.ndim > len(sizes) else None


def inferred_features(input: Shape) -> Arguments:
    """The number of channels, which a lazy layer infers."""
    return {"num_features": input[1]}


def channelwise_shapes(input: str) -> Shapes:
    """Shapes of a module with a weight and statistics per channel; `input` is the input's."""
    if_tracked = "if track_running_stats"
    return Shapes(
        {
            "input": input,
            "weight": "num_features if affine",
            "bias": "num_features if affine and bias",
            "running_mean": f"num_features {if_tracked}",
            "running_var": f"num_features {if_tracked}",
            "num_batches_tracked": f"() {if_tracked}",
            "output": input,
        }
    )


CHANNELWISE = Shapes(
    {
        "input": "batch channels *length",
        **dict.fromkeys(("running_mean", "running_var", "weight", "bias"), "channels"),
        "output": "batch channels *length",
    }
)
_STATE = (
    StateTensor("weight", (), Constant(1.0)),
    StateTensor("bias", (), Constant(0.0)),
    StateTensor("running_mean", (), Constant(0.0), buffer=True),
    StateTensor("running_var", (), Constant(1.0), buffer=True, constraint="positive"),
    StateTensor(
        "num_batches_tracked", (), Constant(0.0), buffer=True, integer=True, constraint="count"
    ),
)


def initial_tensors(arguments: Arguments, shapes: Mapping[str, Shape]) -> tuple[StateTensor, ...]:
    """The tensors of the state: weights and variances of 1, biases, means and counts of 0."""
    return tuple(replace(x, shape=shapes[x.name]) for x in _STATE if x.name in shapes)


def allows(spec: LayerSpec, case: Case) -> bool:
    """Whether variances are defined, and running statistics are present where they are used."""
    if uses_batch_statistics(case):
        return can_train(case)
    return len(case.inputs) == 1 or case.inputs[1] is not None


def can_train(case: Case) -> bool:
    """Whether a channel has more than one number: torch refuses a single one in training."""
    x = case.inputs[0]
    return x is not None and x.size != x.shape[1]


def updates(call: Call) -> bool:
    """Whether a call of a batch norm module updates running statistics."""
    return call.training and bool(call.arguments.get("track_running_stats", True))


def function_updates(call: Call) -> bool:
    """Whether a call of functional.batch_norm updates running statistics."""
    return bool(call.arguments.get("training", False))


def flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Operations: two passes for the statistics, x̂ and its scaling."""
    return 7 * math.prod(outputs[0])


def scaling_flops(workload: Workload, weights: Sequence[Shape], outputs: Sequence[Shape]) -> int:
    """Operations of x·s + t: in eval mode the statistics are known."""
    return 2 * math.prod(outputs[0])


# Sizes of BERT-base after J. Devlin et al. (2019) and ResNet-50 after K. He et al. (2015).
TIMED_ROWS = (
    ("bert 768", (4, 128, 768)),
    ("bert large 1024", (4, 128, 1024)),
    ("gpt 4096", (1, 64, 4096)),
    ("llama 8192", (1, 64, 8192)),
)
TIMED_IMAGES = (("resnet 64", (8, 64, 56, 56)), ("resnet 512", (8, 512, 7, 7)))
