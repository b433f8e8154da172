"""What can be said of an object of the backend's without trusting it: nothing here raises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from conformance.model.plain_text import MOST, bounded

SHOWN = 120
"""Characters of a value in a message."""


def type_name(value: Any) -> str:
    """The name of a value's type, whatever `__class__` or a metaclass says."""
    return class_name(type(value))


def class_name(kind: type) -> str:
    """The name of a class, whatever its metaclass says.

    Args:
        kind: any class.
    """
    return bounded(type.__dict__["__name__"].__get__(kind), SHOWN)


def bases_of(kind: type) -> tuple[type, ...]:
    """A class and those that it derives from, whatever its metaclass says.

    Args:
        kind: any class.
    """
    found: tuple[type, ...] = type.__dict__["__mro__"].__get__(kind)
    return found


def written(error: BaseException, most: int = MOST) -> str:
    """What an exception says: printable, of bounded length; how it fails to, where it does.

    Args:
        error: any exception.
        most: characters that are kept.
    """
    try:
        text = str.__str__(str(error))
    except BaseException as another:
        return f"its __str__ raises {type_name(another)}"
    return bounded(text.strip(), most)


def shown(value: Any) -> str:
    """A value as a message shows it: what `repr` gives, else its type."""
    try:
        return bounded(str.__str__(repr(value)), SHOWN)
    except BaseException as error:
        return f"an object of class {type_name(value)} whose __repr__ raises {type_name(error)}"


def of_type(value: Any, *types: type) -> bool:
    """Whether a value's type is one of some, or a subclass: not what `__class__` says.

    Args:
        types: builtin ones.
    """
    return issubclass(type(value), types)


def is_mapping(value: Any) -> bool:
    """Whether a value is a mapping; False where asking raises."""
    try:
        return isinstance(value, Mapping)
    except BaseException:
        return False


def exact_text(value: Any) -> str | None:
    """A string as one of the builtin type itself; None for anything else."""
    return str.__str__(value) if of_type(value, str) else None


def elements(value: Any) -> tuple[Any, ...] | None:
    """The elements of a tuple or list, as the builtin type gives them; None for anything else."""
    if of_type(value, tuple):
        return tuple(tuple.__iter__(value))
    return tuple(list.__iter__(value)) if of_type(value, list) else None
