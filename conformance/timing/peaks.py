"""What the machine can do: a large matrix product and a large copy, timed in the same run."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.model.case import Call, Unsupported
from conformance.model.protocols import Backend
from conformance.timing.cost import BYTES
from conformance.timing.machine import largest_cache

# Twice what the caches of accelerators hold, at most 60 MB (NVIDIA, *H100 Tensor Core GPU
# Architecture*, 2022), is moved by such a copy; more where a CPU's own cache is larger.
LEAST_COPIED, MOST_COPIED = 64 << 20, 1 << 30
# Longer tries would not fit between two turns of a busy machine's other work.
LEAST = 0.01
# What takes less does more than 2·8192³ / 0.01 s = 110 TFLOP/s; in float32 a matrix has 256 MiB.
WIDEST = 8192
TRIES = 20  # the best counts; some run undisturbed


@dataclass(frozen=True)
class Peak:
    """Rates that torch reaches, each the best of several tries.

    Args:
        flops: operations a second of a product of two large square matrices in the dtype; None
            where it has none.
        bytes: a second, read and written, of a copy to other memory, of an array that is at least
            64 MiB and twice the largest cache.
    """

    flops: float | None
    bytes: float | None


def measured(torch: Backend, dtype: str, device: str) -> Peak:
    """Measure a device with torch.

    Args:
        torch: the backend that is torch itself.
    """
    layer = torch.build(Call("functional.linear", {}, {}, dtype, device))
    width, flops = 512, 0.0
    with contextlib.suppress(Unsupported):
        while True:
            seconds = _product(layer, width)
            flops = max(flops, 2 * width**3 / seconds)
            if seconds >= LEAST or width >= WIDEST:
                break
            width *= 2
    copy = getattr(layer, "copy", None)
    if copy is None:
        return Peak(flops or None, None)
    size = min(max(LEAST_COPIED, 2 * largest_cache()), MOST_COPIED)
    ones = np.ones(size // BYTES[dtype], np.float32)
    # Memory that was never touched would be found, page by page, while it is copied to.
    source, target = layer.put(ones), layer.put(ones)
    return Peak(flops or None, 2 * size / _best(layer, lambda: copy(source, target)))


def _product(layer: Any, width: int) -> float:
    generator = np.random.default_rng(width)
    a, b = (layer.put(generator.standard_normal((width, width), np.float32)) for _ in range(2))
    return _best(layer, lambda: layer(a, b))


def _best(layer: Any, function: Any) -> float:
    """Seconds of the fastest of several calls."""
    found = []
    for _ in range(TRIES + 1):
        layer.sync()
        started = time.perf_counter()
        kept = function()
        layer.sync()
        found.append(time.perf_counter() - started)
        del kept
    return min(found[1:])
