"""Causes of an item's failure: what each cause needs, and what known failures excuse."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from conformance.model.finding import Finding
from conformance.model.finding_text import finding_message

MAX_COINCIDENCE = 0.01
"""The largest accepted probability that a condition separates the cases by chance alone."""
NEEDS, MORE_OFTEN, CALL_NEEDS = "needs", "fails more often with", "this call needs"
"""The words before the conditions of a cause, from the strongest evidence to the weakest."""
EMPTY_BATCH = "an empty batch"
"""The condition that the batch has size 0."""


@dataclass(frozen=True)
class Need:
    """Effect of changing one argument of a minimal failing case.

    Args:
        argument: its name.
        value: its value in the minimal case, as text.
        other: the value that replaced it, as text.
        fails: whether the case still failed in the same way.
        varied: the value was the simplest one and was replaced by another. Otherwise the
            replacement is the default or the simplest value.
    """

    argument: str
    value: str
    other: str
    fails: bool
    varied: bool = False

    @property
    def phrase(self) -> str:
        """The condition that the case needs, as a phrase: `"groups > 1"`."""
        name = self.argument
        if name == "training":
            return "train mode" if self.value == "True" else "eval mode"
        if " = " in name:
            return name
        if name.endswith((".max", ".min")):
            relation = ">" if name.endswith(".max") else "<"
            return f"{name} {relation} {float(self.other):g}"
        if self.varied:
            return f"{name}={self.value}"
        if name == "batch":
            return {"0": EMPTY_BATCH, "1": "a batch"}.get(self.value, "batch > 1")
        if self.other == "None":
            return f"{name} given"
        try:
            value, other = (
                json.loads(tuple_as_json_list(text)) for text in (self.value, self.other)
            )
        except ValueError:
            return f"{name}={self.value}"
        if isinstance(value, bool) or not isinstance(other, (int, float)):
            return f"{name}={self.value}"
        values = value if isinstance(value, list) else [value]
        if all(isinstance(v, (int, float)) for v in values) and max(values, default=0) > other:
            return f"{name} > {self.other}"
        return f"{name}={self.value}"


def tuple_as_json_list(text: str) -> str:
    """The text of a Python tuple as a JSON list; other text unchanged."""
    return re.sub(r",?\)$", "]", text.replace("(", "[", 1)) if text.startswith("(") else text


@dataclass(frozen=True)
class Share:
    """How many failing and passing cases of an item meet the conditions of a cause.

    Args:
        terms: the needs of the minimal case. If passing cases meet these, too, further conditions
            that separate failing from passing cases.
        failing, of_failing: how many of the failing cases meet all conditions.
        passing, of_passing: how many of the passing cases do.
    """

    terms: tuple[str, ...]
    failing: int
    of_failing: int
    passing: int
    of_passing: int

    @property
    def phrase(self) -> str:
        """`"18 of 18 failing and 0 of 140 passing cases"`."""
        return (
            f"{self.failing} of {self.of_failing} failing and "
            f"{self.passing} of {self.of_passing} passing cases"
        )

    @property
    def relation(self) -> str:
        """The words before the conditions: `NEEDS`, `MORE_OFTEN` or `CALL_NEEDS`.

        A failure needs conditions that all failing cases meet and that passing cases seldom meet.
        """
        if self.failing == self.of_failing and self.is_separating:
            return NEEDS
        is_more_frequent = self.failing * self.of_passing > self.passing * self.of_failing
        return MORE_OFTEN if is_more_frequent else CALL_NEEDS

    @property
    def is_separating(self) -> bool:
        """Whether no passing case meets the conditions, or too few for a coincidence.

        If cases failed at random, the number of failing cases that meet the conditions would have a
        hypergeometric distribution.
        """
        if not self.passing:
            return True
        meeting, cases = self.failing + self.passing, self.of_failing + self.of_passing
        ways = sum(
            math.comb(meeting, failing) * math.comb(cases - meeting, self.of_failing - failing)
            for failing in range(self.failing, self.of_failing + 1)
        )
        return ways <= MAX_COINCIDENCE * math.comb(cases, self.of_failing)


@dataclass(frozen=True)
class Excuse:
    """What one known failure explains of an item.

    Args:
        reason, link: of the known failure.
        covered: examples that meet its conditions.
        excused: covered examples that failed as it says.
        left_out: covered examples not run because they would end the process.
        base: the backend's base, if the failure is inherited from it; else empty.
    """

    reason: str
    link: str = ""
    covered: int = 0
    excused: int = 0
    left_out: int = 0
    base: str = ""


@dataclass(frozen=True)
class Cause:
    """One way in which an item fails.

    Args:
        message: why it fails; the call first.
        call: the minimal failing call as a person would type it.
        case: the minimal failing case as JSON data.
        needs: the arguments whose values the failure needs.
        share: the conditions that its failing cases share, and how many cases meet them.
        reproducer: a standalone script that shows the failure.
        failed: how many examples fail in this way.
        excess: largest error ÷ bound among them; None if no numbers are wrong.
        status: `"failed"`, `"crashed"` or `"hung"`.
        reference: what torch does with the minimal case: `"torch: same"`,
            `"torch: fails otherwise"`, `"torch: differs"`.
        failure: what is wrong, as data; `message` is its text.
    """

    message: str
    call: str | None = None
    case: Mapping[str, Any] | None = None
    needs: tuple[Need, ...] = ()
    share: Share | None = None
    reproducer: str | None = None
    failed: int = 0
    excess: float | str | None = None
    status: str = "failed"
    reference: str | None = None
    failure: Finding | None = None

    @classmethod
    def from_finding(cls, failure: Finding, call: str | None = None, **facts: Any) -> Cause:
        """Make a cause from a finding, whose text becomes the message.

        Args:
            failure: what is wrong.
            call: the minimal failing call.
            facts: further fields of the cause.
        """
        return cls(finding_message(failure, call), call, failure=failure, **facts)

    def noting(self, *lines: str) -> Cause:
        """Return the cause with further lines in its message."""
        if self.failure is None:
            return replace(self, message="\n".join([self.message, *lines]))
        failure = self.failure.noting(*lines)
        return replace(self, failure=failure, message=finding_message(failure, self.call))


def other_causes_text(causes: Iterable[Cause]) -> str:
    """The part of a verdict's message about its further causes.

    Args:
        causes: all causes except the first.
    """
    return "".join(f"\nanother cause: {cause.message}" for cause in causes)
