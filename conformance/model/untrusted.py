"""Describe objects of a backend without trusting them: no function here raises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.model.plain_text import MAX_LENGTH, bounded

MAX_VALUE_LENGTH = 120
"""Characters that a message shows of a value."""


class RemoteException(Exception):  # noqa: N818 - the base of errors of every class
    """An exception of another process, whose own frames are not those that raise this one.

    Args:
        message: what the process says is wrong.
        trace: its stack trace, one frame a line; empty if it sent none.
        step: the earlier step of the trial that raised it; empty for the current one.
    """

    def __init__(self, message: str, trace: str = "", step: str = "") -> None:
        super().__init__(message)
        self.message, self.trace, self.step = message, trace, step

    def __str__(self) -> str:
        return self.message


class RemoteError(RemoteException, RuntimeError):
    """An error of another process that names no class."""


def type_name(value: Any) -> str:
    """The name of a value's type; ignores a false `__class__` or metaclass."""
    return class_name(type(value))


def class_name(kind: type) -> str:
    """The name of a class; does not ask its metaclass."""
    return bounded(type.__dict__["__name__"].__get__(kind), MAX_VALUE_LENGTH)


def class_and_bases(kind: type) -> tuple[type, ...]:
    """A class and all its bases in resolution order; does not ask its metaclass."""
    bases: tuple[type, ...] = type.__dict__["__mro__"].__get__(kind)
    return bases


def exception_text(error: BaseException, max_length: int = MAX_LENGTH) -> str:
    """The printable text of an exception, of at most `max_length` characters.

    If `__str__` raises, the text says so.
    """
    try:
        text = str.__str__(str(error))
    except BaseException as nested_error:
        return f"its __str__ raises {type_name(nested_error)}"
    return bounded(text.strip(), max_length)


def safe_repr(value: Any) -> str:
    """A value's `repr`, printable and of bounded length; its type if `repr` raises."""
    try:
        return bounded(str.__str__(repr(value)), MAX_VALUE_LENGTH)
    except BaseException as error:
        return f"an object of class {type_name(value)} whose __repr__ raises {type_name(error)}"


def is_of_type(value: Any, *types: type) -> bool:
    """Whether a value's real type, not its `__class__`, is one of builtin types or a subclass."""
    return issubclass(type(value), types)


def is_mapping(value: Any) -> bool:
    """Whether a value is a mapping; False if `isinstance` raises."""
    try:
        return isinstance(value, Mapping)
    except BaseException:
        return False


def as_builtin_str(value: Any) -> str | None:
    """A string, or an instance of a subclass, as a builtin `str`; None for anything else."""
    return str.__str__(value) if is_of_type(value, str) else None


def sequence_elements(value: Any) -> tuple[Any, ...] | None:
    """The elements of a tuple or list by the builtin iterator; None for anything else."""
    if is_of_type(value, tuple):
        return tuple(tuple.__iter__(value))
    return tuple(list.__iter__(value)) if is_of_type(value, list) else None
