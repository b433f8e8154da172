"""Exceptions of a sealed process, as data and as exceptions that stand for them."""

from __future__ import annotations

import builtins
import traceback
from typing import Any

import msgspec

from conformance.model.case import NotOffered, Unreached, Unsupported
from conformance.model.plain_text import bounded
from conformance.model.untrusted import (
    RemoteException,
    class_and_bases,
    class_name,
    exception_text,
)

MAX_TRACE_LINES = 10
QUEUED_MEMBERS = ("build", "put")
"""Members whose requests are sent together with the next one; also names of the trial's steps."""
_SPECIAL = (UnicodeDecodeError, UnicodeEncodeError, UnicodeTranslateError, BaseExceptionGroup)
"""Classes that cannot be made from a text alone; their bases can."""
_DECLINES = {kind.__name__: kind for kind in (Unsupported, NotOffered)}


class Raised(msgspec.Struct, array_like=True, frozen=True):
    """An exception that a sealed process raised.

    Args:
        name: name of its class.
        bases: names of its class and bases, in resolution order.
        text: what `str` gives.
        trace: its innermost frames, one a line.
        refuses: it is an instance of one of the backend's `refusals`.
        step: the member of an earlier request that raised it; empty for the answered one.
    """

    name: str
    bases: list[str]
    text: str
    trace: str
    refuses: bool
    step: str = ""


class SealedRefusal(RemoteException):
    """An exception with which the backend refuses an invalid call."""


def named_class(name: str, bases: tuple[type, ...]) -> Any:
    """A class of a name that another process gave, if it can be one."""
    return type(name if name.isidentifier() else "object", bases, {})


class DeferredError(Exception):
    """An earlier request, which nobody waited for, raised an exception.

    Args:
        error: the exception.
        member: what the request called.
    """

    def __init__(self, error: BaseException, member: str) -> None:
        super().__init__(member)
        self.error, self.member = error, member


def describe_raised(error: BaseException, refusals: tuple[type, ...]) -> Raised:
    """Describe an exception of the backend."""
    step = ""
    if isinstance(error, DeferredError):
        step, error = error.member, error.error
    kind = type(error)
    frames = traceback.extract_tb(error.__traceback__)[-MAX_TRACE_LINES:]
    lines = [f"{frame.filename}:{frame.lineno}:{frame.name}" for frame in reversed(frames)]
    return Raised(
        class_name(kind), [class_name(x) for x in class_and_bases(kind)], exception_text(error),
        "\n".join(lines), any(x in class_and_bases(kind) for x in refusals), step,
    )  # fmt: skip


def rebuild_exception(raised: Raised) -> BaseException:
    """An exception that stands for one of a sealed process: of the same name and builtin base."""
    text, trace = bounded(raised.text), bounded(raised.trace)
    step = raised.step if raised.step in QUEUED_MEMBERS else ""
    if Unreached.__name__ in raised.bases:
        error = Unreached("")
        error.args = (text,)
        return error
    decline = next((_DECLINES[name] for name in raised.bases if name in _DECLINES), None)
    if decline is not None:
        return decline(text)
    if raised.refuses:
        refusal: BaseException = named_class(raised.name, (SealedRefusal,))(text, trace, step)
        return refusal
    for name in raised.bases:
        kind = getattr(builtins, name, None)
        if not isinstance(kind, type) or not issubclass(kind, BaseException):
            continue  # the name of a class that is not Python's
        if issubclass(kind, _SPECIAL):
            continue
        if not issubclass(kind, Exception):
            return kind(text)
        error_class = named_class(raised.name, (RemoteException, kind))
        return error_class(text, trace, step)  # type: ignore[no-any-return]
    return RemoteException(text, trace, step)
