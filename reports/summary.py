"""What a run says, as small frozen dataclasses: pure functions that every rendering shares."""

from __future__ import annotations

from .clusters import Cluster, clusters
from .matrix import Cell, Matrix, Row, Tally, failures, known, matrix, tally, totals
from .numerics import Margins, margins
from .outcome import (
    CONFORMANT,
    INCOMPLETE,
    NOT_CONFORMANT,
    NOTHING_PASSED,
    Outcome,
    outcome,
)
from .performance import Timing, timings
from .reasons import Reason, unsupported
from .space import Argument, Space, Value, spaces
from .statuses import (
    BAD,
    CHECKS,
    GLYPHS,
    SEVERITY,
    counts,
    devices,
    dtypes,
    missing,
    ok,
    status,
    verdicts,
)

__all__ = [
    "BAD",
    "CHECKS",
    "CONFORMANT",
    "GLYPHS",
    "INCOMPLETE",
    "NOTHING_PASSED",
    "NOT_CONFORMANT",
    "SEVERITY",
    "Argument",
    "Cell",
    "Cluster",
    "Margins",
    "Matrix",
    "Outcome",
    "Reason",
    "Row",
    "Space",
    "Tally",
    "Timing",
    "Value",
    "clusters",
    "counts",
    "devices",
    "dtypes",
    "failures",
    "known",
    "margins",
    "matrix",
    "missing",
    "ok",
    "outcome",
    "spaces",
    "status",
    "tally",
    "timings",
    "totals",
    "unsupported",
    "verdicts",
]
