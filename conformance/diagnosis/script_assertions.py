"""The lines by which a script decides whether the failure occurs.

They repeat the proof's comparison. Without a proof, they compare facts with recorded values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from conformance.diagnosis.array_origin import locate_array
from conformance.diagnosis.literals import literal
from conformance.diagnosis.transcript import FACT_MEMBERS, Transcript
from conformance.model.finding import Finding
from conformance.model.proof import Proof

MAX_PRINTED = 60
"""The largest number of elements of an array that a script prints."""


def assertion_lines(
    transcript: Transcript, proof: Proof | None, finding: Finding
) -> tuple[Sequence[str], bool]:
    """The lines that set `failed`, and whether they are a proof's comparison."""
    lines = proof_lines(transcript, proof)
    return (_snapshot_lines(transcript, finding), False) if lines is None else (lines, True)


def proof_lines(transcript: Transcript, proof: Proof | None) -> list[str] | None:
    """The lines of the first comparison of a proof that can be written; None if there is none."""
    proofs = () if proof is None or proof.computed else (proof, *proof.others)
    return next(filter(None, (_single_proof_lines(transcript, x) for x in proofs)), None)


def _single_proof_lines(transcript: Transcript, proof: Proof) -> list[str] | None:
    """The proof's comparison; None if an array cannot be expressed by arrays that were read."""
    lines: list[str] = []
    origins: dict[str, str] = {}
    for name, (array, index) in proof.got.items():
        origin = locate_array(transcript.read(), array, index, origins.get("got"))
        if origin is None and name in proof.possible_inputs:
            origin = literal(array if index is None else array[index])
        if origin is None:
            return None
        origins[name] = origin
        lines += [f"{name} = {origin}", _print_line(name, array if index is None else None)]
    for name, value in proof.known.items():
        lines += [f"{name} = {literal(value)}", _print_line(name, value)]
    return [*lines, *proof.lines]


def _print_line(name: str, value: Any) -> str:
    """The line that prints a value, or the beginning of a long array."""
    long = isinstance(value, np.ndarray) and value.size > MAX_PRINTED
    return f'print("{name}", {name}{f".reshape(-1)[:{MAX_PRINTED}]" * long})'


def _snapshot_lines(transcript: Transcript, finding: Finding) -> list[str]:
    """Compare every fact with its recorded value; a correct implementation differs in one.

    Numbers are compared only if the finding is about numbers.
    """
    numeric = finding.kind in ("value", "gradient", "bits", "sign", "random", "other")
    lines = [f"print({line!r})" for line in _got_and_wanted_lines(finding)]
    lines.append("failed = True")
    for step in transcript.steps:
        if not step.name or step.error is not None:
            continue
        if step.member == "get" and isinstance(step.result, np.ndarray):
            lines.append(f"failed &= {step.name}.shape == {step.result.shape}")
            if numeric:
                known = literal(step.result)
                lines.append(f"failed &= np.array_equal({step.name}, {known}, equal_nan=True)")
        elif step.member in FACT_MEMBERS:
            lines += [f'print("{step.member}", {step.name})']
            lines += [f"failed &= {step.name} == {literal(step.result)}"]
    for step in transcript.steps:
        if step.native and step.member != "put" and step.error is None:
            lines.append(f"failed &= form({step.name}) == {transcript.forms[step.name]!r}")
    return lines


def _got_and_wanted_lines(finding: Finding) -> Iterator[str]:
    if finding.got or finding.wanted:
        yield f"got {finding.got}, wanted {finding.wanted}"
