"""What a failing verdict says of its cause: the kind of failure, the numbers, what it needs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conformance.reports.statuses import status

from conformance.model.case import Need, Verdict

# Sizes say how large a case had to be, seldom what is wrong.
SIZES = (
    "kernel_size", "in_channels", "out_channels", "in_features", "out_features", "in1_features",
    "in2_features", "input_size", "hidden_size", "batch", "h_0", "hx",
)  # fmt: skip
PLAIN = (0, 1, 0.0, "zeros", "tanh", None)
LONGEST = 100_000
"""Characters of a message that are looked at."""

_RAISED = re.compile(r"\b(\w{1,40}) raised (\w{1,80}): (.*)")
_NUMBERS = re.compile(
    r"^(?P<what>.+)\n  got    (?P<got>.*)\n  wanted (?P<wanted>.*)"
    r"(?:\n  bound  (?P<bound>.*))?(?:\n  error  (?P<error>.*))?",
    re.MULTILINE,
)
_ARRAYS = re.compile(r"^all of (.+)\n  got    (.*)\n  wanted (.*)", re.MULTILINE)
_DIGITS = re.compile(r"[+-]?\d[\d.,e+-]*|\[[^\]]*\]|\([^)]*\)")


@dataclass(frozen=True)
class Numbers:
    """What was got in place of what, as a message tells it.

    Args:
        what: the worst element, or the fact that is wrong.
        got, wanted: as text.
        bound, error: empty where it is no number.
        arrays: name, got and wanted of each array of which an excerpt is shown.
    """

    what: str
    got: str
    wanted: str
    bound: str = ""
    error: str = ""
    arrays: tuple[tuple[str, str, str], ...] = ()


def numbers(verdict: Verdict) -> Numbers | None:
    """Got, wanted and bound of a failure; None where its message tells none."""
    text = (verdict.message or "")[:LONGEST]
    found = _NUMBERS.search(text)
    if found is None or found["what"].startswith("all of "):
        return None
    what, got, wanted, bound, error = (
        str(found[name] or "") for name in ("what", "got", "wanted", "bound", "error")
    )
    arrays = tuple((m[1], m[2], m[3]) for m in _ARRAYS.finditer(text))
    return Numbers(what, got, wanted, bound, error, arrays)


def kind(verdict: Verdict) -> str:
    """What kind of failure it is, in words and without the numbers of its case."""
    text = (verdict.message or "")[:LONGEST]
    if verdict.call and text.startswith(verdict.call):
        text = text[len(verdict.call) :].lstrip("\n")
    head = text.partition("\n")[0][:1000].strip()
    if status(verdict) == "known":
        return head or "known"
    if status(verdict) in ("crashed", "hung", "unchecked"):
        return _DIGITS.sub("…", head)[:200] or status(verdict)
    raised = _RAISED.search(text)
    if verdict.check == "errors" and head:
        said = re.search(r"^  got    raised (\w{1,80})", text, re.MULTILINE)
        how = f"refused by {said[1]}" if said else "not refused"
        return f"invalid call {how}: {head.partition(' (argument')[0]}"
    if raised is not None:
        return f"raises {raised[2]}: {_DIGITS.sub('…', raised[3][:1000])[:120]}"
    if re.search(r"^shape of ", text, re.MULTILINE):
        return "wrong shape"
    if verdict.check in ("state", "repeat", "shape"):
        return _DIGITS.sub("…", head)[:120]
    if re.search(r"^gradient of ", text, re.MULTILINE):
        return "wrong gradient"
    if re.search(r"the worst of \d+ wrong of", text):
        return "wrong values"
    return _DIGITS.sub("…", head)[:120] or "failed"


def title(verdict: Verdict) -> str:
    """The kind of failure, with the numbers of an exception's text."""
    raised = _RAISED.search((verdict.message or "")[:LONGEST])
    if raised is not None and status(verdict) == "failed":
        return f"raises {raised[2]}: {raised[3][:1000]}"
    return kind(verdict)


def signature(verdict: Verdict) -> tuple[str, ...]:
    """The names of the arguments that a failure hangs on, sizes left out."""
    if verdict.check == "errors":
        return ()  # an invalid call's arguments are its fault
    if verdict.needs:
        names = {need.argument for need in verdict.needs if not need.fails}
    else:
        names = _written(verdict.case)
    return tuple(sorted(names - set(SIZES)))


def _written(case: Mapping[str, Any] | None) -> set[str]:
    """Where nothing was tried: the arguments of the minimal case that are not the plainest."""
    call = case.get("call") if isinstance(case, dict) else None
    arguments = call.get("arguments") if isinstance(call, dict) else None
    if not isinstance(arguments, dict) or not isinstance(case, dict):
        return set()
    keywords = case.get("keywords")
    names = set(keywords) if isinstance(keywords, dict) else set()
    for name, value in arguments.items():
        rich = value.get("tuple") if isinstance(value, dict) else value
        values = rich if isinstance(rich, list) else [rich]
        plain = value is True if name == "bias" else all(v in PLAIN for v in values)
        if not plain:
            names.add(str(name))
    return names


def needed(verdict: Verdict) -> tuple[str, ...]:
    """What a failure needs, a phrase each: `"groups > 1"`."""
    return tuple(_phrase(need) for need in verdict.needs if not need.fails)


def independent_of(verdict: Verdict) -> tuple[str, ...]:
    """The arguments that were changed, and the failure stayed."""
    return tuple(dict.fromkeys(need.argument for need in verdict.needs if need.fails))


def _phrase(need: Need) -> str:
    if need.varied:
        return f"{need.argument}={need.value}"
    if need.argument == "batch":
        return {"0": "an empty batch", "1": "a batch"}.get(need.value, "batch > 1")
    if need.other == "None":
        return f"{need.argument} given"
    try:
        value, other = (json.loads(_listed(text)) for text in (need.value, need.other))
    except ValueError:
        return f"{need.argument}={need.value}"
    if isinstance(value, bool) or not isinstance(other, int):
        return f"{need.argument}={need.value}"
    values = value if isinstance(value, list) else [value]
    if all(isinstance(v, (int, float)) for v in values) and max(values, default=0) > other:
        return f"{need.argument} > {need.other}"
    return f"{need.argument}={need.value}"


def _listed(text: str) -> str:
    """A Python tuple as a JSON list."""
    return re.sub(r",?\)$", "]", text.replace("(", "[", 1)) if text.startswith("(") else text
