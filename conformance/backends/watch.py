"""The report of a sealed process on what the code under test reaches for.

Each line goes through a pipe to the judge as it happens, so nothing that the code does later can
take it back. The hook of `sys.addaudithook` cannot be removed.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from conformance.model.breaches import DELEGATES, TAMPERS

RUNS = "runs"
"""Kind of the report of an operator of torch, which is no breach by itself."""
MAX_LINE = 300
_LIBRARIES = re.compile(
    r"^lib.*(torch|c10|mkl|blas|lapack|blis|dnnl|cudnn|cufft|nnpack|accelerate)", re.IGNORECASE
)
_COMPILERS = re.compile(
    r"^([\w.]+-)*"  # as Debian names them: x86_64-linux-gnu-gcc
    r"(gcc|g\+\+|cc|c\+\+|clang|clang\+\+|nvcc|hipcc|ptxas|ld|as|ar|nasm|make|ninja|cmake|ccache|"
    r"rustc|cargo|zig|objdump|nvdisasm|cuobjdump|fatbinary|ldconfig|uname|which|lscpu|sh)"
    r"(-?\d[\d.]*)?$"
)
_OTHER_PROCESS = re.compile(r"^/proc/(?!self/|thread-self/|\d+/task/)\d+/(mem|environ|maps|fd)")
_FOLDER = re.escape(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
_SUITE = re.compile(rf"^{_FOLDER}/(oracles|strategies|checks|laws|run)/")
_FORKS = ("os.fork", "os.forkpty", "os.exec", "os.spawn")


class Watch:
    """Writes reports to a pipe, each once in a call.

    Args:
        descriptor: the pipe.
        delegation: report who does the code's work; a whole backend may let anybody do it.
    """

    def __init__(self, descriptor: int, *, delegation: bool) -> None:
        self._descriptor, self._delegation = descriptor, delegation
        self._written: set[str] = set()

    def begin_call(self) -> None:
        """Report what the next call does even if an earlier one did the same."""
        self._written.clear()

    def report(self, kind: str, text: str) -> None:
        """Report what the code does; again only what was not reported before."""
        line = f"{kind}\t{' '.join(text.split())}"[:MAX_LINE]
        is_asked = kind != DELEGATES or self._delegation
        if is_asked and line not in self._written:
            self._written.add(line)
            with contextlib.suppress(OSError):
                os.write(self._descriptor, line.encode("utf-8", "replace") + b"\n")

    def start_audit(self) -> None:
        """Report what the interpreter does for the code from now on."""
        report = self.report

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            read = _EVENTS.get(event)
            if read is not None:
                with contextlib.suppress(Exception):
                    kind_and_text = read(arguments)
                    if kind_and_text is not None:
                        report(*kind_and_text)

        sys.addaudithook(hook)


def _opened(arguments: tuple[Any, ...]) -> tuple[str, str] | None:
    path = arguments[0]
    if not isinstance(path, (str, bytes)):
        return None
    text = os.fsdecode(path)
    if _OTHER_PROCESS.match(text) and not text.startswith(f"/proc/{os.getpid()}/"):
        return TAMPERS, f"opens {text}"
    return (DELEGATES, "the suite's own code") if _SUITE.search(os.path.realpath(text)) else None


def _loaded_library(arguments: tuple[Any, ...]) -> tuple[str, str] | None:
    if not isinstance(arguments[0], (str, bytes)):
        return None
    name = os.path.basename(os.fsdecode(arguments[0]))
    return (DELEGATES, f"the library {name}") if _LIBRARIES.search(name) else None


def _started_process(arguments: tuple[Any, ...]) -> tuple[str, str] | None:
    return _started(str(arguments[0] or (arguments[1] or [""])[0]))


def _ran_command(arguments: tuple[Any, ...]) -> tuple[str, str] | None:
    return _started(os.fsdecode(arguments[0]).split()[0])


def _started(path: str) -> tuple[str, str] | None:
    program = os.path.basename(path)
    return None if _COMPILERS.match(program) else (DELEGATES, f"the process {program}")


def _forked(arguments: tuple[Any, ...]) -> tuple[str, str]:
    return DELEGATES, "a copy of the process"


def _connected(arguments: tuple[Any, ...]) -> tuple[str, str]:
    return DELEGATES, f"a connection to {arguments[1]}"


def _killed(arguments: tuple[Any, ...]) -> tuple[str, str] | None:
    process = arguments[0]
    return None if process == os.getpid() else (TAMPERS, f"sends a signal to process {process}")


_EVENTS: Mapping[str, Callable[[tuple[Any, ...]], tuple[str, str] | None]] = {
    "open": _opened,
    "ctypes.dlopen": _loaded_library,
    "subprocess.Popen": _started_process,
    "os.posix_spawn": _started_process,
    "os.system": _ran_command,
    "socket.connect": _connected,
    "os.kill": _killed,
    "os.killpg": _killed,
    **dict.fromkeys(_FORKS, _forked),
}
"""Event of the interpreter → what it means: kind and text; None if it means nothing."""
