"""Areas that are added up in half precision."""

from __future__ import annotations

import math
from itertools import product

import torch
from torch.nn import functional

from planted.bug import graft, plant
from planted.interpolation.history import NAME

_right = functional.interpolate


@plant("interpolate-many-added-up-in-half", NAME, "values")
def interpolate_many_added_up_in_half(input, *args, **options):
    """In half precision an area of more than 32 elements is added up in half precision."""
    y = _right(input, *args, **options)
    half = input.dtype in (torch.float16, torch.bfloat16)
    if options.get("mode") != "area" or not half or not y.numel():
        return y
    bounds = [
        [slice(i * n // o, -(-(i + 1) * n // o)) for i in range(o)]
        for n, o in zip(input.shape[2:], y.shape[2:], strict=True)
    ]
    if math.prod(max(s.stop - s.start for s in axis) for axis in bounds) <= 32:
        return y
    means = []
    for area in product(*bounds):
        parts = input.detach()[(..., *area)].flatten(2).unbind(-1)
        total = torch.zeros_like(parts[0])
        for part in parts:
            total = total + part
        means.append(total / len(parts))
    return graft(torch.stack(means, -1).view(y.shape), y)
