"""Findings as text: the only module that turns a finding into sentences."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence

from conformance.model.finding import Finding

# Kinds whose name precedes the tensor's name: "shape of output".
_PREFIXED_KINDS = ("shape", "dtype", "device", "sign")
# Kinds whose complete text is in `Finding.says`.
_VERBATIM = ("declared", "stale", "lost", "internal", "other")
_PHRASES: Mapping[str, str] = {
    "value": "wrong values",
    "gradient": "wrong gradient",
    "sign": "wrong sign of a zero",
    "bits": "not the same bits",
    "shape": "wrong shape",
    "dtype": "wrong dtype",
    "device": "wrong device",
    "count": "wrong number of {what}",
    "names": "wrong {what}",
    "attribute": "wrong {what}",
    "presence": "{what} given or left out",
    "memory": "shared memory",
    "random": "wrong distribution of {what}",
    "contract": "{what} returns something else",
    "exception": "{what} raised {exception}",
    "refusal": "{what}",
    "support": "declines at random, or by the values",
    "declared": "a reason that is not true",
    "allowance": "a known failure fails too often",
    "stale": "a stale known failure",
    "breach": "the code under test {what}",
    "lost": "{says}",
    "unchecked": "{what}",
    "internal": "the suite's own code failed",
    "other": "{says}",
}


_NUMBERS = re.compile(r"-?\d+(?:\.\d+)?(?:\s*[,x×]\s*-?\d+(?:\.\d+)?)*")
_MAX_TEXT_LENGTH = 80


def finding_message(finding: Finding, call: str | None = None) -> str:
    """The full text of a finding: calls, tensor or fact, got, wanted, bound, and notes.

    Args:
        finding: what is wrong.
        call: the failing call, as the first line.
    """
    lines = [*([call] if call else []), *finding.context]
    lines.append(f"{finding.during}: {_head(finding)}" if finding.during else _head(finding))
    lines += _fact_lines(finding)
    return "\n".join([*lines, *finding.notes])


def kind_and_part(finding: Finding) -> str:
    """The kind of failure and the part of the check, without the numbers of the case."""
    phrase = _PHRASES.get(finding.kind, finding.kind).format(**vars(finding)).partition("\n")[0]
    return f"{phrase}, {finding.during}" if finding.during else phrase


def cause_kind(finding: Finding) -> str:
    """The kind of cause, by which failures of an item are grouped before they are shrunk.

    Wrong numbers are one kind, whatever output, law or part of a check shows them. Exceptions of
    one class are as many kinds as they have texts, apart from numbers.
    """
    if finding.kind in ("value", "gradient", "sign"):
        return _PHRASES["gradient" if finding.kind == "gradient" else "value"]
    if finding.kind == "refusal":
        outcome = f"refused by {finding.exception}" if finding.exception else "accepted"
        return f"{finding.what}: {outcome}"
    if finding.kind == "breach":
        return _head(finding)
    if finding.exception:
        return f"{_PHRASES['exception'].format(**vars(finding))}: {text_without_numbers(finding)}"
    return kind_and_part(finding)


def breach_of_kind(kind: str) -> Finding | None:
    """The breach that a kind of cause is; None if it is none."""
    prefix = _PHRASES["breach"].partition("{")[0]
    what, _, says = kind.removeprefix(prefix).partition(": ")
    return Finding("breach", what, says=says) if kind.startswith(prefix) else None


def text_without_numbers(finding: Finding, number: str = "…") -> str:
    """The first line of an exception's text, with `number` for numbers and for whole shapes."""
    text = " ".join(finding.says.partition("\n")[0].split())
    return _NUMBERS.sub(number, text)[:_MAX_TEXT_LENGTH]


def tensor_phrase(finding: Finding) -> str:
    """The tensor or fact as a phrase: `"shape of output while recording gradients"`."""
    prefix = f"{finding.kind} of " if finding.kind in _PREFIXED_KINDS else ""
    return f"{prefix}{finding.what}{' ' if finding.when else ''}{finding.when}"


def element_phrase(finding: Finding) -> str:
    """The tensor or fact, the index of the element shown, and how many elements are wrong."""
    if finding.wrong is None:
        return tensor_phrase(finding) + _index_text(finding.where)
    which = "first" if finding.bound is None else "worst"
    count_phrase = f", the {which} of {finding.wrong} wrong of {finding.of}"
    return tensor_phrase(finding) + _index_text(finding.where) + count_phrase


def bound_text(bound: float | str) -> str:
    """A bound in a few digits; a bound of 0 is explained."""
    return "0: equality, no rounding is possible here" if bound == 0 else error_text(bound)


def error_text(error: float | str) -> str:
    """An error in a few digits; a text such as `"inf"` stays as it is."""
    return error if isinstance(error, str) else f"{error:.6g}"


def _index_text(index: Sequence[int] | None) -> str:
    return f"[{', '.join(map(str, index))}]" if index else ""


def _bits_head(finding: Finding) -> str:
    index = list(finding.where or ())
    return f"{tensor_phrase(finding)}{index}, {finding.wrong} of {finding.of} differ"


def _exception_head(finding: Finding) -> str:
    accepted = "accepted, then failed: " if finding.accepted else ""
    return f"{accepted}{finding.what} raised {finding.exception}: {finding.says}"


_HEADS: Mapping[str, Callable[[Finding], str]] = {
    "bits": _bits_head,
    "exception": _exception_head,
    "count": lambda f: f"got {f.got} {f.what}, wanted {f.wanted}",
    "contract": lambda f: f"{f.what} returned {f.got}: expected {f.wanted}",
    "memory": lambda f: f"{tensor_phrase(f)} shares memory with {f.got}: expected {f.wanted}",
    "breach": lambda f: f"the code under test {f.what}: {f.says}",
    "support": lambda f: "declines at random, or by the values",
    "allowance": lambda f: f"the known failure {f.what!r} fails too often",
    **{kind: lambda f: f.says for kind in _VERBATIM},
}
# Kinds whose first line is their full text.
_ONE_LINE_KINDS = ("breach", "exception", "count", "contract", "memory", *_VERBATIM)


def _head(finding: Finding) -> str:
    return _HEADS.get(finding.kind, element_phrase)(finding)


def _fact_lines(finding: Finding) -> Iterator[str]:
    """The lines for got, wanted, bound and error, as far as the kind has them."""
    if finding.kind == "exception" and finding.frame:
        yield f"  at {finding.frame}"
    if finding.kind in _ONE_LINE_KINDS:
        return
    if finding.kind == "support":
        yield f"  first  {finding.wanted}"
        yield f"  then   {finding.got}: {finding.when}"
        yield f"  reason {finding.says!r}"
        return
    if finding.got or finding.wanted:
        yield f"  got    {finding.got}"
    if finding.wanted:
        yield f"  wanted {finding.wanted}"
    if finding.bound is not None:
        yield f"  bound  {bound_text(finding.bound)}"
    if finding.error is not None:
        yield f"  error  {error_text(finding.error)}"
    if finding.excerpt is not None:
        yield f"all of {tensor_phrase(finding)}"
        yield f"  got    {finding.excerpt[0]}"
        yield f"  wanted {finding.excerpt[1]}"
