"""The CPU that a backend runs on: some failures occur only with certain instructions."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_CPU_INFO_FILE = Path("/proc/cpuinfo")
# Instruction sets for which oneDNN has different kernels, lowest first. Each has the highest values
# of ONEDNN_MAX_CPU_ISA that disable it (oneDNN's documentation, *CPU Dispatcher Control*).
_CPU_FEATURES = {
    "avx2": {"SSE41", "AVX"},
    "avx512bw": {"AVX2", "AVX2_VNNI", "AVX2_VNNI_2"},
    "avx512_bf16": {"AVX512_CORE", "AVX512_CORE_VNNI"},
    "avx512_fp16": {"AVX512_CORE_BF16"},
    "amx_bf16": {"AVX512_CORE_FP16", "AVX10_1_512"},
}
LIMIT_VARIABLES = (
    "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
)  # fmt: skip
"""Environment variables that keep libraries from using some instructions of the CPU."""
# Instruction sets of ARM for which kernels differ, by Linux's names.
_ARM_FEATURES = ("asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme")


@cache
def cpu_facts() -> dict[str, str]:
    """The entries for the first CPU in /proc/cpuinfo; empty on systems other than Linux."""
    try:
        first_cpu, _, _ = _CPU_INFO_FILE.read_text(encoding="utf-8").partition("\n\n")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first_cpu.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def cpu_features() -> frozenset[str]:
    """Instruction sets by Linux's names, `"avx512_bf16"`, without those disabled for oneDNN.

    Empty on other systems.
    """
    facts = cpu_facts()
    features = set((facts.get("flags") or facts.get("Features") or "").split())
    limit, lower_limits = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper(), set[str]()
    for feature, levels in _CPU_FEATURES.items():
        lower_limits |= levels
        if limit in lower_limits:
            features.discard(feature)
    return frozenset(features)


def cpu_level() -> str:
    """The facts by which libraries choose kernels: `"Linux x86_64 AuthenticAMD avx512_bf16"`.

    These are the system, the architecture, the CPU's maker, the highest instruction set with its
    own kernels, and the limits in the environment. On ARM, all such instruction sets are listed.
    """
    facts = cpu_facts()
    flags = (facts.get("flags") or facts.get("Features") or "").split()
    levels = [feature for feature in _CPU_FEATURES if feature in flags][-1:]
    maker = facts.get("vendor_id") or facts.get("CPU implementer") or _apple_cpu()
    chosen_by = (platform.system(), platform.machine(), maker, *levels)
    arm = (feature for feature in _ARM_FEATURES if feature in flags)
    limits = (f"{limit}={os.environ[limit]}" for limit in LIMIT_VARIABLES if os.environ.get(limit))
    return " ".join(filter(None, (*chosen_by, *arm, *limits)))


@cache
def _apple_cpu() -> str:
    """The name of a Mac's CPU; empty on other systems."""
    if platform.system() != "Darwin":
        return ""
    command = ["sysctl", "-n", "machdep.cpu.brand_string"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout.strip()


def describe_place(backend: str, info: Mapping[str, str], device: str) -> str:
    """Versions and CPU: `"torch 2.13.0 on Linux x86_64 AuthenticAMD avx512_bf16"`.

    Args:
        backend: the backend's name, which comes first if no package has that name.
        info: the backend's own `info()`. The result lists its installed packages, or all of it if
            it names no package.
        device: the call's device; a kind other than "cpu" takes the place of the CPU.
    """
    device_kind = device.partition(":")[0]
    packages = {name: text for name, text in info.items() if _is_installed(name)}
    # The command of a wire backend has a path of this machine.
    facts = packages or {name: text for name, text in info.items() if name != "command"}
    versions = [f"{name} {text}" for name, text in facts.items()]
    prefix = [] if backend in packages else [backend]
    return (
        f"{', '.join(prefix + versions)} on {cpu_level() if device_kind == 'cpu' else device_kind}"
    )


def _is_installed(package: str) -> bool:
    try:
        return bool(version(package))
    except (PackageNotFoundError, ValueError):
        return False


def cpu_name() -> str:
    """The CPU's name, and the instruction sets that oneDNN may use."""
    model = (
        cpu_facts().get("model name") or _apple_cpu() or platform.processor() or platform.machine()
    )
    usable_features = ", ".join(feature for feature in _CPU_FEATURES if feature in cpu_features())
    return f"{model} ({usable_features})" if usable_features else model
