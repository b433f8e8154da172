"""The outcome of one check on one case, as data that travels between processes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from conformance.checks.trial import Evidence
from conformance.model.case import Case
from conformance.model.finding import Finding
from conformance.model.finding_text import kind_words, text


@dataclass(frozen=True)
class Outcome:
    """The outcome of one check on one case.

    Args:
        status: `"passed"`, `"failed"`, `"unsupported"` or `"invalid"`; of a copy of the process
            also `"crashed"` or `"hung"`.
        message: why it failed, was declined or does not apply.
        evidence: what was compared.
        kind: what kind of failure it is, in words (`kind_words`).
        failure: why it failed, as data.
        accepted: the broken constraint that the backend accepts on purpose.
        hits: how often what is under test ran, by name; None where the backend does not count.
    """

    status: str
    message: str = ""
    evidence: Evidence = field(default_factory=Evidence)
    kind: str = ""
    failure: Finding | None = None
    accepted: str = ""
    hits: Mapping[str, int] | None = None

    @property
    def lost(self) -> bool:
        """Whether the process, or a copy of it, ended or hung."""
        return self.status in ("crashed", "hung")

    @property
    def fails(self) -> bool:
        """Whether the check finds something wrong, or does not come to its end."""
        return self.lost or self.status == "failed"

    @property
    def comparisons(self) -> int:
        """Numbers compared."""
        return self.evidence.comparisons

    @property
    def excess(self) -> float | None:
        """The largest error ÷ bound of the failure; None where it is none of numbers."""
        return None if self.failure is None else self.failure.excess

    @property
    def drawn(self) -> bool:
        """Whether the failure rests on values that the backend drew."""
        return self.failure is not None and self.failure.drawn

    @classmethod
    def failed(cls, failure: Finding) -> Outcome:
        """The outcome of a failure.

        Args:
            failure: what the check found.
        """
        return cls("failed", text(failure), kind=kind_words(failure), failure=failure)


def alike(ours: Outcome, theirs: Outcome) -> bool:
    """Whether two backends fail a case in the same way.

    The same exception of the same step, the same end of the process, or the same wrong numbers;
    numbers that rest on values drawn anew are wrong in the same tensor.

    Args:
        ours, theirs: the outcomes of one check on one case.
    """
    if ours.status != theirs.status or not ours.fails:
        return False
    if ours.failure is None or theirs.failure is None:
        return ours.status != "failed"
    if ours.failure.exception or theirs.failure.exception:
        return _raised(ours.failure) == _raised(theirs.failure)
    if ours.failure.drawn and theirs.failure.drawn:
        return ours.failure.manner == theirs.failure.manner
    return ours.failure == theirs.failure


def _raised(failure: Finding) -> tuple[str, str]:
    """The exception and the step that raised it; an invalid call is refused in any step."""
    return failure.exception, failure.what if failure.kind == "exception" else failure.kind


def on_device(case: Case, device: str) -> Case:
    """The case on a device; the same object where it can be, as answers are kept with it."""
    if case.call.device == device:
        return case
    return replace(case, call=replace(case.call, device=device))
