"""A backend with several planted bugs at once, as a sample for reports: `buggy:backend`."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import planted
import torch

from conformance.backends import ModuleBackend

NAMES = (
    "conv1d-later-groups-undilated",
    "conv2d-circular-wraps-near-edge",
    "conv3d-circular-depth-with-zeros",
    "convtranspose2d-bias-once-per-tap",
    "convtranspose1d-strided-input-gradient",
)


class GroupedDilation(torch.nn.Conv2d):
    """Adds 1 to the output: wrong only for groups and dilation together."""

    def _conv_forward(self, input: Any, weight: Any, bias: Any) -> Any:
        output = super()._conv_forward(input, weight, bias)
        return output + 1 if self.groups > 1 and max(self.dilation) > 1 else output


GroupedDilation.__name__ = GroupedDilation.__qualname__ = "Conv2d"
grouped_dilation = ModuleBackend("grouped-dilation", nn=SimpleNamespace(Conv2d=GroupedDilation))


def _namespace() -> SimpleNamespace:
    bugs = {bug.name: bug for bug in planted.BUGS}
    implementations = {bug.layer: bug.implementation for bug in (bugs[name] for name in NAMES)}
    return SimpleNamespace(
        Linear=torch.nn.Linear, Identity=torch.nn.Identity, LSTM=torch.nn.LSTM, **implementations
    )


backend = ModuleBackend("buggy", nn=_namespace())
