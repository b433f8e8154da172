"""Parse a reason for declining a call into claims about it: `padding_mode='circular'`."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from conformance.matching.comparison import RELATIONS, meets
from conformance.matching.facts import facts
from conformance.model.case import Case

_START = re.compile(r"(?P<name>[A-Za-z_][\w.]*)\s*(?P<relation>==|!=|>=|<=|=|>|<)\s*")
_BETWEEN = re.compile(r"\s*(,|;|and|with|&)\s*")


@dataclass(frozen=True)
class ReasonClaim:
    """A claim that an argument equals a value, or is larger or smaller.

    Args:
        name: the argument, or `<input>.ndim`.
        relation: `"=="`, `">"`, ….
        value: the value to compare with.
    """

    name: str
    relation: str
    value: Any

    def __str__(self) -> str:
        return f"{self.name}{'=' if self.relation == '==' else self.relation}{self.value!r}"

    def about(self, case: Case) -> bool:
        """Whether the case has the argument."""
        return self.name in facts(case)

    def may_hold(self, case: Case) -> bool:
        """Whether the claim may be about the case: one number of several suffices."""
        value = facts(case).get(self.name)
        if self._strictly(value):
            return True
        if self.relation == "==":
            return bool(meets(value, self.value))
        return any(self._strictly(v) for v in value) if isinstance(value, (list, tuple)) else False

    def holds(self, case: Case) -> bool:
        """Whether the claim is true of the case: of several numbers, all must meet it."""
        value = facts(case).get(self.name)
        if self.relation == "==" or not isinstance(value, (list, tuple)):
            return self._strictly(value)
        return bool(value) and all(self._strictly(v) for v in value)

    def _strictly(self, value: Any) -> bool:
        if isinstance(value, list) and isinstance(self.value, tuple):
            value = tuple(value)
        if isinstance(value, bool) is not isinstance(self.value, bool):
            return False
        try:
            return bool(RELATIONS[self.relation](value, self.value))
        except TypeError:
            return False


@lru_cache(maxsize=4096)
def claims(reason: str) -> tuple[ReasonClaim, ...]:
    """Parse the claims of a backend's reason; empty if it contains any other words."""
    found: list[ReasonClaim] = []
    rest = reason.strip()
    while rest:
        start = _START.match(rest)
        if start is None:
            return ()
        literal = _literal(rest[start.end() :])
        if literal is None:
            return ()
        value, length = literal
        relation = "==" if start["relation"] == "=" else start["relation"]
        found.append(ReasonClaim(start["name"], relation, value))
        rest = rest[start.end() + length :]
        between = _BETWEEN.match(rest)
        if rest and between is None:
            return ()
        rest = rest[between.end() :] if between else ""
    return tuple(found)


def topic(reason: str) -> str:
    """A backend's reason without its values, so that `stride=2` and `stride=(1, 2)` are alike."""
    found = claims(reason)
    return ", ".join(f"{claim.name}=…" for claim in found) if found else reason


def _literal(text: str) -> tuple[Any, int] | None:
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
