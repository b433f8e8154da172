"""Titles of failures, as an issue has them: the layer, what is wrong, and when."""

from __future__ import annotations

import re
from collections.abc import Sequence

from conformance.reports.causes import needed_conditions, title
from conformance.reports.clusters import Cluster

from conformance.model.case import Verdict
from conformance.model.checks import facts_of
from conformance.model.finding import Finding
from conformance.model.plain_text import visible

LAYERS = 3
"""Layers named in the title of a cause."""
MAX_MESSAGE = 110
"""Characters of a reason, or of a backend's message."""
MAX_LABEL = 20
"""A reason whose first colon comes this early starts with a label: `"endless loop: …"`."""
# Names of the steps of a trial, in words.
_STEPS = {
    "call": "a valid call",
    "vjp": "the backward pass of a valid call",
    "value_and_vjp": "the forward and backward pass of a valid call",
    "vjp_of": "the backward pass of a valid call, of some gradients alone",
    "accumulate": "several backward passes of a valid call",
}
_ANSWER = "output"
_LOST_PROCESS = {"crashed": "the process dies", "hung": "the call does not return"}


def cluster_title(bug: Cluster) -> str:
    """The title of a cluster: its layers, what is wrong, and what the failure needs."""
    layers = ", ".join((*bug.layers[:LAYERS], *(["…"] if len(bug.layers) > LAYERS else [])))
    return f"{layers}: {_failure_text(bug.first, bug.first.failure, bug.needs)}"


def issue_title(verdict: Verdict, failure: Finding | None, reason: str = "") -> str:
    """The title of an issue.

    Args:
        verdict: the failing verdict.
        failure: the finding, if it is recorded.
        reason: that of the known failure which explains it; empty without one.
    """
    if reason:
        text = _text_with_reason(verdict, failure, reason)
    else:
        text = _failure_text(verdict, failure, needed_conditions(verdict))
    return f"{verdict.layer}: {text} ({verdict.dtype}, {verdict.device})"


def _text_with_reason(verdict: Verdict, failure: Finding | None, reason: str) -> str:
    """The reason; what is wrong precedes it unless the reason starts with that itself."""
    reason = " ".join(visible(reason.partition(";")[0]).split())
    label, colon, _ = reason.partition(":")
    if facts_of(verdict.check).invalid or (colon and len(label) <= MAX_LABEL):
        return shorten(reason)
    return f"{_wrong_text(verdict, failure)}: {shorten(reason)}"


def whose_bug(verdict: Verdict) -> str:
    """Say whose bug it is, if the suite compared with another backend; else empty."""
    base = next((e.base for e in verdict.excuses if e.base and e.excused), "")
    if base and verdict.status == "known":
        return f"The failure is inherited: {base} fails alike on the same calls."
    name, _, answer = (verdict.reference or "").partition(": ")
    if answer == "same" and is_inherited(verdict):
        return f"{name} does the same with this call: the bug is {name}'s."
    if answer == "same":
        return f"{name} does the same with this call."
    if answer == "fails otherwise":
        return f"{name} fails this call, too, in another way."
    if answer == "differs":
        return f"{name} answers this call otherwise: the bug is not {name}'s."
    return ""


def is_inherited(verdict: Verdict) -> bool:
    """Whether the reference that does the same is the backend's base, whose kernels it calls."""
    name, _, answer = (verdict.reference or "").partition(": ")
    # Without a base, the suite compares with torch.
    is_base = name != "torch" or any(excuse.base == name for excuse in verdict.excuses)
    return answer == "same" and is_base


def shorten(text: str, length: int = MAX_MESSAGE) -> str:
    """Cut a line to `length` characters at the end of a word, and mark the cut by "…"."""
    if len(text) <= length:
        return text
    words, _, _ = text[:length].rpartition(" ")
    return f"{(words or text[:length]).rstrip(',:; ')}…"


def _failure_text(verdict: Verdict, failure: Finding | None, needs: Sequence[str]) -> str:
    """What is wrong, under which conditions, and the backend's message."""
    *first_needs, last = needs or ("",)
    when = " and ".join([", ".join(first_needs), last] if first_needs else [last])
    wrong_text = _wrong_text(verdict, failure) + (f" with {when}" if when else "")
    if failure is None or failure.kind != "exception":
        return wrong_text
    return f"{wrong_text}: {shorten(failure.says.partition(chr(10))[0])}"


def _wrong_text(verdict: Verdict, failure: Finding | None) -> str:
    """What is wrong, without the conditions."""
    check_title = facts_of(verdict.check).title
    if verdict.status in _LOST_PROCESS:
        signal = re.search(r"SIG[A-Z]+", "" if failure is None else failure.says)
        return _LOST_PROCESS[verdict.status] + (f" of {signal[0]}" if signal else "")
    if failure is None:
        return check_title
    if failure.kind == "refusal":
        how = f"ends in {failure.exception}" if failure.exception else "is accepted"
        return f"an invalid call {how}: {failure.what}"
    if failure.kind == "exception":
        step = _STEPS.get(failure.what, f"{failure.what} of a valid call")
        return f"{step} raises {failure.exception}"
    if failure.kind in ("value", "gradient", "sign"):
        return _wrong_values_text(verdict, failure, check_title)
    return title(verdict) if failure == verdict.failure else check_title


def _wrong_values_text(verdict: Verdict, failure: Finding, check_title: str) -> str:
    if failure.law or failure.layouts:
        return check_title
    when = f" {failure.when}" if failure.when else ""
    wrong = "wrong values" if failure.what.startswith(_ANSWER) else f"wrong {failure.what}{when}"
    if failure.kind == "sign":
        wrong = f"wrong sign of a zero in {failure.what}"
    if operands := facts_of(verdict.check).title_suffix:
        return f"{wrong} {operands}"
    return f"{wrong} ({failure.during})" if failure.during else wrong
