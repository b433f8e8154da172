"""The table of timed calls; each layer's specification lists its usual sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from conformance.layers import CATALOGUE
from conformance.spec.workload import Workload

SETS = ("none", "small", "full")
PASSES = ("forward", "forward+backward")


NOT_TIMED, FAILED = "not timed: ", "failed "
"""How the status of a call that has no time begins, and its reason where an answer is wrong."""


@dataclass(frozen=True)
class TimedCall:
    """One call to time: the subject of one benchmark line.

    Args:
        layer, name: the workload's layer and name.
        direction: one of `PASSES`.
        dtype, device: torch's names.
    """

    layer: str
    name: str
    direction: str
    dtype: str
    device: str

    @property
    def id(self) -> str:
        """The id in the results, e.g. `"Conv2d-resnet_stem-forward-float32-cpu"`."""
        facts = (self.layer, self.name, self.direction, self.dtype, self.device)
        return "-".join(facts).replace(" ", "_")


WORKLOADS: dict[tuple[str, str], Workload] = {
    (w.layer, w.name): w for spec in CATALOGUE.values() for w in spec.benchmark.workloads
}


def plan_calls(
    set_name: str, *, layers: Sequence[str], dtypes: Sequence[str], devices: Sequence[str]
) -> tuple[TimedCall, ...]:
    """The calls of a set, for all combinations of layers, dtypes, devices and directions.

    Args:
        set_name: one of `SETS`.
    """
    chosen = [
        w for w in WORKLOADS.values() if set_name == "full" or (set_name == "small" and w.small)
    ]
    return tuple(
        TimedCall(w.layer, w.name, direction, dtype, device)
        for layer in layers
        for w in chosen
        if w.layer == layer
        for device in devices
        for dtype in dtypes
        for direction in PASSES
    )
