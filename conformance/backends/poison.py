"""Fill new memory with implausible numbers, so that unwritten elements show.

A kernel that does not write an element returns the memory's earlier content. That is often the
zeros of a fresh page, or the right answer of an earlier call, and the check passes. So the
allocator fills new memory with one pattern: NaN in float16, -1.7e38 or -5.3e303 in other dtypes.
It also overwrites freed memory.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from conformance.model.uninitialized import FILL_BYTE

# glibc fills freed memory with this byte, and new memory with its complement. Each thread's cache
# of small blocks must be off, because it fills nothing.
_GLIBC_TUNABLES = (f"glibc.malloc.perturb={FILL_BYTE ^ 0xFF}", "glibc.malloc.tcache_count=0")
# New memory: 0xAA; freed memory: 0x55.
_MACOS_VARIABLES = {"MallocPreScribble": "1", "MallocScribble": "1"}


def poisoned(environment: Mapping[str, str]) -> dict[str, str]:
    """Add the settings that make the allocator fill memory to a copy of an environment.

    Settings of the user stay.
    """
    if sys.platform == "darwin":
        return {**_MACOS_VARIABLES, **environment}
    tunables = environment.get("GLIBC_TUNABLES", "")
    names = {tunable.partition("=")[0] for tunable in tunables.split(":")}
    additions = [tunable for tunable in _GLIBC_TUNABLES if tunable.partition("=")[0] not in names]
    # Other systems, musl's among them, ignore the variable.
    return {**environment, "GLIBC_TUNABLES": ":".join(filter(None, (tunables, *additions)))}
