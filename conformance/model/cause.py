"""Why an item fails: each cause, what it needs, and what a known failure excuses."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from conformance.model.finding import Finding
from conformance.model.finding_text import text


@dataclass(frozen=True)
class Need:
    """Effect of changing one argument of a minimal failing case.

    Args:
        argument: its name.
        value: what the minimal case has, as text.
        other: what it was changed to.
        fails: whether the case still failed in the same way.
        varied: its value was the plainest one, and was exchanged for another; otherwise it was set
            back to its default or plainest value.
    """

    argument: str
    value: str
    other: str
    fails: bool
    varied: bool = False

    @property
    def words(self) -> str:
        """What the case needs, as a phrase: `"groups > 1"`."""
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
            return {"0": "an empty batch", "1": "a batch"}.get(self.value, "batch > 1")
        if self.other == "None":
            return f"{name} given"
        try:
            value, other = (json.loads(listed(text)) for text in (self.value, self.other))
        except ValueError:
            return f"{name}={self.value}"
        if isinstance(value, bool) or not isinstance(other, (int, float)):
            return f"{name}={self.value}"
        values = value if isinstance(value, list) else [value]
        if all(isinstance(v, (int, float)) for v in values) and max(values, default=0) > other:
            return f"{name} > {self.other}"
        return f"{name}={self.value}"


def listed(text: str) -> str:
    """A Python tuple as a JSON list."""
    return re.sub(r",?\)$", "]", text.replace("(", "[", 1)) if text.startswith("(") else text


@dataclass(frozen=True)
class Share:
    """How many of an item's failing cases, and of its passing ones, have what a cause needs.

    Args:
        terms: the conditions: what the minimal case needs, and where passing cases have that, too,
            what tells them apart.
        failing, of_failing: failing cases that meet all of them, of how many.
        passing, of_passing: likewise of the cases that pass.
    """

    terms: tuple[str, ...]
    failing: int
    of_failing: int
    passing: int
    of_passing: int

    @property
    def words(self) -> str:
        """`"18 of 18 failing and 0 of 140 passing cases"`."""
        return (
            f"{self.failing} of {self.of_failing} failing and "
            f"{self.passing} of {self.of_passing} passing cases"
        )


@dataclass(frozen=True)
class Excuse:
    """What one known failure explains of an item.

    Args:
        reason, link: of the known failure.
        covered: examples that meet its conditions.
        excused: of these, the ones that failed as it says.
        left_out: of these, the ones not run because they would end the process.
        base: name of the backend's base where the failure is inherited from it; else empty.
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
        needs: the arguments that the failure needs.
        share: what its failing cases have in common, and how many cases have that.
        reproducer: a standalone script that shows the failure.
        failed: examples that fail in this way.
        excess: largest error ÷ bound among them; None where they are no failures of numbers.
        status: `"failed"`, `"crashed"` or `"hung"`.
        reference: what torch does with the minimal case: `"torch: same"`, `"torch: differs"`.
        failure: what is wrong, of which `message` is the text.
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
    def of(cls, failure: Finding, call: str | None = None, **facts: Any) -> Cause:
        """A cause whose message says what the failure says.

        Args:
            failure: what is wrong.
            call: the minimal failing call.
            facts: further fields.
        """
        return cls(text(failure, call), call, failure=failure, **facts)

    def noting(self, *lines: str) -> Cause:
        """The cause with more that is known of it."""
        if self.failure is None:
            return replace(self, message="\n".join([self.message, *lines]))
        failure = self.failure.noting(*lines)
        return replace(self, failure=failure, message=text(failure, self.call))


def other_causes(causes: Iterable[Cause]) -> str:
    """What a verdict's message says of its further causes.

    Args:
        causes: all but the first.
    """
    return "".join(f"\nanother cause: {cause.message}" for cause in causes)
