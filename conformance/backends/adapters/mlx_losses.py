"""MLX's losses of `mlx.nn.losses`, some of those that are defined as torch's.

A triplet's eps is added elsewhere, hinge_loss is another loss, and kl_div_loss sums over an axis:
torch has none of these.
"""

from __future__ import annotations

from typing import Any

import mlx.nn as nn

from conformance.backends.adapters.mlx_parts import State
from conformance.backends.function import FunctionBackend, implements
from conformance.model.case import Call, Unsupported

_NAMES = {
    "L1Loss": "l1_loss", "MSELoss": "mse_loss", "SmoothL1Loss": "smooth_l1_loss",
    "HuberLoss": "huber_loss", "MarginRankingLoss": "margin_ranking_loss",
}  # fmt: skip


class Losses(FunctionBackend):
    """The part of MLX's adapter for losses."""

    @implements(
        *_NAMES, *(f"functional.{name}" for name in _NAMES.values()),
        passes=("beta", "delta", "margin"),
    )  # fmt: skip
    def loss(
        self, state: State, *inputs: Any, call: Call, reduction: str = "mean", **given: Any
    ) -> Any:
        """`nn.losses.l1_loss` and so on, of inputs of one shape."""
        name = _NAMES.get(call.layer, call.layer.removeprefix("functional."))
        arrays = [x for x in inputs if x is not None]
        if len(arrays) > 2 and name != "margin_ranking_loss":
            raise Unsupported("weight")
        if len({tuple(x.shape) for x in arrays}) > 1:
            # MLX documents no broadcasting of these; torch broadcasts some, and warns.
            raise Unsupported("inputs of several shapes")
        return getattr(nn.losses, name)(*arrays, reduction=reduction, **given)
