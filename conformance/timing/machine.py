"""Facts about the machine that timings depend on."""

from __future__ import annotations

import contextlib
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
# Half of the rounds of a quiet machine lie within a few hundredths of each other.
NOISY_SPREAD = 0.1


def machine_facts() -> dict[str, str]:
    """Frequency governor, cores and load of the machine; unknown facts are left out."""
    facts = {"cores": str(os.cpu_count() or "unknown")}
    if hasattr(os, "sched_getaffinity"):
        facts["usable cores"] = str(len(os.sched_getaffinity(0)))
    try:
        facts["governor"] = _GOVERNOR.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        facts["governor"] = "not readable"
    with contextlib.suppress(AttributeError, OSError):
        facts["load before"] = f"{os.getloadavg()[0]:.2f}"
    return facts


def largest_cache(folder: Path = _CACHES) -> int:
    """Bytes of the largest cache of the first CPU, as Linux reports them; 0 if unknown.

    Args:
        folder: a folder that holds `index0/size`, `index1/size`, …
    """
    sizes = [0]
    with contextlib.suppress(OSError):
        for path in folder.glob("index*/size"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                text = path.read_text(encoding="ascii").strip()
                sizes.append(int(text[:-1]) * _UNITS[text[-1]])
    return max(sizes)


def assess_noise(lines: Sequence[Mapping[str, Any]]) -> tuple[float | None, str]:
    """The typical spread of the times of a call, and a note if the spread is large.

    Args:
        lines: benchmark lines. `spread` is the interquartile range of torch's rounds ÷ median.

    Returns:
        The median of the spreads, None if there are none; and the note, `""` if none is due.
    """
    spreads = [line["spread"] for line in lines if line.get("spread") is not None]
    if not spreads:
        return None, ""
    typical_spread = statistics.median(spreads)
    if typical_spread <= NOISY_SPREAD:
        return typical_spread, ""
    note = (
        f"the machine was noisy: for half of the calls the middle half of torch's own rounds "
        f"spread over {typical_spread:.0%} of the median or more; a ratio is of neighbouring "
        "rounds and survives that, a time does not"
    )
    return typical_spread, note
