"""Laws of the negative log likelihood, in addition to those of all losses of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.laws.loss.cross_entropy import (
    CLASSES_LAW,
    DROPPED_LAW,
    Loss,
    ignored,
    mean_divisor,
    positions,
    weighted,
)
from conformance.laws.loss.reductions import call_on, form_law, reductions, unbatched_law
from conformance.model.case import is_function
from conformance.spec.law import (
    WITHIN_SUM_OF_BOUNDS,
    Claims,
    Generator,
    Side,
    claim,
    law,
    outputs_with_bounds,
    trial_with,
    with_bounds_of,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


@law("composed", "the loss of a log_softmax is the cross entropy", WITHIN_SUM_OF_BOUNDS)
def composed(trial: Trial, generator: Generator) -> Claims:
    """The case's numbers as logits: NLLLoss of log_softmax, the definition of cross entropy."""
    loss = Loss.of(trial)
    logs = trial_with(trial, loss.x, layer="functional.log_softmax", arguments={"dim": loss.axis})
    composed_call = call_on(trial, (logs.answer[0], *trial.case.inputs[1:]))
    name = "functional.cross_entropy" if is_function(trial.case.call.layer) else "CrossEntropyLoss"
    cross_entropy_call = call_on(trial, trial.case.inputs, layer=name)
    steps = with_bounds_of(composed_call.answer, cross_entropy_call.expected)
    yield claim(
        cross_entropy_call,
        outputs_with_bounds(cross_entropy_call),
        Side(f"{composed_call.text()} of {logs.text()}", steps),
    )


LAWS = (
    form_law("NLLLoss", "functional.nll_loss", ("weight",)),
    *reductions({"mean": mean_divisor}),
    unbatched_law(2),
    positions,
    CLASSES_LAW,
    ignored,
    DROPPED_LAW,
    weighted,
    composed,
)
