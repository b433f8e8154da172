"""The lines by which a script decides whether the failure occurs.

They repeat the proof's comparison. Without a proof, they compare facts with recorded values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from conformance.diagnosis.array_origin import located
from conformance.diagnosis.literals import literal
from conformance.diagnosis.transcript import FACTS, Transcript
from conformance.model.finding import Finding
from conformance.model.proof import Proof

SHOWN = 60
"""The largest number of elements of an array that a script prints."""


def judged(
    transcript: Transcript, proof: Proof | None, finding: Finding
) -> tuple[Sequence[str], bool]:
    """The lines that set `failed`, and whether they are a proof's comparison."""
    proofs = () if proof is None else (proof, *proof.others)
    lines = next(filter(None, (_proved(transcript, each) for each in proofs)), None)
    return (_as_it_was(transcript, finding), False) if lines is None else (lines, True)


def _proved(transcript: Transcript, proof: Proof) -> list[str] | None:
    """The proof's comparison; None if an array cannot be expressed by arrays that were read."""
    lines: list[str] = []
    places: dict[str, str] = {}
    for name, (array, where) in proof.got.items():
        found = located(transcript.read(), array, where, places.get("got"))
        if found is None and name in proof.given:
            found = literal(array if where is None else array[where])
        if found is None:
            return None
        places[name] = found
        lines += [f"{name} = {found}", _shown(name, array if where is None else None)]
    for name, value in proof.known.items():
        lines += [f"{name} = {literal(value)}", _shown(name, value)]
    return [*lines, *proof.lines]


def _shown(name: str, value: Any) -> str:
    """The line that prints a value, or the beginning of a long array."""
    long = isinstance(value, np.ndarray) and value.size > SHOWN
    return f'print("{name}", {name}{f".reshape(-1)[:{SHOWN}]" * long})'


def _as_it_was(transcript: Transcript, finding: Finding) -> list[str]:
    """Compare every fact with its recorded value; a correct implementation differs in one.

    Numbers are compared only if the finding is about numbers.
    """
    numeric = finding.kind in ("value", "gradient", "bits", "sign", "random", "other")
    lines = [f"print({line!r})" for line in _numbers(finding)]
    lines.append("failed = True")
    for step in transcript.steps:
        if not step.name or step.error is not None:
            continue
        if step.member == "get" and isinstance(step.result, np.ndarray):
            lines.append(f"failed &= {step.name}.shape == {step.result.shape}")
            if numeric:
                known = literal(step.result)
                lines.append(f"failed &= np.array_equal({step.name}, {known}, equal_nan=True)")
        elif step.member in FACTS:
            lines += [f'print("{step.member}", {step.name})']
            lines += [f"failed &= {step.name} == {literal(step.result)}"]
    for step in transcript.steps:
        if step.native and step.member != "put" and step.error is None:
            lines.append(f"failed &= form({step.name}) == {transcript.forms[step.name]!r}")
    return lines


def _numbers(finding: Finding) -> Iterator[str]:
    if finding.got or finding.wanted:
        yield f"got {finding.got}, wanted {finding.wanted}"
