"""What a check says of a case besides evidence: it fails, or has nothing to say."""

from __future__ import annotations

from collections.abc import Mapping

from conformance.model.case import Case
from conformance.model.finding import KINDS, Finding
from conformance.model.finding_text import text
from conformance.model.proof import Proof


class Failure(Exception):  # noqa: N818 - what a check finds is no error of the suite
    """A check failed on a case.

    Args:
        finding: what is wrong, without the call; a plain text is kept as it is.
        proof: how it shows in the numbers of the backend; None = as the failure that caused it.
        case: a case on which the check meets this failure, and does no more; None = the trial's.
    """

    def __init__(
        self, finding: Finding | str, proof: Proof | None = None, case: Case | None = None
    ) -> None:
        if isinstance(finding, str):
            finding = Finding("other", says=finding)
        if finding.kind not in KINDS:
            raise ValueError(f"no kind of finding: {finding.kind!r}")
        super().__init__(text(finding))
        self.finding, self._proof, self.case = finding, proof, case

    @property
    def proof(self) -> Proof | None:
        """How it shows in the numbers; None where it does not."""
        if self._proof is not None or not isinstance(self.__cause__, Failure):
            return self._proof
        return self.__cause__.proof

    @property
    def layouts(self) -> Mapping[str, str] | None:
        """The fewest memory layouts with which the case still fails."""
        return self.finding.layouts


class Inapplicable(Exception):  # noqa: N818 - no error
    """A check has nothing to say about a case; it is counted as `invalid`."""


class Accepted(Inapplicable):
    """A backend accepts an invalid call on purpose.

    Args:
        broken: the broken constraint.
    """

    def __init__(self, broken: str) -> None:
        super().__init__(f"accepted on purpose: {broken}")
        self.broken = broken
