"""Laws of the negative log likelihood, in addition to those of all losses of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.laws.loss.cross_entropy import (
    CLASSES,
    DROPPED,
    Loss,
    ignored,
    mean_of_samples,
    positions,
    weighted,
)
from conformance.laws.loss.reductions import form, on, reductions, unbatched
from conformance.model.case import is_function
from conformance.spec.law import (
    SUMMED,
    Claims,
    Generator,
    Side,
    bounded,
    called,
    claim,
    law,
    measured,
)

if TYPE_CHECKING:
    from conformance.spec.trial_protocol import TrialLike as Trial


@law("composed", "the loss of a log_softmax is the cross entropy", SUMMED)
def composed(trial: Trial, generator: Generator) -> Claims:
    """The case's numbers as logits: NLLLoss of log_softmax, the definition of cross entropy."""
    loss = Loss.of(trial)
    logs = called(trial, loss.x, layer="functional.log_softmax", arguments={"dim": loss.axis})
    by_steps = on(trial, (logs.answer[0], *trial.case.inputs[1:]))
    name = "functional.cross_entropy" if is_function(trial.case.call.layer) else "CrossEntropyLoss"
    at_once = on(trial, trial.case.inputs, layer=name)
    steps = bounded(by_steps.answer, at_once.expected)
    yield claim(at_once, measured(at_once), Side(f"{by_steps.text()} of {logs.text()}", steps))


LAWS = (
    form("NLLLoss", "functional.nll_loss", ("weight",)),
    *reductions({"mean": mean_of_samples}),
    unbatched(2),
    positions,
    CLASSES,
    ignored,
    DROPPED,
    weighted,
    composed,
)
