"""How something of the backend's is read and called: what it raises is known as its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from conformance.model.failure import Failure, Inapplicable
from conformance.model.untrusted import bases_of, of_type, type_name, written

if TYPE_CHECKING:
    from conformance.model.case import Case

TOLD = 1000
"""Characters of an exception in a usage error."""


class Foreign(Exception):  # noqa: N818 - it carries what is no error of the suite
    """An exception of the backend's that the suite must not act on as on its own.

    One of the suite's classes, or one that is no `Exception`, such as `SystemExit`.

    Args:
        error: as raised.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(written(error))
        self.error = error


def not_interrupted() -> bool:
    """Nobody has pressed Ctrl-C."""
    return False


@dataclass(frozen=True)
class Hooks:
    """What is told while a backend runs, and what the process says of itself.

    Args:
        asked: called with a member's name before it is read or called, so that one that never
            answers can be named.
        begun: called before each step of a case with the step's name and the case, where what
            comes next may end the process.
        within: called with what runs within a step before it does, and with nothing after it.
        interrupted: whether Ctrl-C was pressed, where the backend runs in pytest's own process.
        alone: the process exists to run a backend, and may end with it.
    """

    asked: Callable[[str], None] | None = None
    begun: Callable[[str, Case], None] | None = None
    within: Callable[[str], None] | None = None
    interrupted: Callable[[], bool] = not_interrupted
    alone: bool = False


HOOKS: ContextVar[Hooks] = ContextVar("HOOKS", default=Hooks())  # noqa: B039 - it is frozen
"""Those in force, for code that the suite can hand nothing, as a kernel that torch calls."""


@contextmanager
def hooks(**changed: Any) -> Iterator[None]:
    """Within it some of the hooks are others."""
    before = HOOKS.set(replace(HOOKS.get(), **changed))
    try:
        yield
    finally:
        HOOKS.reset(before)


def call(function: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
    """Call something of the backend's.

    Raises:
        Foreign: for one of the suite's exceptions, or one that is no `Exception`.
        Exception: any other as it was raised, `Unsupported` among them.
    """
    try:
        return function(*arguments, **keywords)
    except BaseException as error:
        plain = of_type(error, Exception) and not of_type(error, Failure, Inapplicable)
        if plain or (of_type(error, KeyboardInterrupt) and HOOKS.get().interrupted()):
            raise
        raise Foreign(error) from error


def original(error: BaseException) -> BaseException:
    """What the backend raised.

    Args:
        error: as it came through the door.
    """
    return error.error if isinstance(error, Foreign) else error


def told(error: BaseException) -> str:
    """An exception of the backend's in a line or more: its class, and what it says.

    Args:
        error: as it came through the door.
    """
    met = original(error)
    return f"{type_name(met)}: {written(met, TOLD) or 'no message'}"


def _defines(value: Any, name: str) -> bool:
    """Whether the type of a value has a member, whatever reading it does."""
    members = type.__dict__["__dict__"]
    return any(name in members.__get__(base) for base in bases_of(type(value)))


def member(value: Any, name: str) -> Any:
    """A member of an object of the backend's; None where it has none.

    Raises:
        Exception: what reading it raises, an AttributeError too where its type defines it.
    """
    asked = HOOKS.get().asked
    if asked is not None:
        asked(name)
    try:
        return call(getattr, value, name)
    except AttributeError:
        # A property that fails so would count as not offered.
        if _defines(value, name):
            raise
        return None
