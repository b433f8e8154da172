"""What counts as a network."""

from __future__ import annotations

import inspect
from typing import Any

from conformance.bounding.targets import find_layer
from conformance.oracles.operators.table import OPERATORS


def is_network(target: Any) -> bool:
    """Whether a target is no layer of the catalogue, but a module or a function that can run.

    Of torch's own functions, the tensor operators that have an oracle count as networks.
    """
    try:
        find_layer(target)
    except TypeError:
        is_torchs = str(getattr(target, "__module__", "") or "").split(".")[0] == "torch"
        if is_torchs and inspect.isroutine(target):
            return getattr(target, "__name__", "") in OPERATORS
        return callable(target) and not isinstance(target, type)
    return False
