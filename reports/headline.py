"""Titles of failures, as an issue has them: the layer, what is wrong, and when."""

from __future__ import annotations

import re
from collections.abc import Sequence

from conformance.reports.causes import needed, title
from conformance.reports.clusters import Cluster

from conformance.model.case import Verdict
from conformance.model.checks import facts_of
from conformance.model.finding import Finding
from conformance.model.plain_text import visible

LAYERS = 3
"""Layers named in the title of a cause."""
LINE = 110
"""Characters of a reason, or of a backend's message."""
LABEL = 20
"""A reason whose first colon comes this early starts with a label: `"endless loop: …"`."""
# Names of the steps of a trial, in words.
_STEPS = {
    "call": "a valid call",
    "vjp": "the backward pass of a valid call",
    "value_and_vjp": "the forward and backward pass of a valid call",
    "vjp_of": "the backward pass of a valid call, of some gradients alone",
}
_ANSWER = "output"
_LOST = {"crashed": "the process dies", "hung": "the call does not return"}


def headline(bug: Cluster) -> str:
    """The title of a cluster: its layers, what is wrong, and what the failure needs."""
    layers = ", ".join((*bug.layers[:LAYERS], *(["…"] if len(bug.layers) > LAYERS else [])))
    return f"{layers}: {_sentence(bug.first, bug.first.failure, bug.needs)}"


def issue_title(verdict: Verdict, failure: Finding | None, reason: str = "") -> str:
    """The title of an issue.

    Args:
        verdict: the failing verdict.
        failure: the finding, if it is recorded.
        reason: that of the known failure which explains it; empty without one.
    """
    if reason:
        told = _explained(verdict, failure, reason)
    else:
        told = _sentence(verdict, failure, needed(verdict))
    return f"{verdict.layer}: {told} ({verdict.dtype}, {verdict.device})"


def _explained(verdict: Verdict, failure: Finding | None, reason: str) -> str:
    """The reason; what is wrong precedes it unless the reason starts with that itself."""
    reason = " ".join(visible(reason.partition(";")[0]).split())
    label, colon, _ = reason.partition(":")
    if facts_of(verdict.check).invalid or (colon and len(label) <= LABEL):
        return shortened(reason)
    return f"{_wrong(verdict, failure)}: {shortened(reason)}"


def whose(verdict: Verdict) -> str:
    """Say whose bug it is, if the suite compared with another backend; else empty."""
    base = next((e.base for e in verdict.excuses if e.base and e.excused), "")
    if base and verdict.status == "known":
        return f"The failure is inherited: {base} fails alike on the same calls."
    name, _, answer = (verdict.reference or "").partition(": ")
    if answer == "same":
        return f"{name} does the same with this call: the bug is {name}'s."
    if answer == "differs":
        return f"{name} answers this call otherwise: the bug is not {name}'s."
    return ""


def shortened(text: str, length: int = LINE) -> str:
    """Cut a line to `length` characters at the end of a word, and mark the cut by "…"."""
    if len(text) <= length:
        return text
    whole, _, _ = text[:length].rpartition(" ")
    return f"{(whole or text[:length]).rstrip(',:; ')}…"


def _sentence(verdict: Verdict, failure: Finding | None, needs: Sequence[str]) -> str:
    """What is wrong, under which conditions, and the backend's message."""
    *rest, last = needs or ("",)
    when = " and ".join([", ".join(rest), last] if rest else [last])
    wrong = _wrong(verdict, failure) + (f" with {when}" if when else "")
    if failure is None or failure.kind != "exception":
        return wrong
    return f"{wrong}: {shortened(failure.says.partition(chr(10))[0])}"


def _wrong(verdict: Verdict, failure: Finding | None) -> str:
    """What is wrong, without the conditions."""
    asked = facts_of(verdict.check).title
    if verdict.status in _LOST:
        signal = re.search(r"SIG[A-Z]+", "" if failure is None else failure.says)
        return _LOST[verdict.status] + (f" of {signal[0]}" if signal else "")
    if failure is None:
        return asked
    if failure.kind == "refusal":
        how = f"ends in {failure.exception}" if failure.exception else "is accepted"
        return f"an invalid call {how}: {failure.what}"
    if failure.kind == "exception":
        step = _STEPS.get(failure.what, f"{failure.what} of a valid call")
        return f"{step} raises {failure.exception}"
    if failure.kind in ("value", "gradient", "sign"):
        return _numbers(verdict, failure, asked)
    return title(verdict) if failure == verdict.failure else asked


def _numbers(verdict: Verdict, failure: Finding, asked: str) -> str:
    if failure.law or failure.layouts:
        return asked
    when = f" {failure.when}" if failure.when else ""
    wrong = "wrong values" if failure.what.startswith(_ANSWER) else f"wrong {failure.what}{when}"
    if failure.kind == "sign":
        wrong = f"wrong sign of a zero in {failure.what}"
    if operands := facts_of(verdict.check).when:
        return f"{wrong} {operands}"
    return f"{wrong} ({failure.during})" if failure.during else wrong
