"""Every check's verdict on a planted bug tells its failure as data, and its message is its text."""

from __future__ import annotations

from types import SimpleNamespace

import planted
import pytest
from conformance.reports import summary

from conformance.backends import ModuleBackend
from conformance.items.planning import Item
from conformance.model.case import Verdict
from conformance.model.cause import other_causes_text
from conformance.model.finding import KINDS
from conformance.model.finding_text import finding_message
from conformance.run.engine import Engine

# Of each check a bug of a module, and what is found.
BUG_AND_KINDS = {
    "values": ("relu-capped-at-six", {"value"}),
    "shape": ("relu-of-a-number-is-a-vector", {"shape"}),
    "gradients": ("relu-straight-through", {"gradient"}),
    "laws": ("conv1d-odd-batch-tail-less-exact", {"value"}),
    "layout": ("bilinear-expanded-second-input", {"value"}),
    "special": ("relu-nan-is-zero", {"value"}),
    "state": ("prelu-init-ignored", {"value", "random", "names", "shape", "attribute"}),
    "random": ("rrelu-one-slope-for-all", {"value", "random", "gradient"}),
    "repeat": (
        "convtranspose2d-shortens-the-callers-output-size",
        {"value", "bits", "attribute"},
    ),
    "threads": ("linear-threads-add-in-half-precision", {"value"}),
    "transforms": ("linear-jvp-takes-the-weight-for-a-constant", {"value"}),
    "autocast": ("rmsnorm-autocast-scales-in-the-regions-dtype", {"value", "gradient"}),
    "module": ("grucell-copy-is-no-longer-frozen", {"attribute"}),
    "errors": ("bilinear-leading-dimensions-broadcast", {"refusal"}),
}


def _verdict(check: str) -> Verdict:
    bug = next(b for b in planted.BUGS if b.name == BUG_AND_KINDS[check][0])
    backend = ModuleBackend(bug.name, nn=SimpleNamespace(**{bug.layer: bug.implementation}))
    return Engine(backend, 100, 1).run(Item(bug.layer, check, "float32", "cpu"))


@pytest.mark.parametrize("check", planted.CHECKS)
def test_a_verdicts_message_is_the_text_of_its_failure(check: str) -> None:
    verdict = _verdict(check)
    assert verdict.status == "failed"
    failure = verdict.failure
    assert failure is not None
    assert failure.kind in BUG_AND_KINDS[check][1]
    assert verdict.message == finding_message(failure, verdict.call) + other_causes_text(
        verdict.others
    )
    assert verdict.message.startswith(f"{verdict.call}\n")
    for cause in verdict.others:
        assert cause.failure is not None
        assert cause.failure.kind in KINDS
        assert cause.message == finding_message(cause.failure, cause.call)
    messages = [
        member.message for cluster in summary.clusters([verdict]) for member in cluster.members
    ]
    assert sorted(map(str, messages)) == sorted(
        [finding_message(failure, verdict.call), *(cause.message for cause in verdict.others)]
    )
