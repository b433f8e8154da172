"""The outcome of one check on one case, as data that travels between processes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from conformance.model.case import Case
from conformance.run.trial import Evidence, Failure

_RAISED = re.compile(r"\b(\w{1,40}) raised (\w{1,80})")
_REFUSED = re.compile(r"^  got    raised (\w{1,80})", re.MULTILINE)
_DIGITS = re.compile(r"[\d.,()\[\]+-]+")
LONGEST = 100_000
"""Characters of a message that are looked at."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one check on one case.

    Args:
        status: `"passed"`, `"failed"`, `"unsupported"` or `"invalid"`; of a copy of the process
            also `"crashed"` or `"hung"`.
        message: why it failed, was declined or does not apply.
        evidence: what was compared.
        kind: what kind of failure it is (`kind_of`), within an invalid call's broken constraint.
        layouts: memory layouts that the failure needs, where the check chooses them.
        accepted: the broken constraint that the backend accepts on purpose.
    """

    status: str
    message: str = ""
    evidence: Evidence = field(default_factory=Evidence)
    kind: str = ""
    layouts: Mapping[str, str] | None = None
    accepted: str = ""

    @property
    def comparisons(self) -> int:
        """Numbers compared."""
        return self.evidence.comparisons

    @classmethod
    def failed(cls, failure: Failure, case: Case) -> Outcome:
        """The outcome of a failure.

        Args:
            failure: what the check raised.
            case: the case.
        """
        message = str(failure)
        kind = cause_kind(message, case)
        return cls("failed", message, kind=kind, layouts=failure.layouts)


def cause_kind(message: str, case: Case) -> str:
    """What tells one cause of an item's failures from another before either is shrunk.

    Wrong numbers are one kind, in whatever output or law they show; of invalid calls each broken
    constraint is one.

    Args:
        message: of the failure.
        case: that failed.
    """
    raised = _RAISED.search(message[:LONGEST])
    if "broken" in case.labels:
        by = _REFUSED.search(message[:LONGEST])
        how = f"refused by {by[1]}" if by else "accepted"
        return f"{case.labels['broken']}: {how}"
    if raised is not None:
        return raised[0]
    if "wrong of" in message:
        return "wrong gradient" if "gradient of " in message else "wrong values"
    return kind_of(message)


def kind_of(message: str) -> str:
    """What a failure is, without its numbers: how one that is due to something else is told.

    Args:
        message: of the failure.
    """
    raised = _RAISED.search(message[:LONGEST])
    if raised is not None:
        return raised[0]
    return _DIGITS.sub("#", message.partition("\n")[0][:1000])


def alike(ours: Outcome, theirs: Outcome) -> bool:
    """Whether two backends fail a case in the same way.

    The same exception of the same step, the same end of the process, or the same wrong numbers.

    Args:
        ours, theirs: the outcomes of one check on one case.
    """
    if ours.status != theirs.status or ours.status not in ("failed", "crashed", "hung"):
        return False
    if ours.status != "failed":
        return True
    raised = [_exception(outcome.message[:LONGEST]) for outcome in (ours, theirs)]
    if any(raised):
        return raised[0] == raised[1]
    return ours.message == theirs.message


def _exception(message: str) -> str:
    """`call raised ValueError`, or how an invalid call was refused; empty without an exception."""
    found = _RAISED.search(message) or _REFUSED.search(message)
    return found[0] if found else ""


def on_device(case: Case, device: str) -> Case:
    """The case on a device; the same object where it can be: the oracle's answer is kept with it.

    Args:
        case: the case.
        device: its name.
    """
    if case.call.device == device:
        return case
    return replace(case, call=replace(case.call, device=device))
