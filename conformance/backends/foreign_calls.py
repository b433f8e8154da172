"""Read and call the backend's objects, and keep its exceptions apart from the suite's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from conformance.model.failure import Failure, Inapplicable
from conformance.model.untrusted import class_and_bases, exception_text, is_of_type, type_name

if TYPE_CHECKING:
    from conformance.model.case import Case

MAX_ERROR_TEXT = 1000
"""Most characters of an exception's text in a usage error."""


class ForeignException(Exception):  # noqa: N818 - it wraps an exception that is not an error of the suite
    """Wraps an exception of the backend that the suite would mistake for its own.

    This is an instance of one of the suite's classes, or one that is not an `Exception`, such as
    `SystemExit`. `error` is the exception that the backend raised.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(exception_text(error))
        self.error = error


def never_interrupted() -> bool:
    """Report that nobody has pressed Ctrl-C: the default of `Hooks.interrupted`."""
    return False


@dataclass(frozen=True)
class Hooks:
    """Callbacks that run while a backend runs, and facts about the current process.

    Args:
        on_member: called with a member's name before the member is read or called. A message can
            then name a member that never returns.
        on_step: called with a step's name and its case before the step runs, because the step may
            end the process.
        on_inner_call: called with the text of a call inside a step before that call runs, and with
            an empty text after it.
        interrupted: whether Ctrl-C was pressed, if the backend runs in pytest's own process.
        expendable: whether the process exists only to run a backend, and may end with it.
        in_fork: whether the process is a fork, in which a case runs that may end it.
        operator_watch: a `conformance.backends.delegation.OperatorWatch` that sees what functions
            under test call; None = nobody watches.
        dry_run: whether calls are made only so that the backend compiles them: nothing is compared.
    """

    on_member: Callable[[str], None] | None = None
    on_step: Callable[[str, Case], None] | None = None
    on_inner_call: Callable[[str], None] | None = None
    interrupted: Callable[[], bool] = never_interrupted
    expendable: bool = False
    in_fork: bool = False
    dry_run: bool = False
    operator_watch: Any = None


HOOKS: ContextVar[Hooks] = ContextVar("HOOKS", default=Hooks())  # noqa: B039 - it is frozen
"""The current hooks, for code to which the suite can pass no argument, e.g. a kernel."""


@contextmanager
def hooks(**changed: Any) -> Iterator[None]:
    """Replace some of the hooks inside a `with` block; keywords are fields of `Hooks`."""
    token = HOOKS.set(replace(HOOKS.get(), **changed))
    try:
        yield
    finally:
        HOOKS.reset(token)


def call_foreign(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call a function or method of the backend.

    Raises:
        Foreign: if it raises an exception of the suite, or one that is not an `Exception`.
        Exception: any other exception, unchanged; `Unsupported` is one of these.
    """
    try:
        return function(*arguments, **keywords)
    except BaseException as error:
        is_ordinary = is_of_type(error, Exception) and not is_of_type(error, Failure, Inapplicable)
        if is_ordinary or (is_of_type(error, KeyboardInterrupt) and HOOKS.get().interrupted()):
            raise
        raise ForeignException(error) from error


def original_exception(error: BaseException) -> BaseException:
    """The exception that the backend raised, unwrapped if it is a `ForeignException`."""
    return error.error if isinstance(error, ForeignException) else error


def describe_exception(error: BaseException) -> str:
    """Class and text of an exception that the backend raised, on one or more lines."""
    exception = original_exception(error)
    return f"{type_name(exception)}: {exception_text(exception, MAX_ERROR_TEXT) or 'no message'}"


def _type_defines(value: Any, name: str) -> bool:
    """Whether the type of a value defines a member; the member itself is not read."""
    members = type.__dict__["__dict__"]
    return any(name in members.__get__(base) for base in class_and_bases(type(value)))


def read_member(value: Any, name: str) -> Any:
    """Read a member of an object of the backend; None where it does not exist.

    Raises:
        Exception: if reading it raises. An AttributeError counts only if the type defines the
            member.
    """
    on_member = HOOKS.get().on_member
    if on_member is not None:
        on_member(name)
    try:
        return call_foreign(getattr, value, name)
    except AttributeError:
        # Without this a property that raises AttributeError would count as not offered.
        if _type_defines(value, name):
            raise
        return None
