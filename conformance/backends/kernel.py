"""The backend of `nn-conformance check-kernel`: an environment variable names its functions."""

from __future__ import annotations

import os
import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from conformance.backends.override import OverrideBackend

ENVIRONMENT_VARIABLE = "NN_CONFORMANCE_KERNEL"


@dataclass(frozen=True)
class KernelSettings:
    """The functions under test.

    Args:
        kernels: pairs of an operator and its function, `module:attribute` or `file.py:attribute`.
        device: whose kernels they replace.
        allowed: operators of torch that they may call, where a sealed process reports calls.
    """

    kernels: tuple[tuple[str, str], ...]
    device: str
    allowed: tuple[str, ...] = ()


def set_kernels(settings: KernelSettings) -> None:
    """Pass the functions under test to child processes, in an environment variable."""
    os.environ[ENVIRONMENT_VARIABLE] = msgspec.json.encode(settings).decode()


def settings() -> KernelSettings:
    """The functions under test that the environment variable names.

    Raises:
        ValueError: if the variable is not set.
    """
    text = os.environ.get(ENVIRONMENT_VARIABLE)
    if text is None:
        raise ValueError(
            f"{ENVIRONMENT_VARIABLE} is not set: expected to be run by nn-conformance check-kernel"
        )
    return msgspec.json.decode(text, type=KernelSettings)


def backend() -> OverrideBackend:
    """Create the backend that the environment variable describes.

    Raises:
        ValueError: if the variable is not set, or a function does not exist.
    """
    from conformance.backends.override import OverrideBackend

    kernel_settings = settings()
    overrides = {name: import_function(location) for name, location in kernel_settings.kernels}
    return OverrideBackend(backend_name(kernel_settings), overrides, kernel_settings.device)


def backend_name(kernel_settings: KernelSettings) -> str:
    """The name of a backend: the locations of its functions."""
    name = ", ".join(dict.fromkeys(location for _, location in kernel_settings.kernels))
    return name[-100:].strip()


def import_function(location: str) -> Any:
    """Import a function by `module:attribute` or `file.py:attribute`.

    Raises:
        ValueError: if there is no such module, file or attribute.
    """
    module, colon, attribute = location.rpartition(":")
    if not colon or not module or not attribute:
        raise ValueError(f"{location!r}: expected module:function or file.py:function")
    if not module.endswith(".py"):
        try:
            return pkgutil.resolve_name(location)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"{location!r}: {error}") from error
    from conformance.backends.kernel_folder import import_file

    if not Path(module).is_file():
        raise ValueError(f"{location!r}: there is no file {module}")
    value: Any = import_file(Path(module))
    for part in attribute.split("."):
        if not hasattr(value, part):
            raise ValueError(f"{location!r}: the file has no {attribute}")
        value = getattr(value, part)
    return value
