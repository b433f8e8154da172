"""Checks of supported layers that compared nothing, or rest on too few structures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from conformance.reports.matrix import Matrix
from conformance.reports.support_gaps import supported_rows

from conformance.model.case import Verdict

MAX_CHECKS, MAX_LAYERS = 4, 3
"""Checks, and layers of each, that `check_names` names."""

LayersByCheck = Mapping[str, Sequence[str]]


def untested_checks(table: Matrix) -> dict[str, tuple[str, ...]]:
    """The checks that compared nothing in any dtype, each with these layers.

    Layers that the backend does not support at all are left out.
    """
    return _group_by_check(
        (cell.check, cell.layer)
        for row in supported_rows(table)
        for cell in row.cells
        if cell is not None and cell.tally.status == "unsupported" and not cell.tally.missing
    )


def checks_of(verdicts: Iterable[Verdict]) -> dict[str, tuple[str, ...]]:
    """The checks of some verdicts, each with its layers."""
    return _group_by_check((verdict.check, verdict.layer) for verdict in verdicts)


def check_names(layers_by_check: LayersByCheck) -> str:
    """Name checks and layers: `"random (Dropout), layout (GELU, ReLU, Softmax and 7 more)"`."""
    checks = [
        f"{check} ({_first_names(layers)})"
        for check, layers in list(layers_by_check.items())[:MAX_CHECKS]
    ]
    others = len(layers_by_check) - MAX_CHECKS
    more = f" and {others} more check{'' if others == 1 else 's'}" if others > 0 else ""
    return f"{', '.join(checks)}{more}"


def _group_by_check(pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Group layers by check; a check of few layers comes first, since its gap is the odd one."""
    layers: dict[str, dict[str, None]] = {}
    for check, layer in pairs:
        layers.setdefault(check, {})[layer] = None
    return {check: tuple(names) for check, names in sorted(layers.items(), key=lambda x: len(x[1]))}


def _first_names(layers: Sequence[str]) -> str:
    others = len(layers) - MAX_LAYERS
    more = f" and {others} more" if others > 0 else ""
    return f"{', '.join(layers[:MAX_LAYERS])}{more}"
