"""The backend of `nn-conformance check-kernel`: an environment variable names its functions."""

from __future__ import annotations

import json
import os
import pkgutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conformance.backends.override import OverrideBackend

ENVIRONMENT_VARIABLE = "NN_CONFORMANCE_KERNEL"
BACKEND_PATH = "conformance.backends.kernel:backend"
"""Name under which a process loads the backend."""


def set_kernels(kernels: Sequence[tuple[str, str]], device: str) -> None:
    """Pass the replaced operators to child processes, in an environment variable.

    Args:
        kernels: pairs of an operator and its function, `module:attribute` or `file.py:attribute`.
    """
    os.environ[ENVIRONMENT_VARIABLE] = json.dumps({"kernels": list(kernels), "device": device})


def backend() -> OverrideBackend:
    """Create the backend that the environment variable describes.

    Raises:
        ValueError: if the variable is not set, or a function does not exist.
    """
    from conformance.backends.override import OverrideBackend

    text = os.environ.get(ENVIRONMENT_VARIABLE)
    if text is None:
        raise ValueError(
            f"{ENVIRONMENT_VARIABLE} is not set: expected to be run by nn-conformance check-kernel"
        )
    settings = json.loads(text)
    overrides = {operator: import_function(location) for operator, location in settings["kernels"]}
    name = ", ".join(dict.fromkeys(location for _, location in settings["kernels"]))
    return OverrideBackend(name[-100:].strip(), overrides, settings["device"])


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
