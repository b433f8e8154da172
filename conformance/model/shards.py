"""Assign items to shards, and parse names of shards: `"2/8"`, `"1,3/4"`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection

MAX_SHARDS = 10**9
"""The largest number of shards of a run."""
_SHARD_PATTERN = re.compile(r"([0-9]{1,10}(?:,[0-9]{1,10})*)/([0-9]{1,10})")


def shard_of(id: str, count: int) -> int:
    """The shard of an item or a benchmark by its id, from 1 to `count`."""
    digest = hashlib.sha256(id.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % count + 1


def parse_shards(shard: str) -> tuple[frozenset[int], int]:
    """Parse a name of shards: `"1,3/4"` → shards {1, 3} of 4.

    Raises:
        ValueError: for any other text.
    """
    match = _SHARD_PATTERN.fullmatch(shard)
    if match is not None:
        numbers, count = list(map(int, match[1].split(","))), int(match[2])
        present = frozenset(numbers)
        if min(present) >= 1 and max(present) <= count <= MAX_SHARDS:
            if len(present) < len(numbers):
                raise ValueError("expected each shard once, such as 1,3/4")
            return present, count
    raise ValueError(f"expected i/N with 1 ≤ i ≤ N ≤ {MAX_SHARDS:,}, such as 2/8")


def missing_shard_names(
    present: Collection[int], count: int, max_listed: int = 20
) -> tuple[str, ...]:
    """Names of missing shards; beyond `max_listed` of them, the last entry counts the others.

    Args:
        present: numbers of the shards that are there.
        count: the number of shards of the run.
        max_listed: how many names to list.
    """
    missing_count = count - len(present)
    names = list[str]()
    for k in range(1, min(count, len(present) + max_listed) + 1):
        if k not in present and len(names) < max_listed:
            names.append(f"{k}/{count}")
    return (
        *names,
        *([f"{missing_count - max_listed:,} more"] if missing_count > max_listed else []),
    )
