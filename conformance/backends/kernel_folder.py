"""A folder of kernels with one Python file for each operator, as kernel benchmarks store them."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

FUNCTION_NAMES = ("kernel", "run", "forward")
"""Accepted names of the function in a file, besides the operator's own name."""
# An operator's own name may begin with two underscores: `__and__`.
_STEM = re.compile(r"(__[a-z]+?__|.+?)(?:__(.+))?")


def operator_name(file: Path) -> str:
    """The operator that a file implements, from the name of the file.

    `addmm.py` and `aten__addmm.py` are `aten::addmm`. Two underscores precede an overload:
    `addmm__out.py` and `aten__addmm__out.py` are `aten::addmm.out`.
    """
    match = _STEM.fullmatch(file.stem.removeprefix("aten__"))
    base, overload = match.groups() if match else (file.stem, None)
    return f"aten::{base}" + (f".{overload}" if overload else "")


def load_functions(folder: Path) -> Mapping[str, Callable[..., Any]]:
    """The functions of a folder's files, by operator.

    A file whose name begins with an underscore, such as `_common.py`, is a helper unless an
    operator has that name. The other files can import helpers.

    Raises:
        ValueError: if the folder does not exist or has no file for an operator, if two files
            implement one operator, or if a file lacks the function.
    """
    if not folder.is_dir():
        raise ValueError(f"folder {str(folder)!r}: expected a folder with a file for each operator")
    files = [f for f in sorted(folder.glob("*.py")) if not _is_helper(f)]
    if not files:
        raise ValueError(f"folder {str(folder)!r}: expected files such as addmm.py, found none")
    loaded_functions: dict[str, Callable[..., Any]] = {}
    for file in files:
        name = operator_name(file)
        if name in loaded_functions:
            raise ValueError(f"folder {str(folder)!r}: two files implement {name}")
        loaded_functions[name] = _find_function(import_file(file), name, file)
    return loaded_functions


def _is_helper(file: Path) -> bool:
    if not file.name.startswith("_"):
        return False
    import torch

    name = operator_name(file).partition("::")[2].partition(".")[0]
    return not isinstance(getattr(torch.ops.aten, name, None), torch._ops.OpOverloadPacket)


def import_file(file: Path) -> ModuleType:
    """Import a file under a unique module name; the file can import its neighbours."""
    name = f"conformance_kernel_{file.resolve().parent.name}_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Kernel compilers look up the source by the module's name.
    sys.modules[name] = module
    folder, modules_before = str(file.resolve().parent), set(sys.modules)
    sys.path.insert(0, folder)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(folder)
        # The helpers of another folder may have the same names.
        for imported in set(sys.modules) - modules_before - {name}:
            if str(getattr(sys.modules[imported], "__file__", "")).startswith(folder + os.sep):
                del sys.modules[imported]
    return module


def _find_function(module: ModuleType, operator: str, file: Path) -> Callable[..., Any]:
    base = operator.partition("::")[2].partition(".")[0]
    for name in (file.stem, base, *FUNCTION_NAMES):
        function: Callable[..., Any] | None = getattr(module, name, None)
        if function is not None:
            return function
    expected = ", ".join(dict.fromkeys((base, *FUNCTION_NAMES)))
    raise ValueError(f"file {file.name!r}: expected a function for {operator} called {expected}")
