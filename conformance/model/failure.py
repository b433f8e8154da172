"""Exceptions by which a check reports that a case fails, or that it does not apply to the case."""

from __future__ import annotations

from collections.abc import Mapping

from conformance.model.case import Case
from conformance.model.finding import KINDS, Finding
from conformance.model.finding_text import finding_message
from conformance.model.proof import Proof


class Failure(Exception):  # noqa: N818 - what a check finds is no error of the suite
    """A check failed on a case.

    Args:
        finding: what is wrong, without the call; a string becomes a finding with that text.
        proof: evidence in the backend's numbers; None = the proof of the `Failure` that caused it.
        case: a case on which the check finds this failure and nothing else; None = the trial's.
    """

    def __init__(
        self, finding: Finding | str, proof: Proof | None = None, case: Case | None = None
    ) -> None:
        if isinstance(finding, str):
            finding = Finding("other", says=finding)
        if finding.kind not in KINDS:
            raise ValueError(f"no kind of finding: {finding.kind!r}")
        super().__init__(finding_message(finding))
        self.finding, self._proof, self.case = finding, proof, case

    @property
    def proof(self) -> Proof | None:
        """The evidence in the backend's numbers; None if the numbers show nothing."""
        if self._proof is not None or not isinstance(self.__cause__, Failure):
            return self._proof
        return self.__cause__.proof

    @property
    def layouts(self) -> Mapping[str, str] | None:
        """The fewest memory layouts with which the case still fails."""
        return self.finding.layouts


class Inapplicable(Exception):  # noqa: N818 - no error
    """A check does not apply to a case; the case counts as `invalid`."""


class Accepted(Inapplicable):
    """A backend accepts an invalid call on purpose, or one that no page of torch rules out.

    Args:
        broken: the broken constraint.
    """

    def __init__(self, broken: str, message: str) -> None:
        super().__init__(message)
        self.broken = broken
