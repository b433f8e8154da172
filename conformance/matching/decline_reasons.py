"""Parse a reason for declining a call into claims about it: `padding_mode='circular'`."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from conformance.matching.comparison import RELATIONS, matches
from conformance.matching.facts import facts
from conformance.model.case import Case

_CLAIM_START = re.compile(r"(?P<name>[A-Za-z_][\w.]*)\s*(?P<relation>==|!=|>=|<=|=|>|<)\s*")
_SEPARATOR = re.compile(r"\s*(,|;|and|with|&)\s*")


@dataclass(frozen=True)
class ReasonClaim:
    """A claim that an argument equals a value, or is larger or smaller.

    Args:
        name: the argument, or `<input>.ndim`.
        relation: how the argument compares with the value: `"=="`, `">"`, ….
        value: the value to compare with.
    """

    name: str
    relation: str
    value: Any

    def __str__(self) -> str:
        return f"{self.name}{'=' if self.relation == '==' else self.relation}{self.value!r}"

    def applies_to(self, case: Case) -> bool:
        """Whether the case has the argument."""
        return self.name in facts(case)

    def may_apply(self, case: Case) -> bool:
        """Whether the claim may be about the case: one number of several suffices."""
        value = facts(case).get(self.name)
        if self._compare(value):
            return True
        if self.relation == "==":
            return bool(matches(value, self.value))
        return any(self._compare(v) for v in value) if isinstance(value, (list, tuple)) else False

    def holds(self, case: Case) -> bool:
        """Whether the claim is true of the case: of several numbers, all must meet it."""
        value = facts(case).get(self.name)
        if self.relation == "==" or not isinstance(value, (list, tuple)):
            return self._compare(value)
        return bool(value) and all(self._compare(v) for v in value)

    def _compare(self, value: Any) -> bool:
        if isinstance(value, list) and isinstance(self.value, tuple):
            value = tuple(value)
        if isinstance(value, bool) is not isinstance(self.value, bool):
            return False
        try:
            return bool(RELATIONS[self.relation](value, self.value))
        except TypeError:
            return False


@lru_cache(maxsize=4096)
def parse_claims(reason: str) -> tuple[ReasonClaim, ...]:
    """Parse the claims of a backend's reason; empty if it contains any other words."""
    parsed: list[ReasonClaim] = []
    remaining = reason.strip()
    while remaining:
        start = _CLAIM_START.match(remaining)
        if start is None:
            return ()
        literal = _parse_literal(remaining[start.end() :])
        if literal is None:
            return ()
        value, length = literal
        relation = "==" if start["relation"] == "=" else start["relation"]
        parsed.append(ReasonClaim(start["name"], relation, value))
        remaining = remaining[start.end() + length :]
        separator = _SEPARATOR.match(remaining)
        if remaining and separator is None:
            return ()
        remaining = remaining[separator.end() :] if separator else ""
    return tuple(parsed)


def reason_topic(reason: str) -> str:
    """A backend's reason without its values, so that `stride=2` and `stride=(1, 2)` are alike."""
    parsed = parse_claims(reason)
    return ", ".join(f"{claim.name}=…" for claim in parsed) if parsed else reason


def _parse_literal(text: str) -> tuple[Any, int] | None:
    """The longest literal at the beginning of a text, and its length; None if there is none."""
    for end in range(min(len(text), 200), 0, -1):
        piece = text[:end]
        if piece != piece.rstrip():
            continue
        try:
            value = ast.literal_eval(piece)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            continue
        # Without this, the literal in '2, groups=3' would be the tuple '2,'.
        if isinstance(value, tuple) and not piece.startswith("("):
            continue
        return value, end
    return None
