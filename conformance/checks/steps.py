"""Teacher forcing: a recurrent layer's every step, from its own previous output."""

from __future__ import annotations

import numpy as np

from conformance.arithmetic.rounded import Rounded, exactly
from conformance.checks.trial import Trial


def forced(trial: Trial) -> tuple[tuple[str, np.ndarray, Rounded], ...]:
    """Name, got and wanted of each output, each step starting from what the backend gave before.

    Nothing where the layer's own oracle says the same or the states in between are not seen: for
    layers without steps, a single step, several layers on top of each other.

    Args:
        trial: the case on the backend; its outputs have the shapes wanted.
    """
    call, keywords = trial.case.call, trial.case.keywords
    output = trial.arrays[0]
    if trial.row.oracle.steps is None or not trial.row.oracle.steps.shown(trial.case):
        return ()
    precision = trial.precision
    inputs = [None if x is None else exactly(x, precision) for x in trial.case.inputs]
    state = {name: exactly(x, precision) for name, x in call.state.items()}
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = trial.row.oracle.steps.values(output, state, *inputs, **call.arguments, **keywords)
    return tuple(zip(trial.names, trial.arrays, wanted, strict=True))
