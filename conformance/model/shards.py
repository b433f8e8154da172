"""Assign items to shards, and parse names of shards: `"2/8"`, `"1,3/4"`, `"auto"`."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Mapping
from statistics import median

MAX_SHARDS = 10**9
"""The largest number of shards of a run."""
_SHARD_PATTERN = re.compile(r"([0-9]{1,10}(?:,[0-9]{1,10})*)/([0-9]{1,10})")


def shard_of(id: str, count: int) -> int:
    """The shard of an item or a benchmark by its id, from 1 to `count`."""
    digest = hashlib.sha256(id.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % count + 1


SCHEDULERS: Mapping[str, tuple[str, str, str]] = {
    "Slurm": ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
    "Kubernetes": ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS", "0"),
    "Buildkite": ("BUILDKITE_PARALLEL_JOB", "BUILDKITE_PARALLEL_JOB_COUNT", "0"),
    "CircleCI": ("CIRCLE_NODE_INDEX", "CIRCLE_NODE_TOTAL", "0"),
    "GitLab and others": ("CI_NODE_INDEX", "CI_NODE_TOTAL", "1"),
}
"""Scheduler → the variables of a job's index and of the number of jobs, and the first index or its
variable. Kubernetes does not set the number: the job's manifest has to."""


def scheduled_shard(environment: Mapping[str, str]) -> str:
    """The shard of this job as its scheduler numbers it, such as `"2/8"`.

    Raises:
        ValueError: if no scheduler has set its variables, or they are no numbers.
    """
    for index, count, first in SCHEDULERS.values():
        if index not in environment:
            continue
        if count not in environment:
            raise ValueError(f"expected the number of jobs in {count}, because {index} is set")
        offset, step = environment.get(first, first), environment.get("SLURM_ARRAY_TASK_STEP", "1")
        try:
            distance = int(environment[index]) - int(offset)
            place = distance // (int(step) if "SLURM" in index else 1) + 1
            return f"{place}/{int(environment[count])}"
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"expected whole numbers in {index} and {count}") from None
    names = ", ".join(f"{index} and {count}" for index, count, _ in SCHEDULERS.values())
    raise ValueError(f"expected a scheduler that sets {names}; or i/N, such as 2/8")


def balance_shards(
    groups: Mapping[str, str], seconds: Mapping[str, float], count: int
) -> dict[str, int]:
    """Assign items to shards of about equal time; the items of a group stay together.

    The costliest group goes first, each to the shard with the least so far. A group that costs more
    than a quarter of a shard is divided into its items. An item that was never timed costs the
    median.

    Args:
        groups: item → its group; its members share work, such as the drawing of their cases.
        seconds: item → what it took in an earlier run.
        count: number of shards.

    Returns:
        Item → shard, from 1.
    """
    typical = median([seconds[x] for x in groups if x in seconds] or [1.0])
    cost = {x: seconds.get(x, typical) for x in groups}
    group_cost = Counter[str]()
    for x, group in groups.items():
        group_cost[group] += cost[x]  # type: ignore[assignment]
    limit = sum(cost.values()) / count / 4
    unit_of = {x: group if group_cost[group] <= limit else x for x, group in groups.items()}
    units = Counter[str]()
    for x, unit in unit_of.items():
        units[unit] += cost[x]  # type: ignore[assignment]
    loads, shard_of_unit = [0.0] * count, dict[str, int]()
    for unit in sorted(units, key=lambda unit: (-units[unit], unit)):
        lightest = min(range(count), key=loads.__getitem__)
        loads[lightest] += units[unit]
        shard_of_unit[unit] = lightest + 1
    return {x: shard_of_unit[unit] for x, unit in unit_of.items()}


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
