"""Peak rates of the machine: a large matrix product and a large copy, timed in the same run."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.model.case import Call, Unsupported
from conformance.model.protocols import Backend
from conformance.timing.cost import BYTES_PER_NUMBER
from conformance.timing.machine import largest_cache

# A copy reads and writes 64 MiB, together twice the caches of accelerators of at most 60 MB
# (NVIDIA, *H100 Tensor Core GPU Architecture*, 2022). It is larger if a CPU's cache is larger.
MIN_COPY_BYTES, MAX_COPY_BYTES = 64 << 20, 1 << 30
# Seconds of a try. Longer tries would not fit between two time slices of other work.
MIN_SECONDS = 0.01
# A machine that is faster at this width reaches over 2·8192³ / 0.01 s = 110 TFLOP/s. In float32 a
# matrix of this width has 256 MiB.
MAX_WIDTH = 8192
TRIES = 20  # The best counts, because other work does not disturb all of them.


@dataclass(frozen=True)
class Peak:
    """Rates that torch reaches, each the best of several tries.

    Args:
        flops: operations per second of a product of two large square matrices in the dtype; None
            if torch cannot multiply in that dtype.
        bytes: bytes per second, read and written, of a copy between two arrays. Each has at least
            64 MiB and at least twice the size of the largest cache. None if it cannot be measured.
    """

    flops: float | None
    bytes: float | None


def measure_peak(torch: Backend, dtype: str, device: str) -> Peak:
    """Measure a device with torch.

    Args:
        torch: the backend of torch itself.
    """
    layer = torch.build(Call("functional.linear", {}, {}, dtype, device))
    width, flops = 512, 0.0
    with contextlib.suppress(Unsupported):
        while True:
            seconds = _time_product(layer, width)
            flops = max(flops, 2 * width**3 / seconds)
            if seconds >= MIN_SECONDS or width >= MAX_WIDTH:
                break
            width *= 2
    copy = getattr(layer, "copy", None)
    if copy is None:
        return Peak(flops or None, None)
    size = min(max(MIN_COPY_BYTES, 2 * largest_cache()), MAX_COPY_BYTES)
    ones = np.ones(size // BYTES_PER_NUMBER[dtype], np.float32)
    # The system maps untouched memory page by page, which would slow the copy down.
    source, target = layer.put(ones), layer.put(ones)
    return Peak(flops or None, 2 * size / _best_time(layer, lambda: copy(source, target)))


def _time_product(layer: Any, width: int) -> float:
    generator = np.random.default_rng(width)
    a, b = (layer.put(generator.standard_normal((width, width), np.float32)) for _ in range(2))
    return _best_time(layer, lambda: layer(a, b))


def _best_time(layer: Any, function: Any) -> float:
    """Seconds of the fastest of several calls."""
    durations = []
    for _ in range(TRIES + 1):
        layer.sync()
        started = time.perf_counter()
        result = function()
        layer.sync()
        durations.append(time.perf_counter() - started)
        del result
    return min(durations[1:])
