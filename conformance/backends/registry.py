"""Finding a backend: by entry point, or by `package.module:attribute`."""

from __future__ import annotations

import difflib
import importlib
import inspect
import sys
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from conformance.model.protocols import Backend

GROUP = "conformance.backends"
_LOADED: list[tuple[Backend, str]] = []


class BackendError(Exception):
    """A backend that cannot be found, loaded or used; the message tells its author what to mend."""


def available() -> dict[str, EntryPoint]:
    """The entry points of installed backends, by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def load(name: str) -> Backend:
    """Load a backend.

    Args:
        name: an entry point of the group `conformance.backends`, or `package.module:attribute`
            naming an instance, a class or a factory without arguments.

    Raises:
        BackendError: if there is none, if it does not import, or if it is no backend.
    """
    points = available()
    if name in points:
        where = f"entry point {name!r} ({points[name].value})"
        try:
            found = _guard(f"{where} fails to import", points[name].load)
        except BackendError as error:
            raise _named_extra(name, points[name], error) from error.__cause__
    elif ":" in name:
        module, _, attribute = name.partition(":")
        where = f"backend {name!r}"
        found = _guard(f"{where} fails to import", importlib.import_module, module)
        for part in attribute.split("."):
            try:
                found = getattr(found, part)
            except AttributeError:
                raise BackendError(f"{where}: {found!r} has no attribute {part!r}") from None
    else:
        near = difflib.get_close_matches(name, points)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise BackendError(
            f"backend={name!r}: expected one of {', '.join(sorted(points)) or 'no entry points'}, "
            f"or package.module:attribute{hint}. These are the entry points of {sys.executable}; "
            f"the package of another backend must be installed there"
        )
    if inspect.isclass(found) or (inspect.isroutine(found) and not _is_backend(found)):
        found = _guard(f"{where} cannot be created", found)
    backend = _checked(found, where)
    _LOADED.append((backend, name))
    return backend


def loaded_as(backend: Backend) -> str | None:
    """The name by which a backend was loaded; None if it was not."""
    return next((name for found, name in _LOADED if found is backend), None)


def _guard(failure: str, function: Any, *arguments: Any) -> Any:
    """Call foreign code; whatever it raises becomes a BackendError."""
    try:
        return function(*arguments)
    except (Exception, SystemExit) as error:
        raise BackendError(f"{failure}: {type(error).__name__}: {error}") from error


def _named_extra(name: str, point: EntryPoint, error: BackendError) -> BackendError:
    """Where a package is missing that an extra of the backend's distribution brings: say which."""
    cause = error.__cause__
    extras = point.dist.metadata.get_all("Provides-Extra", []) if point.dist else []
    if not isinstance(cause, ModuleNotFoundError) or point.dist is None or name not in extras:
        return error
    return BackendError(
        f"backend {name!r} needs the package {cause.name!r}, which is not installed: "
        f"pip install '{point.dist.name}[{name}]'"
    )


def _is_backend(found: Any) -> bool:
    return all(hasattr(found, member) for member in ("name", "info", "devices", "build"))


def _checked(found: Any, where: str) -> Backend:
    missing = [m for m in ("name", "info", "devices", "build") if not hasattr(found, m)]
    if missing:
        raise BackendError(
            f"{where} is no backend: {type(found).__name__} has no {', '.join(missing)}"
        )
    if not isinstance(found.name, str) or not found.name:
        raise BackendError(f"{where}: expected name to be a string, got {found.name!r}")
    for member in ("info", "devices", "build"):
        if not callable(getattr(found, member)):
            raise BackendError(f"{where}: expected {member} to be a method")
    return found  # type: ignore[no-any-return]


def devices_of(backend: Backend) -> tuple[str, ...]:
    """The devices that a backend offers.

    Raises:
        BackendError: if what it says is no non-empty list of strings.
    """
    given = _guard(f"backend {backend.name!r}: devices() failed", backend.devices)
    if isinstance(given, str) or not all(isinstance(d, str) for d in (given or [None])):
        raise BackendError(
            f"backend {backend.name!r}: expected devices() to return a list of names such as "
            f"['cpu'], got {given!r}"
        )
    return tuple(dict.fromkeys(given))


def info_of(backend: Backend) -> dict[str, str]:
    """What a backend says of itself, as strings.

    Raises:
        BackendError: if info() fails or returns no mapping.
    """
    given = _guard(f"backend {backend.name!r}: info() failed", backend.info)
    try:
        return {str(key): str(value) for key, value in dict(given).items()}
    except (TypeError, ValueError):
        raise BackendError(
            f"backend {backend.name!r}: expected info() to return a mapping, got {given!r}"
        ) from None
