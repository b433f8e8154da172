"""Planted bugs in networks: the bound sees all of them, and usual tolerances do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from planted.network import attention, convolutional, fused_blocks, rows, sequences
from planted.network.bug import CompositeBug

from conformance.networks.bounds import trace_bounds

BLIND = (*attention.BUGS, *convolutional.BUGS, *rows.BUGS, *sequences.BUGS)
BUGS = {bug.name: bug for bug in (*BLIND, *fused_blocks.BUGS)}


@pytest.mark.parametrize("name", BUGS)
def test_a_planted_bug_is_wrong_and_its_network_right(name: str) -> None:
    bug = BUGS[name]
    want = trace_bounds(bug.right, bug.inputs, {}, None)
    assert not want.uncertified
    with torch.no_grad():
        assert want.margin(bug.right(*bug.inputs)) <= 1
        assert want.margin(bug.wrong(*bug.inputs)) > 1


def _passes(bug: CompositeBug, compare: Callable[..., None], **options: float) -> bool:
    with torch.no_grad():
        try:
            compare(bug.wrong(*bug.inputs), bug.right(*bug.inputs), **options)
        except AssertionError:
            return False
    return True


def test_usual_tolerances_pass_many_of_these_bugs() -> None:
    # docs/networks.md has the counts. A bug near a tolerance may change sides on another CPU.
    compare = torch.testing.assert_close
    assert len(BUGS) == len(BLIND) + len(fused_blocks.BUGS) == 64
    assert sum(_passes(bug, compare) for bug in BUGS.values()) >= 5
    assert sum(_passes(bug, compare, rtol=1e-2, atol=1e-2) for bug in BUGS.values()) >= 26
