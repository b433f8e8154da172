"""Other weights of a module, so that an answer for one state alone is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch


def vary_state(state: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Other floating-point parameters and buffers of the same scale; signs and whole numbers stay.

    Each number is multiplied by one from 0.5 to 1.5. Where all are 0, as in a bias, numbers from
    −0.25 to 0.25 are added.
    """
    generator = torch.Generator().manual_seed(seed)
    varied = {}
    for name, x in state.items():
        if not x.is_floating_point():
            varied[name] = x.clone()
            continue
        factors = 0.5 + torch.rand(x.shape, generator=generator, dtype=torch.float64)
        changed = x.double() * factors
        if not bool(x.any()):
            changed += torch.rand(x.shape, generator=generator, dtype=torch.float64) / 2 - 0.25
        varied[name] = changed.to(x.dtype)
    return varied
