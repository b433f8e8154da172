"""Test facts against conditions: a value, a comma list of globs, or a comparison."""

from __future__ import annotations

import fnmatch
import json
import operator
import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

COMPARISON = re.compile(r"^(==|!=|>=|<=|>|<)\s*(.+)$", re.DOTALL)
_GLOB = re.compile(r"[*?\[]")
RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


# Every item checks every entry, and neighbouring items have the same layer.
@lru_cache(maxsize=4096)
def matches_globs(name: str, patterns: str) -> bool:
    """Whether a name matches one glob of a comma list."""
    names, globs = _split_patterns(patterns)
    return name in names or any(glob.match(name) for glob in globs)


@cache
def _split_patterns(patterns: str) -> tuple[frozenset[str], tuple[re.Pattern[str], ...]]:
    """Split a comma list into its plain names and its globs."""
    parts = frozenset(pattern.strip() for pattern in patterns.split(","))
    names = frozenset(pattern for pattern in parts if not _GLOB.search(pattern))
    return names, tuple(re.compile(fnmatch.translate(glob)) for glob in sorted(parts - names))


def matches(value: Any, condition: Any) -> bool:
    """Whether a fact meets a condition.

    Args:
        value: the fact; if it is a sequence, one element must meet the condition.
        condition: a value, a comma list of globs, or a comparison such as `">1"`.
    """
    values: Sequence[Any] = value if isinstance(value, (tuple, list)) else [value]
    comparison = COMPARISON.match(condition) if isinstance(condition, str) else None
    if comparison is None:
        matches_glob = (
            isinstance(value, str)
            and isinstance(condition, str)
            and matches_globs(value, condition)
        )
        return matches_glob or value == condition or any(v == condition for v in values)
    try:
        number = json.loads(comparison[2])
        return any(v is not None and RELATIONS[comparison[1]](v, number) for v in values)
    except (ValueError, TypeError):
        return False
