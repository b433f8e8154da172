"""Shards: what a scheduler says, and items that are balanced by what they cost."""

from __future__ import annotations

from collections import Counter

import pytest

from conformance.model.shards import balance_shards, scheduled_shard

SLURM = {"SLURM_ARRAY_TASK_COUNT": "8"}


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        (SLURM | {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_MIN": "1"}, "3/8"),
        (SLURM | {"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_MIN": "0"}, "1/8"),
        (
            {
                "SLURM_ARRAY_TASK_ID": "20", "SLURM_ARRAY_TASK_COUNT": "3",
                "SLURM_ARRAY_TASK_MIN": "10", "SLURM_ARRAY_TASK_STEP": "5",
            },
            "3/3",
        ),
        ({"JOB_COMPLETION_INDEX": "0", "JOB_COMPLETIONS": "8"}, "1/8"),
        ({"BUILDKITE_PARALLEL_JOB": "7", "BUILDKITE_PARALLEL_JOB_COUNT": "8"}, "8/8"),
        ({"CIRCLE_NODE_INDEX": "2", "CIRCLE_NODE_TOTAL": "8"}, "3/8"),
        ({"CI_NODE_INDEX": "3", "CI_NODE_TOTAL": "8"}, "3/8"),
    ],
)  # fmt: skip
def test_a_scheduler_numbers_its_jobs(environment: dict[str, str], shard: str) -> None:
    assert scheduled_shard(environment) == shard


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "expected a scheduler that sets SLURM_ARRAY_TASK_ID"),
        ({"JOB_COMPLETION_INDEX": "0"}, "expected the number of jobs in JOB_COMPLETIONS"),
        ({"CI_NODE_INDEX": "x", "CI_NODE_TOTAL": "8"}, "expected whole numbers in CI_NODE_INDEX"),
    ],
)
def test_a_job_without_a_number_is_refused(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scheduled_shard(environment)


def test_shards_cost_the_same_and_keep_groups_together() -> None:
    groups = {f"{layer}-{check}": f"{layer}" for layer in range(60) for check in range(10)}
    seconds = {x: 1.0 + int(layer) % 7 for x, layer in groups.items() if layer != "3"}
    shards = balance_shards(groups, seconds, 8)
    loads = Counter[int]()
    for x, shard in shards.items():
        loads[shard] += seconds.get(x, 4.0)  # type: ignore[assignment]
    assert set(shards.values()) == set(range(1, 9))
    assert max(loads.values()) <= 1.1 * sum(loads.values()) / 8
    assert all(len({shards[f"{layer}-{check}"] for check in range(10)}) == 1 for layer in range(60))


def test_a_costly_group_is_divided() -> None:
    groups = {f"large-{k}": "large" for k in range(8)} | {"small": "small"}
    shards = balance_shards(groups, dict.fromkeys(groups, 10.0) | {"small": 1.0}, 4)
    assert Counter(shards[x] for x in groups if x != "small") == {1: 2, 2: 2, 3: 2, 4: 2}


def test_items_without_an_earlier_run_are_still_spread() -> None:
    shards = balance_shards({str(k): str(k) for k in range(8)}, {}, 4)
    assert Counter(shards.values()) == {1: 2, 2: 2, 3: 2, 4: 2}
    assert balance_shards({}, {}, 4) == {}
