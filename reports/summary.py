"""What a run says, as small frozen dataclasses: pure functions that every rendering shares."""

from __future__ import annotations

from .clusters import Cluster, clusters
from .divergences import Divergences, Known, divergences
from .matrix import Cell, Matrix, Tally, listed, matrix, totals
from .numerics import Margins, margins
from .outcome import CONFORMANT, INCOMPLETE, NOT_CONFORMANT, NOTHING_PASSED, outcome
from .performance import timings
from .reasons import Reason, unsupported
from .space import Space, spaces
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
    "Cell",
    "Cluster",
    "Divergences",
    "Known",
    "Margins",
    "Matrix",
    "Reason",
    "Space",
    "Tally",
    "clusters",
    "counts",
    "devices",
    "divergences",
    "dtypes",
    "listed",
    "margins",
    "matrix",
    "missing",
    "ok",
    "outcome",
    "spaces",
    "status",
    "timings",
    "totals",
    "unsupported",
    "verdicts",
]
