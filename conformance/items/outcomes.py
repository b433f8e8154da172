"""The outcome of one check on one case, as data that is sent between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from conformance.checks.trial import Evidence
from conformance.model.case import Case
from conformance.model.finding import Finding
from conformance.model.finding_text import cause_kind, finding_message


@dataclass(frozen=True)
class Outcome:
    """The outcome of one check on one case.

    Args:
        status: `"passed"`, `"failed"`, `"unsupported"` or `"invalid"`; if the check ran in a copy
            of the process also `"crashed"` or `"hung"`.
        message: why it failed, was declined or does not apply.
        evidence: the comparisons that were made.
        kind: the kind of failure, in words (`cause_kind`).
        failure: why it failed, as data.
        accepted: the broken constraint that the backend accepts, without failing.
        in_every_call: the backend lacks what the check needs, so it declines each call.
        hits: how often each function under test ran; None if the backend does not count.
        grade: the best grade that its numbers reach; empty if that was not tried, or if no numbers
            were compared with a bound.
    """

    status: str
    message: str = ""
    evidence: Evidence = field(default_factory=Evidence)
    kind: str = ""
    failure: Finding | None = None
    accepted: str = ""
    in_every_call: bool = False
    hits: Mapping[str, int] | None = None
    grade: str = ""

    @property
    def process_lost(self) -> bool:
        """Whether the process, or a copy of it, ended or hung."""
        return self.status in ("crashed", "hung")

    @property
    def is_failure(self) -> bool:
        """Whether the check failed or the process was lost."""
        return self.process_lost or self.status == "failed"

    @property
    def comparisons(self) -> int:
        """How many numbers were compared."""
        return self.evidence.comparisons

    @property
    def error_ratio(self) -> float | None:
        """The largest error ÷ bound of the failure; None if no numbers are wrong."""
        return None if self.failure is None else self.failure.error_ratio

    @property
    def depends_on_draws(self) -> bool:
        """Whether the failure depends on values that the backend drew."""
        return self.failure is not None and self.failure.drawn

    @classmethod
    def from_finding(cls, finding: Finding) -> Outcome:
        """Make the outcome of a check that failed with a finding."""
        return cls("failed", finding_message(finding), kind=cause_kind(finding), failure=finding)


def is_same_failure(ours: Outcome, theirs: Outcome) -> bool:
    """Whether two backends fail a case in the same way.

    They do with the same exception in the same step, the same end of the process, or the same wrong
    numbers. If the numbers depend on drawn values, the same tensor must be wrong.

    Args:
        ours, theirs: the outcomes of one check on one case.
    """
    if ours.status != theirs.status or not ours.is_failure:
        return False
    if ours.failure is None or theirs.failure is None:
        return ours.status != "failed"
    if ours.failure.exception or theirs.failure.exception:
        return _exception_and_step(ours.failure) == _exception_and_step(theirs.failure)
    if ours.failure.drawn and theirs.failure.drawn:
        return ours.failure.failure_mode == theirs.failure.failure_mode
    return ours.failure == theirs.failure


def _exception_and_step(failure: Finding) -> tuple[str, str]:
    """The exception and the step that raised it; for a refusal the step does not matter."""
    return failure.exception, failure.what if failure.kind == "exception" else failure.kind


def on_device(case: Case, device: str) -> Case:
    """Return the case on a device.

    A case that is already there is returned as the same object: answers are cached by object.
    """
    if case.call.device == device:
        return case
    return replace(case, call=replace(case.call, device=device))
