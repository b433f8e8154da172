"""Memory that holds no plausible number until somebody writes to it.

A kernel that leaves elements unwritten returns what the memory held before, often the zeros of a
fresh page or the right answer of an earlier call, and passes. So the allocator fills what it hands
out with one pattern, which is NaN in float16 and -1.7e38 or -5.3e303 in the other dtypes, and
overwrites what is freed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from conformance.model.uninitialized import FILLED

# What is freed is filled with this byte, what is handed out with its complement. The cache of small
# blocks that each thread has would fill nothing.
_GLIBC = (f"glibc.malloc.perturb={FILLED ^ 0xFF}", "glibc.malloc.tcache_count=0")
# Handed out: 0xAA; freed: 0x55.
_MACOS = {"MallocPreScribble": "1", "MallocScribble": "1"}


def poisoned(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process whose allocator fills memory.

    Args:
        environment: of this process; what the user set there stays.
    """
    if sys.platform == "darwin":
        return {**_MACOS, **environment}
    given = environment.get("GLIBC_TUNABLES", "")
    names = {tunable.partition("=")[0] for tunable in given.split(":")}
    ours = [tunable for tunable in _GLIBC if tunable.partition("=")[0] not in names]
    # Other systems, musl's among them, ignore the variable.
    return {**environment, "GLIBC_TUNABLES": ":".join(filter(None, (given, *ours)))}
