"""Memory layouts: their names, and which of them a shape can have."""

from __future__ import annotations

from collections.abc import Sequence

LAYOUTS = ("contiguous", "channels_last", "transposed", "sliced", "offset", "expanded")


def possible(shape: Sequence[int]) -> tuple[str, ...]:
    """The layouts that differ from `contiguous` in memory for a tensor of some shape.

    Args:
        shape: of the tensor.
    """
    long = sum(size > 1 for size in shape)
    if 0 in shape:
        return ("offset",)
    found = ["channels_last"] if len(shape) in (4, 5) and long > 1 else []
    found += ["transposed"] if long > 1 else []
    found += ["sliced", "expanded"] if long else []
    return (*found, "offset")
