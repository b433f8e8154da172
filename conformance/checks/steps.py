"""Teacher forcing: each step of a recurrent layer, computed from its own previous output."""

from __future__ import annotations

import numpy as np

from conformance.arithmetic.rounded import Rounded, exact_operand
from conformance.checks.trial import Trial


def teacher_forced_steps(trial: Trial) -> tuple[tuple[str, np.ndarray, Rounded], ...]:
    """Name, got and wanted of each output, where each step starts from the backend's last output.

    Empty where this adds nothing to the oracle of the whole call or the outputs hide the states:
    for layers without steps, a single step, or stacked layers. The outputs have passed the shape
    comparison.
    """
    call, keywords = trial.case.call, trial.case.keywords
    output = trial.arrays[0]
    if trial.spec.oracle.steps is None or not trial.spec.oracle.steps.states_visible(trial.case):
        return ()
    precision = trial.precision
    inputs = [None if x is None else exact_operand(x, precision) for x in trial.case.inputs]
    state = {name: exact_operand(x, precision) for name, x in call.state.items()}
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = trial.spec.oracle.steps.values(
            output, state, *inputs, **call.arguments, **keywords
        )
    return tuple(zip(trial.names, trial.arrays, wanted, strict=True))
