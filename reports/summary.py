"""The contents of a run as frozen dataclasses, made by functions that all renderings share."""

from __future__ import annotations

from conformance.reports.argument_coverage import Space, spaces
from conformance.reports.clusters import Cluster, clusters
from conformance.reports.divergences import Divergences, KnownDivergence, divergences
from conformance.reports.matrix import (
    Matrix,
    MatrixCell,
    Totals,
    matrix,
    totals,
    verdicts_with_status,
)
from conformance.reports.numerics import Margins, margins
from conformance.reports.outcome import (
    CONFORMANT,
    INCOMPLETE,
    NOT_CONFORMANT,
    NOTHING_PASSED,
    SURVEYED,
    WENT_WRONG,
    outcome,
)
from conformance.reports.performance import timings
from conformance.reports.reasons import Reason, unsupported
from conformance.reports.statuses import (
    BAD,
    GLYPHS,
    SEVERITY,
    count_statuses,
    devices,
    dtypes,
    is_left_out,
    is_ok,
    items_without_verdict,
    status,
    unique_verdicts,
)

__all__ = [
    "BAD",
    "CONFORMANT",
    "GLYPHS",
    "INCOMPLETE",
    "NOTHING_PASSED",
    "NOT_CONFORMANT",
    "SEVERITY",
    "SURVEYED",
    "WENT_WRONG",
    "Cluster",
    "Divergences",
    "KnownDivergence",
    "Margins",
    "Matrix",
    "MatrixCell",
    "Reason",
    "Space",
    "Totals",
    "clusters",
    "count_statuses",
    "devices",
    "divergences",
    "dtypes",
    "is_left_out",
    "is_ok",
    "items_without_verdict",
    "margins",
    "matrix",
    "outcome",
    "spaces",
    "status",
    "timings",
    "totals",
    "unique_verdicts",
    "unsupported",
    "verdicts_with_status",
]
