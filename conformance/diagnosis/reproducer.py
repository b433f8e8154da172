"""Turn a failing case into a standalone script with the check's steps and its comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from conformance.backends.guard import BackendError, inner
from conformance.backends.registry import loaded_as
from conformance.checks import EVERY_CHECK
from conformance.checks.trial import Trial
from conformance.diagnosis.recording_backend import Recorded
from conformance.diagnosis.script import DRAWS, Printer, script
from conformance.diagnosis.script_contract import ContractPrinter
from conformance.diagnosis.script_torch import TorchPrinter, seeded, torch_shaped
from conformance.diagnosis.transcript import Transcript, planned
from conformance.layers import CATALOGUE
from conformance.model.case import Unsupported
from conformance.model.failure import Failure, Inapplicable
from conformance.model.plain_text import bounded
from conformance.model.untrusted import exact_text

UNSEEN = "The check passed when it was recorded: the script repeats its steps and judges nothing."
ATTEMPTS = 5
"""How often the check runs until it fails again; each run draws new initial values."""
PATIENCE = 10.0
"""Seconds that a case which ends the process may take in a copy while its script is written."""
LONGEST = 100_000
"""The largest number of characters of a script that a backend writes."""


def reproducer(
    trial: Trial,
    check: str,
    message: str,
    *,
    deadly: bool = False,
    write: Callable[[str], None] | None = None,
) -> str:
    """Write a script of the steps of a check; it exits with 1 if the failure occurs, else with 0.

    For a torch-shaped backend, it needs torch, NumPy, and the module of a layer that is not torch's
    own. For any other backend it needs the adapter. A backend may write its own script by
    `script(transcript)`.

    Args:
        trial: the failing trial.
        check: the check that failed.
        message: the failure's message, for the script's title.
        deadly: the case ends the process.
        write: for such a case, called before each step with the script up to that step, since the
            step may end the process. None = the case does not run.
    """
    if deadly:
        return _of_the_dying(trial, check, _title(trial, check, message), write)
    seed = 0
    for seed in range(ATTEMPTS):
        transcript = Transcript()
        failure = _recorded(trial, check, transcript, seed)
        if failure is not None:
            if failure.case is not None:
                less = Transcript()
                alone = _recorded(trial.other(failure.case), check, less, seed)
                if alone is not None:
                    transcript, failure = less, alone
            break
    own = trial.backend.read("script")  # type: ignore[attr-defined]
    if own is not None:
        return _of_its_own(trial, transcript)
    if failure is None:
        title = [*_title(trial, check, message), "", UNSEEN]
        return script(title, transcript, _printer(trial), ending="not judged")
    proof, random = failure.proof, _draws(transcript)
    if proof is not None and proof.whole is not None and random:
        proof = proof.whole
    # The numbers differ in each run if they contain initial values, or if a layer draws where it
    # should not.
    drawn = random or any(step.initial for step in transcript.steps)
    drawn = drawn or failure.finding.kind == "random" or failure.finding.got not in message
    title = _title(trial, check, str(failure) if drawn else message, drawn=drawn)
    # A bug may draw random numbers anywhere, so the script always sets a seed.
    printer = _printer(trial, seed)
    draws = DRAWS if random and not torch_shaped(trial.backend) else 1
    return script(title, transcript, printer, failure.finding, proof, draws=draws)


def _of_its_own(trial: Trial, transcript: Transcript) -> str:
    """The script that a backend writes, or a comment that describes its error."""
    try:
        text = exact_text(trial.backend.ask("script", transcript))  # type: ignore[attr-defined]
    except BackendError as error:
        return f"# {error}".replace("\n", "\n# ")
    return "# script() returned no text" if text is None else bounded(text, LONGEST)


def _draws(transcript: Transcript) -> bool:
    """Whether a step draws random numbers other than initial values."""
    for step in transcript.steps:
        trains = step.member == "train" and step.arguments[0]
        call = replace(step.call, training=True) if trains else step.call
        if CATALOGUE[call.layer].randomness.used(call):
            return True
    return False


def _title(trial: Trial, check: str, message: str, *, drawn: bool = False) -> list[str]:
    anew = ", with random numbers drawn for this script" * drawn
    return [
        trial.text(),
        "",
        f"Check {check!r} on backend {trial.backend.name}{anew}:",
        *(f"  {line}" for line in message.splitlines()[:12]),
    ]


def _printer(trial: Trial, seed: int | None = None) -> Printer:
    if torch_shaped(trial.backend):
        return TorchPrinter(inner(trial.backend), trial.case.call, seed)
    return ContractPrinter(loaded_as(trial.backend) or trial.backend.name)


def _recorded(trial: Trial, check: str, transcript: Transcript, seed: int = 0) -> Failure | None:
    """Run the check again with torch seeded, and record each step; None if it does not fail."""
    backend = Recorded(trial.backend, transcript)
    again = Trial(backend, trial.row, trial.case, trial.numerics, trial.answers)
    with seeded(trial.backend, seed):
        try:
            EVERY_CHECK[check].run(again)
        except Failure as failure:
            return failure
        except (Unsupported, Inapplicable):
            return None
    return None


def _of_the_dying(
    trial: Trial, check: str, title: Sequence[str], write: Callable[[str], None] | None
) -> str:
    """A script of the steps up to the one that ends the process or hangs."""

    def text(transcript: Transcript) -> str:
        return script(title, transcript, _printer(trial), ending="the process is still there")

    if write is not None:
        _recorded(trial, check, Transcript(lambda transcript: write(text(transcript))))
    return text(planned(trial.case))
