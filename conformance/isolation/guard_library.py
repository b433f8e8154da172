"""Compile the allocator of the memory guard, `memory_guard.c`, once for each machine."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from conformance.model.plain_text import bounded
from conformance.model.usage_error import UsageError

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-O2", "-shared", "-fPIC", "-pthread")
MAX_OUTPUT = 1000
"""Most characters of the compiler's output in a message."""
# Whether the allocator takes the place of the system's, in a process that loads it first.
_PROBE = "import ctypes; ctypes.CDLL(None).guard_start"


def build_library() -> Path:
    """Compile the allocator, or return the library that an earlier run compiled.

    The library lies in the user's cache folder, under a name with the hash of what it depends on.

    Raises:
        UsageError: if the system, the compiler or the folder does not allow it.
    """
    if sys.platform != "linux":
        raise UsageError(f"needs Linux with glibc, this is {sys.platform}")
    compiler = _find_compiler()
    source = (files("conformance") / "isolation" / "memory_guard.c").read_bytes()
    parts = (source, compiler.encode(), platform.machine().encode(), *map(str.encode, FLAGS))
    name = f"memory-guard-{hashlib.sha256(b' '.join(parts)).hexdigest()[:16]}.so"
    library = _cache_folder() / name
    if library.is_file():
        return library
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent, prefix="compiling-") as folder:
            compiled = Path(folder) / name
            _compile(compiler, source, compiled)
            _verify_library(compiled)
            compiled.replace(library)  # atomic, since several workers may compile it
    except OSError as error:
        raise UsageError(f"{error.filename or library}: {error.strerror or error}") from None
    return library


def preloaded(environment: Mapping[str, str], library: Path) -> dict[str, str]:
    """Add the allocator to a copy of an environment; libraries that the user preloads stay."""
    earlier = environment.get("LD_PRELOAD")
    return {**environment, "LD_PRELOAD": f"{library}:{earlier}" if earlier else str(library)}


def _find_compiler() -> str:
    chosen = os.environ.get("CC")
    for name in (chosen,) if chosen else COMPILERS:
        path = shutil.which(name)
        if path is not None:
            return path
    missing = f"CC={bounded(chosen, 200)} is not" if chosen else "none of cc, gcc and clang is"
    raise UsageError(f"needs a C compiler: {missing} installed (Debian: apt install gcc)")


def _cache_folder() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME", "")
    with contextlib.suppress(RuntimeError):
        parent = Path(folder) if os.path.isabs(folder) else Path.home() / ".cache"
        return parent / "nn-conformance"
    raise UsageError("needs a folder for what it compiles: expected HOME or XDG_CACHE_HOME")


def _compile(compiler: str, source: bytes, target: Path) -> None:
    command = [compiler, *FLAGS, "-o", str(target), "-x", "c", "-"]
    result = subprocess.run(command, input=source, capture_output=True, check=False)
    if result.returncode:
        output = bounded(result.stderr.decode("utf-8", "replace").strip(), MAX_OUTPUT)
        raise UsageError(f"{compiler} cannot compile the allocator:\n{output}")


def _verify_library(library: Path) -> None:
    """Start a process with the allocator; C libraries other than glibc do not load it."""
    command = [sys.executable, "-I", "-c", _PROBE]
    result = subprocess.run(
        command, env=preloaded(os.environ, library), capture_output=True, check=False
    )
    if result.returncode:
        output = result.stderr.decode("utf-8", "replace").strip()
        (last,) = output.splitlines()[-1:] or [""]
        raise UsageError(f"the allocator does not run here; it needs glibc: {bounded(last, 500)}")
