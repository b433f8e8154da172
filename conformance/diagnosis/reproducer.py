"""Turn a failing case into a standalone script with the check's steps and its comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pkgutil import resolve_name
from typing import Any

from conformance.backends.guard import BackendError, unguarded_backend
from conformance.backends.memory_guard import MESSAGE_PREFIX
from conformance.backends.registry import loaded_as
from conformance.checks import EVERY_CHECK
from conformance.checks.trial import Trial
from conformance.diagnosis.recording_backend import RecordingBackend
from conformance.diagnosis.script import MAX_DRAWS, Printer, build_script
from conformance.diagnosis.script_assertions import proof_lines
from conformance.diagnosis.script_contract import ContractPrinter
from conformance.diagnosis.script_law import build_law_script
from conformance.diagnosis.script_torch import TorchPrinter, is_torch_shaped, seeded
from conformance.diagnosis.transcript import Transcript, plan_call
from conformance.layers import CATALOGUE
from conformance.model.case import Unsupported
from conformance.model.checks import facts_of
from conformance.model.failure import Failure, Inapplicable
from conformance.model.plain_text import bounded
from conformance.model.untrusted import as_builtin_str

NOT_REPRODUCED = (
    "The check passed when it was recorded: the script repeats its steps and judges nothing."
)
REQUESTS_TITLE = "The requests for the server's standard input, one a line:"
GUARDED_ONLY = "Only the memory guard shows it at each call: nn-conformance replay RESULTS ID."
ATTEMPTS = 5
"""How often the check runs until it fails again; each run draws new initial values."""
MAX_CRASH_SECONDS = 10.0
"""Seconds that a case which ends the process may take in a copy while its script is written."""
MAX_SCRIPT_LENGTH = 100_000
"""The largest number of characters of a script that a backend writes."""


def make_reproducer(
    trial: Trial,
    check: str,
    message: str,
    *,
    ends_process: bool = False,
    write: Callable[[str], None] | None = None,
) -> str:
    """Write a script of the steps of a check; it exits with 1 if the failure occurs, else with 0.

    For a torch-shaped backend, it needs torch, NumPy, and the module of a layer that is not torch's
    own. For any other backend it needs the adapter. The script of a law that calculates with the
    outputs runs the law itself, so it also needs this package. A backend may write its own script
    by `script(transcript)`. If a server in another language is under test, the script ends with the
    lines of its requests.

    Args:
        trial: the failing trial.
        check: the check that failed.
        message: the failure's message, for the script's title.
        ends_process: the case ends the process.
        write: for such a case, called before each step with the script up to that step, since the
            step may end the process. None = the case does not run.
    """
    if ends_process:
        return _script_of_crash(trial, check, _title(trial, check, message), write)
    script = _write_script(trial, check, message)
    return script + _request_comments(trial, check)


def _write_script(trial: Trial, check: str, message: str) -> str:
    """Write the script of a failing case that does not end the process."""
    seed, law_trial = 0, trial
    for seed in range(ATTEMPTS):
        transcript = Transcript()
        failure = _record_check(trial, check, transcript, seed)
        if failure is not None:
            if failure.case is not None:
                shorter = Transcript()
                shorter_failure = _record_check(trial.trial_of(failure.case), check, shorter, seed)
                if shorter_failure is not None:
                    law_trial = trial.trial_of(failure.case)
                    transcript, failure = shorter, shorter_failure
            break
    has_own_script = trial.backend.read("script")  # type: ignore[attr-defined]
    if has_own_script is not None:
        return _backend_script(trial, transcript)
    if failure is None:
        title = [*_title(trial, check, message), "", NOT_REPRODUCED]
        return build_script(title, transcript, _make_printer(trial), ending="not judged")
    proof, random = failure.proof, _draws_random_numbers(transcript)
    if proof is not None and proof.whole_array_proof is not None and random:
        proof = proof.whole_array_proof
    # The numbers differ in each run if they contain initial values, or if a layer draws where it
    # should not.
    is_redrawn = random or any(step.initial for step in transcript.steps)
    is_redrawn = (
        is_redrawn or failure.finding.kind == "random" or failure.finding.got not in message
    )
    title = _title(trial, check, str(failure) if is_redrawn else message, is_redrawn=is_redrawn)
    # A bug may draw random numbers anywhere, so the script always sets a seed.
    draws = MAX_DRAWS if random and not is_torch_shaped(trial.backend) else 1
    law = failure.finding.law
    is_written = not facts_of(check).script_runs_check and (
        not law
        or transcript.steps[-1].error is not None
        or proof_lines(transcript, proof) is not None
    )
    if not is_written:
        torch_seed = seed if is_torch_shaped(trial.backend) else None
        return build_law_script(title, law_trial, check, law, draws=draws, torch_seed=torch_seed)
    # The adapter decides whether an invalid call is refused, and how often a layer draws.
    needs_adapter = random or failure.finding.kind == "refusal"
    return _build_script(
        trial,
        title,
        transcript,
        seed,
        needs_adapter=needs_adapter,
        finding=failure.finding,
        proof=proof,
        draws=draws,
    )


def _request_comments(trial: Trial, check: str) -> str:
    """The requests of the check as comments; empty if the backend is no server or they are long."""
    if trial.backend.read("record_requests") is None:  # type: ignore[attr-defined]
        return ""
    run = partial(_record_check, trial, check, Transcript())
    lines = trial.backend.call_method("record_requests", run)  # type: ignore[attr-defined]
    if sum(map(len, lines)) > MAX_SCRIPT_LENGTH:
        return ""
    return "\n".join(["", f"# {REQUESTS_TITLE}", *(f"# {line}" for line in lines), ""])


def _backend_script(trial: Trial, transcript: Transcript) -> str:
    """The script that a backend writes, or a comment that describes its error."""
    try:
        text = as_builtin_str(trial.backend.call_method("script", transcript))  # type: ignore[attr-defined]
    except BackendError as error:
        return f"# {error}".replace("\n", "\n# ")
    return "# script() returned no text" if text is None else bounded(text, MAX_SCRIPT_LENGTH)


def _draws_random_numbers(transcript: Transcript) -> bool:
    """Whether a step draws random numbers other than initial values."""
    for step in transcript.steps:
        switches_to_training = step.member == "train" and step.arguments[0]
        call = replace(step.call, training=True) if switches_to_training else step.call
        if CATALOGUE[call.layer].randomness.is_used(call):
            return True
    return False


def _title(trial: Trial, check: str, message: str, *, is_redrawn: bool = False) -> list[str]:
    redrawn_note = ", with random numbers drawn for this script" * is_redrawn
    return [
        trial.text(),
        "",
        f"Check {check!r} on backend {trial.backend.name}{redrawn_note}:",
        *(f"  {line}" for line in message.splitlines()[:12]),
    ]


def _make_printer(trial: Trial, seed: int | None = None) -> Printer:
    if is_torch_shaped(trial.backend):
        return TorchPrinter(unguarded_backend(trial.backend), trial.case.call, seed)
    return ContractPrinter(loaded_as(trial.backend) or trial.backend.name)


def _build_script(
    trial: Trial,
    title: Sequence[str],
    transcript: Transcript,
    seed: int | None = None,
    *,
    needs_adapter: bool = False,
    **parts: Any,
) -> str:
    """Write a script that needs the framework alone, or the adapter where it must.

    Args:
        parts: other arguments of `build_script`.
    """
    name = as_builtin_str(trial.backend.read("script_printer"))  # type: ignore[attr-defined]
    if name and not needs_adapter:
        with suppress(Unsupported):
            printer_class = resolve_name(name)
            printer = printer_class(unguarded_backend(trial.backend), trial.case.call, seed)
            return build_script(title, transcript, printer, **parts)
    return build_script(title, transcript, _make_printer(trial, seed), **parts)


def _record_check(
    trial: Trial, check: str, transcript: Transcript, seed: int = 0
) -> Failure | None:
    """Run the check again with torch seeded, and record each step; None if it does not fail."""
    backend = RecordingBackend(trial.backend, transcript)
    repeated_trial = Trial(backend, trial.spec, trial.case, trial.numerics, trial.answers)
    with seeded(trial.backend, seed):
        try:
            EVERY_CHECK[check].run(repeated_trial)
        except Failure as failure:
            return failure
        except (Unsupported, Inapplicable):
            return None
    return None


def _script_of_crash(
    trial: Trial, check: str, title: Sequence[str], write: Callable[[str], None] | None
) -> str:
    """A script of the steps up to the one that ends the process or hangs."""

    if MESSAGE_PREFIX in "\n".join(title):
        title = [*title, "", GUARDED_ONLY]

    def text(transcript: Transcript) -> str:
        return _build_script(trial, title, transcript, ending="the process is still there")

    if write is not None:
        _record_check(trial, check, Transcript(lambda transcript: write(text(transcript))))
    return text(plan_call(trial.case))
