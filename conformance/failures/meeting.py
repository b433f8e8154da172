"""Whether a fact meets a condition: a value, a comma list of globs, or a comparison."""

from __future__ import annotations

import fnmatch
import json
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any

COMPARISON = re.compile(r"^(==|!=|>=|<=|>|<)\s*(.+)$", re.DOTALL)
RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}


def named(name: str, patterns: str) -> bool:
    """Whether one of a comma list of globs is the name."""
    return any(fnmatch.fnmatchcase(name, pattern.strip()) for pattern in patterns.split(","))


def meets(value: Any, wanted: Any) -> bool:
    """Whether a fact meets a condition.

    Args:
        value: the fact; of several numbers any may meet it.
        wanted: a value, a comma list of globs, or a comparison such as `">1"`.
    """
    values: Sequence[Any] = value if isinstance(value, (tuple, list)) else [value]
    match = COMPARISON.match(wanted) if isinstance(wanted, str) else None
    if match is None:
        globs = isinstance(value, str) and isinstance(wanted, str) and named(value, wanted)
        return globs or value == wanted or any(v == wanted for v in values)
    try:
        number = json.loads(match[2])
        return any(v is not None and RELATIONS[match[1]](v, number) for v in values)
    except (ValueError, TypeError):
        return False
