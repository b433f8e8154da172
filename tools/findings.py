"""The findings of the suite: the known failures that ship, by bug and class.

A reason reads `class: what is wrong; also: how this entry differs`. Entries of one class and one
wrong are one finding, whatever their layers, checks, dtypes and files. `SEEN` holds what came out
of pinned cases; what was not run is not in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from conformance.known.entry import Known, on, parse
from conformance.layers.describe import case_text, number_text
from conformance.model.case import Case

ROOT = Path(__file__).resolve().parents[1]
SEEN = ROOT / "docs" / "data" / "findings.json"
FOLDER = ROOT / "conformance" / "known_failures"
ALSO = "; also: "

CLASSES: Mapping[str, str] = {
    "wrong value": "other numbers come out than are documented",
    "wrong gradient": "other gradients than the derivative",
    "precision": "digits are lost beyond what rounding allows",
    "overflow": "something on the way leaves the range of the dtype: ∞, NaN or 0 for a number",
    "memory": "memory is read or written that is not the call's, or was never written",
    "crash": "the process ends",
    "hang": "the call never returns",
    "wrong shape": "another shape or dtype, or nothing, comes out",
    "wrong state": "a layer, or the caller's tensor, is another one after the call",
    "accepted invalid": "a call that the documentation rules out is not refused",
    "refused valid": "a call that the documentation allows is refused",
    "wrong exception": "an invalid call ends in an exception that is no refusal",
}
NO_BUG = "no bug"
"""The class of entries that are no finding: what no implementation could do, or a bound of ours."""

BACKENDS = (
    "torch", "torch-compile", "torch-meta", "onnxruntime", "onnx-reference", "openvino",
    "mlx", "jax", "flax", "keras", "tinygrad",
)  # fmt: skip
"""Files, in the page's order; what torch does as well stands with torch."""

CALL = 300
"""The longest call in characters."""


@dataclass
class Bug:
    """One finding.

    Args:
        kind: its class, one of `CLASSES`.
        what: what is wrong.
        owner: the backend that it stands with.
        entries: that tell of it, each with its file.
    """

    kind: str
    what: str
    owner: str
    entries: list[tuple[str, Known]] = field(default_factory=list)

    @property
    def backends(self) -> list[str]:
        """All that fail so, its own first."""
        found = [self.owner]
        for file, entry in self.entries:
            found += [file] if entry.backend == "*" else entry.backend.split(",")
        return list(dict.fromkeys(found))

    @property
    def own(self) -> list[Known]:
        """The entries in its backend's file."""
        return [entry for file, entry in self.entries if file == self.owner]

    @property
    def key(self) -> str:
        """Its name in `SEEN`."""
        return f"{self.owner}: {self.kind}: {self.what}"


def split(reason: str) -> tuple[str, str, str]:
    """Class, what is wrong, and how an entry differs."""
    kind, _, rest = reason.partition(": ")
    what, _, also = rest.partition(ALSO)
    return kind, what, also


def fault(reason: str) -> str:
    """What a reason of a file that ships lacks; empty where it lacks nothing."""
    kind, what, also = split(reason)
    if kind not in (*CLASSES, NO_BUG) or ": " not in reason:
        return f"no class: expected one of {', '.join((*CLASSES, NO_BUG))}"
    if not what.strip():
        return "it does not say what is wrong"
    return "it does not say how it differs" if ALSO in reason and not also.strip() else ""


def entries() -> Iterator[tuple[str, Known]]:
    """Every entry that ships, with its file's backend."""
    for name in BACKENDS:
        yield from ((name, entry) for entry in _read(name))


@cache
def _read(name: str) -> tuple[Known, ...]:
    path = FOLDER / f"{name}.toml"
    return parse(path.read_text(encoding="utf-8"), path.name)


def bugs() -> list[Bug]:
    """All findings, in the order of the files."""
    found: dict[tuple[str, str], Bug] = {}
    for file, entry in entries():
        kind, what, _ = split(entry.reason)
        owner = file
        if entry.backend != "*" and file not in entry.backend.split(","):
            # A mode of a backend has no section of its own.
            named = [name for name in entry.backend.split(",") if name in BACKENDS]
            owner = named[0] if named else file
        bug = found.setdefault((kind, what), Bug(kind, what, owner))
        bug.entries.append((file, entry))
    return list(found.values())


def pinned(bug: Bug) -> list[tuple[Known, str, Case]]:
    """The pinned cases of a finding in an item that its entry is about, the smallest first.

    Args:
        bug: the finding.
    """
    found = []
    for entry in bug.own:
        for id, case in entry.cases.items():
            dtype, device = id.split("-")[2:4]
            found.append((entry, id.split("-")[1], on(case, dtype, device)))
        if entry.case is not None:
            found.append((entry, "", on(entry.case, _dtype(entry), "cpu")))
    return sorted(found, key=lambda one: _size(one[2]))


def _dtype(entry: Known) -> str:
    """The dtype of an entry's case: its own where the entry is about that, else the first."""
    assert entry.case is not None
    named, own = entry.dtype.split(","), entry.case.call.dtype
    return own if own in named or entry.dtype == "*" else named[0]


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
    return cut(text, CALL)


def cut(text: str, limit: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 2].rstrip(" ,(") + " …"


def seen() -> dict[str, Any]:
    """What `SEEN` holds."""
    found: dict[str, Any] = json.loads(SEEN.read_text(encoding="utf-8"))
    found.pop("$comment")
    return found
