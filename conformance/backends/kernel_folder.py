"""A folder of kernels, one file of Python for each operator, as benchmarks of kernels have them."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

NAMES = ("kernel", "run", "forward")
"""What the function may be called where it is not named as the operator."""
# An operator's own name may begin with two underscores: `__and__`.
_STEM = re.compile(r"(__[a-z]+?__|.+?)(?:__(.+))?")


def operator_of(file: Path) -> str:
    """The operator that a file is about.

    `addmm.py` and `aten__addmm.py` are `aten::addmm`; an overload follows after two underscores:
    `addmm__out.py`, `aten__addmm__out.py` are `aten::addmm.out`.

    Args:
        file: its name ends in `.py`.
    """
    found = _STEM.fullmatch(file.stem.removeprefix("aten__"))
    base, overload = found.groups() if found else (file.stem, None)
    return f"aten::{base}" + (f".{overload}" if overload else "")


def functions(folder: Path) -> Mapping[str, Callable[..., Any]]:
    """The functions of a folder's files, by operator.

    Files whose names begin with an underscore are helpers where no operator is called so, such as
    `_common.py`; they can be imported by the others.

    Args:
        folder: holds a file for each operator.

    Raises:
        ValueError: if there is no such folder, no such file in it, or no function in a file.
    """
    if not folder.is_dir():
        raise ValueError(f"folder {str(folder)!r}: expected a folder with a file for each operator")
    files = [f for f in sorted(folder.glob("*.py")) if not _helper(f)]
    if not files:
        raise ValueError(f"folder {str(folder)!r}: expected files such as addmm.py, found none")
    found: dict[str, Callable[..., Any]] = {}
    for file in files:
        name = operator_of(file)
        if name in found:
            raise ValueError(f"folder {str(folder)!r}: two files are about {name}")
        found[name] = _function(loaded(file), name, file)
    return found


def _helper(file: Path) -> bool:
    if not file.name.startswith("_"):
        return False
    import torch

    name = operator_of(file).partition("::")[2].partition(".")[0]
    return not isinstance(getattr(torch.ops.aten, name, None), torch._ops.OpOverloadPacket)


def loaded(file: Path) -> ModuleType:
    """Import a file under a name of its own; what lies beside it can be imported from it."""
    name = f"conformance_kernel_{file.resolve().parent.name}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Compilers of kernels look for the source by the module's name.
    sys.modules[name] = module
    beside, before = str(file.resolve().parent), set(sys.modules)
    sys.path.insert(0, beside)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(beside)
        # Another folder's helpers may have the same names.
        for other in set(sys.modules) - before - {name}:
            if str(getattr(sys.modules[other], "__file__", "")).startswith(beside + os.sep):
                del sys.modules[other]
    return module


def _function(module: ModuleType, operator: str, file: Path) -> Callable[..., Any]:
    base = operator.partition("::")[2].partition(".")[0]
    for name in (file.stem, base, *NAMES):
        found: Callable[..., Any] | None = getattr(module, name, None)
        if found is not None:
            return found
    wanted = ", ".join(dict.fromkeys((base, *NAMES)))
    raise ValueError(f"file {file.name!r}: expected a function for {operator} called {wanted}")
