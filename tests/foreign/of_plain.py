"""A `FunctionBackend` in NumPy whose calls draw, and change what they hold; and bugs in it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from conformance import Call
from conformance.backends import FunctionBackend, implements
from conformance.model.case import Unsupported, Updated

from . import around
from .bug import plant, plant_around

FAITHFUL = "foreign.of_plain:Plain"


class Plain(FunctionBackend):
    """Layers in float64, rounded once."""

    name = "plain"

    def offers(self, layer: str, dtype: str, device: str) -> bool:
        """What is computed in float64 is exact enough in float32."""
        return dtype == "float32"

    @implements("Dropout", passes=("p",))
    def dropout(self, state: Any, input: Any, *, training: bool, inplace: bool = False,
                p: float = 0.5) -> Any:  # fmt: skip
        """A number of each element is drawn."""
        if inplace:
            raise Unsupported("inplace")
        if not 0 <= p <= 1:
            raise ValueError(f"p={p}")
        return self.drop_elements(input, p) if training else input.copy()

    def drop_elements(self, x: Any, p: float) -> Any:
        """What stays is scaled."""
        keep_mask = np.random.default_rng().random(x.shape) >= p
        return np.where(keep_mask, x / np.float32(1 - p if p < 1 else 1), np.float32(0) * x)

    @implements("BatchNorm2d", passes=("eps", "momentum"), ignores=("num_features", "affine"))
    def batch_norm(
        self, state: Any, input: Any, *, training: bool, call: Call, eps: float = 1e-5,
        momentum: float | None = 0.1, track_running_stats: bool = True,
    ) -> Any:  # fmt: skip
        """Normalised by the batch, or by what is remembered of earlier ones."""
        x = input.astype(np.float64)
        if x.ndim != 4:
            raise ValueError(f"input of shape {x.shape}")
        if not state and (call.arguments.get("affine", True) or track_running_stats):
            raise Unsupported("initial values")
        use_batch_statistics, count = (
            training or not track_running_stats,
            x.size // max(x.shape[1], 1),
        )
        if use_batch_statistics and count < 2:
            raise ValueError("more than one value a channel is needed")
        new_state: dict[str, Any] = {}
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
        if not use_batch_statistics:
            mean, var = (state[n].astype(np.float64) for n in ("running_mean", "running_var"))
        elif track_running_stats:
            new_state = self.update_running_statistics(state, mean, var, count, momentum)
        y = self.divide_by_std(x - mean[:, None, None], var[:, None, None], eps)
        if "weight" in state:
            y = y * state["weight"][:, None, None] + state["bias"][:, None, None]
        return Updated(y.astype(np.float32), new_state)

    def divide_by_std(self, x: Any, var: Any, eps: float) -> Any:
        """By the root of the variance."""
        return x / np.sqrt(var + eps)

    def update_running_statistics(
        self, state: Any, mean: Any, var: Any, count: int, momentum: Any
    ) -> Any:
        """The running statistics after a batch."""
        batches = state["num_batches_tracked"] + 1
        share = 1 / float(batches) if momentum is None else momentum
        pairs = (("running_mean", mean), ("running_var", self.running_variance(var, count)))
        statistics = {n: ((1 - share) * state[n] + share * x).astype(np.float32) for n, x in pairs}
        return {**statistics, "num_batches_tracked": batches}

    def running_variance(self, var: Any, count: int) -> Any:
        """The estimate from a sample."""
        return var * count / (count - 1)

    @implements("functional.embedding", passes=("padding_idx",))
    def embedding(self, state: Any, input: Any, weight: Any, **arguments: Any) -> Any:
        """Rows of a table."""
        if weight.ndim != 2:
            raise ValueError(f"weight of shape {weight.shape}")
        if input.size and (input.min() < 0 or input.max() >= len(weight)):
            raise IndexError("index out of range")
        return weight[input]


@plant(FAITHFUL, "Dropout")
class Unscaled(Plain):
    """What stays is not scaled."""

    def drop_elements(self, x: Any, p: float) -> Any:
        """As it was."""
        return np.where(np.random.default_rng().random(x.shape) >= p, x, np.float32(0) * x)


@plant(FAITHFUL, "Dropout")
class DroppedByRows(Plain):
    """All elements of a row share one draw."""

    def drop_elements(self, x: Any, p: float) -> Any:
        """One draw a row."""
        shape = (*x.shape[:-1], 1) if x.ndim else ()
        keep_mask = np.random.default_rng().random(shape) >= p
        return np.where(keep_mask, x / np.float32(1 - p if p < 1 else 1), np.float32(0) * x)


@plant(FAITHFUL, "Dropout")
class DrawnOnce(Plain):
    """Every call draws the same numbers."""

    def drop_elements(self, x: Any, p: float) -> Any:
        """From one seed."""
        keep_mask = np.random.default_rng(0).random(x.shape) >= p
        return np.where(keep_mask, x / np.float32(1 - p if p < 1 else 1), np.float32(0) * x)


@plant(FAITHFUL, "BatchNorm2d")
class EpsBesideRoot(Plain):
    """eps is added to the root instead of under it."""

    def divide_by_std(self, x: Any, var: Any, eps: float) -> Any:
        """By a sum."""
        return x / (np.sqrt(var) + eps)


@plant(FAITHFUL, "BatchNorm2d")
class VarianceBiased(Plain):
    """The running variance is that of the batch."""

    def running_variance(self, var: Any, count: int) -> Any:
        """The batch's own."""
        return var


@plant(FAITHFUL, "BatchNorm2d")
class NothingRemembered(Plain):
    """Running statistics stay as they are."""

    def update_running_statistics(
        self, state: Any, mean: Any, var: Any, count: int, momentum: Any
    ) -> Any:
        """Nothing."""
        return {}


@plant(FAITHFUL, "functional.embedding")
class IndicesWrapped(Plain):
    """An index out of range is counted on from the beginning."""

    @implements("functional.embedding", passes=("padding_idx",))
    def embedding_with_wrapped_indices(
        self, state: Any, input: Any, weight: Any, **arguments: Any
    ) -> Any:
        """Rows of a table, again and again."""
        return self.embedding(state, input % max(len(weight), 1), weight, **arguments)


class Ends(Plain):
    """A call ends the process; not planted, for it would end the one that asks."""

    def build(self, call: Call) -> Any:
        """Nothing comes back."""
        os._exit(7)


plant_around(
    __name__, Plain, FAITHFUL,
    {
        around.StateLacksItsLast: "BatchNorm2d",
        around.LoadForgotten: "BatchNorm2d",
        around.BufferShared: "functional.embedding",
        around.DtypeWidened: "Dropout",
    },
)  # fmt: skip
