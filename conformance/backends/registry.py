"""Finding a backend: by entry point, or by `package.module:attribute`."""

from __future__ import annotations

import difflib
import functools
import importlib
import sys
from importlib.metadata import EntryPoint, entry_points
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from conformance.backends.foreign_calls import call as ask
from conformance.backends.foreign_calls import member, told
from conformance.backends.guard import BackendError, guarded
from conformance.model.protocols import Backend
from conformance.model.untrusted import shown, type_name

GROUP = "conformance.backends"
WIRE = "wire:"
"""Before a command in the place of a name: a server in another language."""
_ROUTINES = (FunctionType, BuiltinFunctionType, MethodType, functools.partial)
_LOADED: list[tuple[Backend, str]] = []


def available() -> dict[str, EntryPoint]:
    """The entry points of installed backends, by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


def load(name: str) -> Backend:
    """Load a backend.

    Args:
        name: an entry point of the group `conformance.backends`; `package.module:attribute`
            naming an instance, a class or a factory without arguments; or `wire:` and the command
            that starts a server (`conformance.backends.WireBackend`).

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
    elif name.startswith(WIRE):
        from conformance.backends.wire import WireBackend

        where = f"backend {name!r}"
        found = _guard(where, WireBackend, name.removeprefix(WIRE))
    elif ":" in name:
        module, _, attribute = name.partition(":")
        where = f"backend {name!r}"
        found = _guard(f"{where} fails to import", importlib.import_module, module)
        for part in attribute.split("."):
            holder, found = found, _guard(f"{where}: reading {part!r} fails", member, found, part)
            if found is None:
                raise BackendError(f"{where}: {shown(holder)} has no attribute {part!r}")
    else:
        near = difflib.get_close_matches(name, points)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise BackendError(
            f"backend={name!r}: expected one of {', '.join(sorted(points)) or 'no entry points'}, "
            f"or package.module:attribute{hint}. These are the entry points of {sys.executable}; "
            f"the package of another backend must be installed there"
        )
    kind = type(found)
    if issubclass(kind, type) or (kind in _ROUTINES and not _is_backend(found)):
        found = _guard(f"{where} cannot be created", found)
        if issubclass(type(found), type):
            raise BackendError(f"{where}: expected it to return a backend, got {shown(found)}")
    backend = _checked(found, where)
    _LOADED.append((backend, name))
    return backend


def loaded_as(backend: Backend) -> str | None:
    """The name by which a backend was loaded; None if it was not."""
    return next((name for found, name in _LOADED if found is backend), None)


def _guard(failure: str, function: Any, *arguments: Any) -> Any:
    """Call foreign code; whatever it raises becomes a BackendError."""
    try:
        return ask(function, *arguments)
    except Exception as error:
        raise BackendError(f"{failure}: {told(error)}") from error


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
    return not _lacking(found)


def _lacking(found: Any) -> list[str]:
    """Members that a backend must have and this has not; one that cannot be read is there."""
    missing = []
    for name in ("name", "info", "devices", "build"):
        try:
            if member(found, name) is None:
                missing.append(name)
        except Exception:
            continue
    return missing


def _checked(found: Any, where: str) -> Backend:
    if missing := _lacking(found):
        raise BackendError(
            f"{where} is no backend: expected name, info, devices and build, "
            f"{type_name(found)} has no {', '.join(missing)}"
        )
    backend: Backend = guarded(found, where)
    for name in ("info", "devices", "build"):
        if not callable(backend.read(name)):  # type: ignore[attr-defined]
            raise BackendError(f"{where}: expected {name} to be a method")
    return backend
