"""The findings of the suite: the shipped known failures, by bug and class.

A reason reads `class: what is wrong; also: how this entry differs`. Entries with the same class and
the same wrong behaviour are one finding, even with different layers, checks, dtypes and files.
`SEEN` holds the outcomes of the pinned cases that were run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from conformance.known.entry import KnownFailure, parse_entries, with_dtype_and_device
from conformance.layers.describe import case_text, number_text
from conformance.model.case import Case

ROOT = Path(__file__).resolve().parents[1]
SEEN = ROOT / "docs" / "data" / "findings.json"
FOLDER = ROOT / "conformance" / "known_failures"
ALSO_SEPARATOR = "; also: "

CLASSES: Mapping[str, str] = {
    "wrong value": "the result differs from the documented numbers",
    "wrong gradient": "the gradient differs from the derivative",
    "precision": "the result loses more digits than rounding explains",
    "overflow": "an intermediate result leaves the dtype's range: ∞, NaN or 0 for a number",
    "memory": "the call reads or writes foreign memory, or reads memory that was never written",
    "crash": "the process ends",
    "hang": "the call never returns",
    "wrong shape": "the result has another shape or dtype, or is missing",
    "wrong state": "the layer, or the caller's tensor, is wrong after the call",
    "accepted invalid": "the call is accepted although the documentation forbids it",
    "refused valid": "the call is refused although the documentation allows it",
    "wrong exception": "an invalid call raises an exception that is not a refusal",
}
NO_BUG = "no bug"
"""The class of entries that are not findings: no implementation could pass, or our bound fails."""

BACKENDS = (
    "torch", "torch-compile", "torch-decomposed", "torch-meta", "onnxruntime", "onnx-reference",
    "openvino", "mlx", "jax", "flax", "keras", "tinygrad",
)  # fmt: skip
"""Files, in the page's order; a bug that torch has too is listed with torch."""

MAX_CALL_LENGTH = 300
"""Characters of a call, at most."""


@dataclass
class Bug:
    """One finding.

    Args:
        kind: its class, one of `CLASSES`.
        what: what is wrong.
        owner: the backend that it is listed with.
        entries: pairs of a file and an entry that describes the bug.
    """

    kind: str
    what: str
    owner: str
    entries: list[tuple[str, KnownFailure]] = field(default_factory=list)

    @property
    def backends(self) -> list[str]:
        """All backends with this bug; the owner comes first."""
        names = [self.owner]
        for file, entry in self.entries:
            names += [file] if entry.backend == "*" else entry.backend.split(",")
        return list(dict.fromkeys(names))

    @property
    def owner_entries(self) -> list[KnownFailure]:
        """The entries in the file of its owner."""
        return [entry for file, entry in self.entries if file == self.owner]

    @property
    def key(self) -> str:
        """Its key in `SEEN`."""
        return f"{self.owner}: {self.kind}: {self.what}"


def split_reason(reason: str) -> tuple[str, str, str]:
    """Split a reason into its class, what is wrong, and how the entry differs."""
    kind, _, details = reason.partition(": ")
    what, _, also = details.partition(ALSO_SEPARATOR)
    return kind, what, also


def reason_fault(reason: str) -> str:
    """What is wrong with the reason of a shipped entry; empty if it is complete."""
    kind, what, also = split_reason(reason)
    if kind not in (*CLASSES, NO_BUG) or ": " not in reason:
        return f"no class: expected one of {', '.join((*CLASSES, NO_BUG))}"
    if not what.strip():
        return "it does not say what is wrong"
    return "it does not say how it differs" if ALSO_SEPARATOR in reason and not also.strip() else ""


def entries() -> Iterator[tuple[str, KnownFailure]]:
    """Every shipped entry, with the backend of its file."""
    for name in BACKENDS:
        yield from ((name, entry) for entry in _read_entries(name))


@cache
def _read_entries(name: str) -> tuple[KnownFailure, ...]:
    path = FOLDER / f"{name}.toml"
    return parse_entries(path.read_text(encoding="utf-8"), path.name)


def bugs() -> list[Bug]:
    """All bugs, and the entries that are no bugs, in the order of the files."""
    bugs_by_reason: dict[tuple[str, str], Bug] = {}
    for file, entry in entries():
        kind, what, _ = split_reason(entry.reason)
        owner = file
        if entry.backend != "*" and file not in entry.backend.split(","):
            # A mode of a backend, e.g. a compiled one, has no section.
            known_backends = [name for name in entry.backend.split(",") if name in BACKENDS]
            owner = known_backends[0] if known_backends else file
        bug = bugs_by_reason.setdefault((kind, what), Bug(kind, what, owner))
        bug.entries.append((file, entry))
    return list(bugs_by_reason.values())


def pinned_cases(bug: Bug) -> list[tuple[KnownFailure, str, Case]]:
    """The pinned cases of a finding, the smallest first.

    Returns:
        Triples of the entry, the check (empty if any check of the entry applies) and the case.
    """
    cases = []
    for entry in bug.owner_entries:
        for id, case in entry.cases.items():
            dtype, device = id.split("-")[2:4]
            cases.append((entry, id.split("-")[1], with_dtype_and_device(case, dtype, device)))
        if entry.case is not None:
            cases.append((entry, "", with_dtype_and_device(entry.case, _case_dtype(entry), "cpu")))
    return sorted(cases, key=lambda one: _size(one[2]))


def _case_dtype(entry: KnownFailure) -> str:
    """The dtype to run an entry's case in: its own if the entry covers it, else the first."""
    assert entry.case is not None
    dtypes, case_dtype = entry.dtype.split(","), entry.case.call.dtype
    return case_dtype if case_dtype in dtypes or entry.dtype == "*" else dtypes[0]


def _arrays(case: Case) -> dict[str, Any]:
    names = case.call.state
    inputs = {f"input {k}": x for k, x in enumerate(case.inputs) if x is not None}
    return {**names, **inputs}


def _size(case: Case) -> tuple[int, int]:
    return sum(x.size for x in _arrays(case).values()), len(case_text(case))


def call_text(case: Case) -> str:
    """A pinned call in a line, with the numbers of its input where there are few."""
    text = case_text(case).removesuffix(f", {case.call.device}")
    numbers = [x for x in case.inputs if x is not None and x.size]
    if len(numbers) == 1 and numbers[0].size <= 4:
        values = ", ".join(number_text(x) for x in numbers[0].reshape(-1).tolist())
        text += f", of {values}"
    return shorten(text, MAX_CALL_LENGTH)


def shorten(text: str, limit: int) -> str:
    """Shorten text to a number of characters, in one line."""
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 2].rstrip(" ,(") + " …"


def read_outcomes() -> dict[str, Any]:
    """The outcomes in `SEEN`, by the key of the bug."""
    outcomes: dict[str, Any] = json.loads(SEEN.read_text(encoding="utf-8"))
    outcomes.pop("$comment")
    return outcomes
