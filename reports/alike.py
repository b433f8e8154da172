"""Failures that are one and the same, as far as their messages tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.case import Verdict

from . import summary

_NUMBER = re.compile(r"[-+]?\d[\d.]*(e[-+]?\d+)?|\b(nan|inf)\b")


@dataclass(frozen=True)
class Cluster:
    """Failures of one check on one layer that read alike but for their numbers.

    Args:
        layer, check, status: what they have in common.
        text: the first line that says what is wrong, of the first of them.
        verdicts: all of them.
    """

    layer: str
    check: str
    status: str
    text: str
    verdicts: tuple[Verdict, ...]

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Where they occur."""
        return tuple(dict.fromkeys(verdict.dtype for verdict in self.verdicts))


def clusters(verdicts: Sequence[Verdict]) -> tuple[Cluster, ...]:
    """Failing verdicts, those together that read alike but for their numbers.

    Args:
        verdicts: of failures, or of known failures.
    """
    found: dict[tuple[str, str, str, str], list[Verdict]] = {}
    texts: dict[tuple[str, str, str, str], str] = {}
    for verdict in verdicts:
        text = _complaint(verdict)
        status = summary.status(verdict)
        key = (verdict.layer, verdict.check, status, _NUMBER.sub("#", text))
        found.setdefault(key, []).append(verdict)
        texts.setdefault(key, text)
    return tuple(Cluster(*key[:3], texts[key], tuple(group)) for key, group in found.items())


def _complaint(verdict: Verdict) -> str:
    """The first line of a message that does not only name the call."""
    lines = [line.strip() for line in (verdict.message or "").splitlines() if line.strip()]
    if len(lines) > 1 and lines[0] == (verdict.call or "").strip():
        lines = lines[1:]
    return lines[0] if lines else "no message"
