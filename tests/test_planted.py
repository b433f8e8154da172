"""A planted bug of every layer is caught; `tox -e kill-rate` runs them all."""

from __future__ import annotations

from types import SimpleNamespace

import planted
import pytest
from support import LAYERS, first_failure

from conformance.backends import ModuleBackend

CHECKED = ("shape", "values", "gradients")
VISIBLE = [bug for bug in planted.BUGS if bug.check in CHECKED]


def _backend(bug: planted.Bug) -> ModuleBackend:
    space = SimpleNamespace(**{bug.layer.rpartition(".")[2]: bug.implementation})
    if bug.layer.startswith("functional."):
        return ModuleBackend(bug.name, functional=space)
    return ModuleBackend(bug.name, nn=space)


def _caught(bug: planted.Bug) -> str | None:
    """The dtype and check that notice a bug at the standard profile."""
    for dtype in ("float32", "bfloat16", "float16", "float64"):
        for check in (bug.check, *(c for c in CHECKED if c != bug.check)):
            if first_failure(_backend(bug), bug.layer, check, dtype) is not None:
                return f"{check} in {dtype}"
    return None


FIRST = {bug.layer: bug for bug in reversed(VISIBLE)}


@pytest.mark.parametrize("bug", FIRST.values(), ids=lambda bug: bug.name)
def test_bug_is_caught(bug: planted.Bug) -> None:
    assert _caught(bug) is not None, bug.story


def test_every_layer_has_a_bug_of_each_check() -> None:
    assert {bug.layer for bug in VISIBLE} == set(LAYERS)
