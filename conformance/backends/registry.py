"""Find and load a backend by entry point, by `package.module:attribute`, or as a wire server."""

from __future__ import annotations

import difflib
import functools
import importlib
import os
import sys
from importlib.metadata import EntryPoint, entry_points
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

from conformance.backends.foreign_calls import call_foreign, describe_exception, read_member
from conformance.backends.guard import BackendError, guarded
from conformance.model.protocols import ENTRY_POINTS, KERNEL_BACKEND, SEALED_PREFIX, Backend
from conformance.model.untrusted import safe_repr, type_name

WIRE_PREFIX = "wire:"
"""Prefix of a backend name that is the command of a server in another language."""
_ROUTINES = (FunctionType, BuiltinFunctionType, MethodType, functools.partial)
_LOADED: list[tuple[Backend, str]] = []


def available() -> dict[str, EntryPoint]:
    """The entry points of installed backends, by name."""
    return {point.name: point for point in entry_points(group=ENTRY_POINTS)}


def load(name: str) -> Backend:
    """Load a backend and put a guard around it.

    Args:
        name: an entry point of the group `conformance.backends`; or `package.module:attribute`,
            an instance, a class, or a factory without arguments; or `wire:` and the command that
            starts a server (`conformance.backends.WireBackend`). After `sealed:` a process of its
            own loads it (`conformance.backends.sealed`).

    Raises:
        BackendError: if there is none, if it cannot be imported, or if it lacks a member that
            every backend has.
    """
    points = available()
    if name in points:
        label = f"entry point {name!r} ({points[name].value})"
        try:
            value = _call_or_fail(f"{label} fails to import", points[name].load)
        except BackendError as error:
            raise _suggest_extra(name, points[name], error) from error.__cause__
    elif name.startswith(WIRE_PREFIX):
        from conformance.backends.wire import WireBackend

        label = f"backend {name!r}"
        value = _call_or_fail(label, WireBackend, name.removeprefix(WIRE_PREFIX))
    elif name.startswith(SEALED_PREFIX):
        from conformance.backends.sealed import SealedBackend
        from conformance.backends.sealed_kernel import SealedKernel

        label, sealed_name = f"backend {name!r}", name.removeprefix(SEALED_PREFIX)
        value = SealedKernel() if sealed_name == KERNEL_BACKEND else SealedBackend(sealed_name)
    elif ":" in name:
        module, _, attribute = name.partition(":")
        label = f"backend {name!r}"
        try:
            value = _call_or_fail(f"{label} fails to import", importlib.import_module, module)
        except BackendError as error:
            raise _say_where_python_looked(module, error) from error.__cause__
        for part in attribute.split("."):
            holder, value = (
                value,
                _call_or_fail(f"{label}: reading {part!r} fails", read_member, value, part),
            )
            if value is None:
                raise BackendError(f"{label}: {safe_repr(holder)} has no attribute {part!r}")
    else:
        matches = difflib.get_close_matches(name, points)
        hint = f"; did you mean {matches[0]!r}?" if matches else ""
        raise BackendError(
            f"backend={name!r}: expected one of {', '.join(sorted(points)) or 'no entry points'}, "
            f"or package.module:attribute{hint}. These are the entry points of {sys.executable}; "
            f"the package of another backend must be installed there"
        )
    kind = type(value)
    if issubclass(kind, type) or (kind in _ROUTINES and not _is_backend(value)):
        value = _call_or_fail(f"{label} cannot be created", value)
        if issubclass(type(value), type):
            raise BackendError(
                f"{label}: expected the function to return a backend, got {safe_repr(value)}"
            )
    backend = _check_backend(value, label)
    _LOADED.append((backend, name))
    return backend


def loaded_as(backend: Backend) -> str | None:
    """The name under which `load` loaded a backend; None if it did not."""
    return next((name for loaded, name in _LOADED if loaded is backend), None)


def _call_or_fail(failure: str, function: Any, *arguments: Any) -> Any:
    """Call a function of the backend; any exception becomes a BackendError."""
    try:
        return call_foreign(function, *arguments)
    except Exception as error:
        raise BackendError(f"{failure}: {describe_exception(error)}") from error


def _suggest_extra(name: str, point: EntryPoint, error: BackendError) -> BackendError:
    """Name the `pip install` command if an extra of the distribution brings the missing package."""
    cause = error.__cause__
    extras = point.dist.metadata.get_all("Provides-Extra", []) if point.dist else []
    if not isinstance(cause, ModuleNotFoundError) or point.dist is None or name not in extras:
        return error
    return BackendError(
        f"backend {name!r} needs the package {cause.name!r}, which is not installed: "
        f"pip install '{point.dist.name}[{name}]'"
    )


def _say_where_python_looked(module: str, error: BackendError) -> BackendError:
    """Add it to an error, if what is missing is the package of the backend's own module."""
    cause, package = error.__cause__, module.partition(".")[0]
    if not isinstance(cause, ModuleNotFoundError) or cause.name != package:
        return error
    folder = os.getcwd()
    conjunction = "and" if {"", folder} & set(sys.path) else "but not"
    return BackendError(
        f"{error}; {sys.executable} looked in its installed packages, {conjunction} in {folder}: "
        f"install {package}, or run `python -m pytest` in the folder that contains it"
    )


def _is_backend(value: Any) -> bool:
    return not _missing_members(value)


def _missing_members(value: Any) -> list[str]:
    """Required members that a backend lacks; a member whose reading raises counts as present."""
    missing = []
    for name in ("name", "info", "devices", "build"):
        try:
            if read_member(value, name) is None:
                missing.append(name)
        except Exception:
            continue
    return missing


def _check_backend(value: Any, label: str) -> Backend:
    if missing := _missing_members(value):
        raise BackendError(
            f"{label} is not a backend: expected name, info, devices and build, "
            f"{type_name(value)} has no {', '.join(missing)}"
        )
    backend: Backend = guarded(value, label)
    for name in ("info", "devices", "build"):
        if not callable(backend.read(name)):  # type: ignore[attr-defined]
            raise BackendError(f"{label}: expected {name} to be a method")
    return backend
