"""The CPU under a backend: some failures show on CPUs with certain instructions only."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

_FACTS = Path("/proc/cpuinfo")
# What oneDNN's kernels differ by, each with the values of ONEDNN_MAX_CPU_ISA that are just too low
# for it (oneDNN's documentation, *CPU Dispatcher Control*).
_LEVELS = {
    "avx2": {"SSE41", "AVX"},
    "avx512bw": {"AVX2", "AVX2_VNNI", "AVX2_VNNI_2"},
    "avx512_bf16": {"AVX512_CORE", "AVX512_CORE_VNNI"},
    "avx512_fp16": {"AVX512_CORE_BF16"},
    "amx_bf16": {"AVX512_CORE_FP16", "AVX10_1_512"},
}


@cache
def cpu_facts() -> dict[str, str]:
    """What the system says of its first CPU; empty where it says nothing (Linux does)."""
    try:
        first, _, _ = _FACTS.read_text(encoding="utf-8").partition("\n\n")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def cpu_features() -> frozenset[str]:
    """Instruction sets by Linux's names, `"avx512_bf16"`, without those withheld from oneDNN.

    None are known on other systems.
    """
    facts = cpu_facts()
    found = set((facts.get("flags") or facts.get("Features") or "").split())
    limit, lower = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper(), set[str]()
    for feature, levels in _LEVELS.items():
        lower |= levels
        if limit in lower:
            found.discard(feature)
    return frozenset(found)


def name() -> str:
    """The CPU's name, and which of oneDNN's instruction sets may be used."""
    known = cpu_facts().get("model name") or platform.processor() or platform.machine()
    special = ", ".join(feature for feature in _LEVELS if feature in cpu_features())
    return f"{known} ({special})" if special else known
