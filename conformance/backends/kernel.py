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

VARIABLE = "NN_CONFORMANCE_KERNEL"
NAME = "conformance.backends.kernel:backend"
"""Name under which a process loads the backend."""


def tell(kernels: Sequence[tuple[str, str]], device: str) -> None:
    """Pass the replaced operators to child processes, in an environment variable.

    Args:
        kernels: pairs of an operator and its function, `module:attribute` or `file.py:attribute`.
    """
    os.environ[VARIABLE] = json.dumps({"kernels": list(kernels), "device": device})


def backend() -> OverrideBackend:
    """Create the backend that the environment variable describes.

    Raises:
        ValueError: if the variable is not set, or a function does not exist.
    """
    from conformance.backends.override import OverrideBackend

    told = os.environ.get(VARIABLE)
    if told is None:
        raise ValueError(
            f"{VARIABLE} is not set: expected to be run by nn-conformance check-kernel"
        )
    given = json.loads(told)
    overrides = {operator: function(where) for operator, where in given["kernels"]}
    name = ", ".join(dict.fromkeys(where for _, where in given["kernels"]))
    return OverrideBackend(name[-100:].strip(), overrides, given["device"])


def function(where: str) -> Any:
    """Import a function by `module:attribute` or `file.py:attribute`.

    Raises:
        ValueError: if there is no such module, file or attribute.
    """
    module, colon, attribute = where.rpartition(":")
    if not colon or not module or not attribute:
        raise ValueError(f"{where!r}: expected module:function or file.py:function")
    if not module.endswith(".py"):
        try:
            return pkgutil.resolve_name(where)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"{where!r}: {error}") from error
    from conformance.backends.kernel_folder import loaded

    if not Path(module).is_file():
        raise ValueError(f"{where!r}: there is no file {module}")
    found: Any = loaded(Path(module))
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ValueError(f"{where!r}: the file has no {attribute}")
        found = getattr(found, part)
    return found
