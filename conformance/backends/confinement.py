"""Take from a process what code under test could use against its judge, then run a module in it.

Run as a script, before anything else is loaded: `python -P confinement.py FOLDER MODULE`. Linux
alone has both means; a process that lacks one runs without it, and says so.

- A PID namespace: it sees, signals and outlives no process outside, and no process that it
  leaves behind outlives it (pid_namespaces(7)).
- Landlock: it writes in its own folder only, traces no process outside, sends no signal there and
  opens no TCP connection (landlock(7)). Nothing undoes this, not even root.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import runpy
import signal
import struct
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

APPLIED_VARIABLE = "NN_CONFORMANCE_CONFINED"
"""Environment variable with the means that this process has applied, separated by `; `."""
OWN_PROCESSES = "its own processes"
OWN_FOLDER = "writing in its own folder"
NO_SIGNALS = "no signals, no traces"
NO_NETWORK = "no TCP"
MEANS = (OWN_PROCESSES, OWN_FOLDER, NO_SIGNALS, NO_NETWORK)
"""What a confined process is left with, in words of a report."""

_CLONE_NEWUSER, _CLONE_NEWPID = 0x1000_0000, 0x2000_0000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
# The numbers of these calls are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_WRITE_FILE, _TRUNCATE, _IOCTL = 1 << 1, 1 << 14, 1 << 15
_WRITES = sum(1 << bit for bit in (1, *range(4, 13)))
"""Landlock's rights that change files: write, remove and make; `refer` and `truncate` are later."""
_TCP, _SCOPES = 0b11, 0b11
_DEVICES = ("null", "zero", "full", "random", "urandom", "dri", "kfd", "shm", "nvidia*")
"""What may be written in /dev: no terminal and no disk. Names in `shm` outlive the process."""


def _system() -> Any:
    return ctypes.CDLL(None, use_errno=True)


def end_with_parent() -> None:
    """Let the kernel kill this process when its parent ends (Linux)."""
    if sys.platform.startswith("linux"):
        _system().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def enter_namespace() -> bool:
    """Continue in a process of a new PID namespace, if the system allows one.

    The calling process waits outside for the end of that process, and ends the same way.

    Returns:
        Whether this is a process of the new namespace; it has the number 2.
    """
    if not sys.platform.startswith("linux"):
        return False
    user, group = os.getuid(), os.getgid()
    if _system().unshare(_CLONE_NEWPID) != 0:
        if _system().unshare(_CLONE_NEWUSER | _CLONE_NEWPID) != 0:
            return False
        with contextlib.suppress(OSError):
            _write("/proc/self/setgroups", "deny")
            _write("/proc/self/uid_map", f"{user} {user} 1")
            _write("/proc/self/gid_map", f"{group} {group} 1")
    read_end, write_end = os.pipe()
    first = os.fork()
    if first:
        _close_all_but(read_end)
        status = os.read(read_end, 4)
        os.waitpid(first, 0)
        end_as(struct.unpack("i", status)[0] if len(status) == 4 else -signal.SIGKILL)
    end_with_parent()
    # Process 1 ignores most signals, `abort` among them, so it only waits for process 2.
    second = os.fork()
    if second:
        _close_all_but(write_end)
        while True:
            process, ended = os.wait()
            if process == second:
                os.write(write_end, struct.pack("i", os.waitstatus_to_exitcode(ended)))
                os._exit(0)
    os.close(read_end)
    os.close(write_end)
    end_with_parent()
    return True


def restrict_writing(folder: str) -> Iterator[str]:
    """Apply Landlock; yield each of `MEANS` that this kernel has applied.

    Args:
        folder: the folder in which this process may write.
    """
    if not sys.platform.startswith("linux"):
        return
    call = _system().syscall
    version = call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return
    rights = _WRITES | (1 << 13 if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    rights |= _IOCTL if version >= 5 else 0
    attributes = struct.pack(
        "QQQ", rights, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0
    )
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = call(_CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    if ruleset < 0:
        return
    devices = (path for name in _DEVICES for path in glob.glob(f"/dev/{name}"))
    for path in (folder, *devices):
        descriptor = os.open(path, os.O_PATH)
        allowed = rights if os.path.isdir(path) else rights & (_WRITE_FILE | _TRUNCATE | _IOCTL)
        rule = struct.pack("=Qi", allowed, descriptor)
        call(_ADD_RULE, ruleset, 1, rule, ctypes.c_uint32(0))
        os.close(descriptor)
    _system().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if call(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)) != 0:
        return
    os.close(ruleset)
    yield OWN_FOLDER
    if version >= 6:
        yield NO_SIGNALS
    if version >= 4:
        yield NO_NETWORK


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def _close_all_but(kept: int) -> None:
    """Close the pipes to the judge: the process that works has them, and this one only waits."""
    for descriptor in (0, 1):
        os.close(descriptor)
    os.closerange(3, kept)
    os.closerange(kept + 1, 1 << 16)


def end_as(code: int) -> NoReturn:
    """End this process with the exit status or signal of another one."""
    if code < 0:
        with contextlib.suppress(OSError, ValueError):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(max(code, 0))


def main() -> None:
    """Confine this process, and run the module that the command names."""
    folder, module = sys.argv[1:]
    end_with_parent()
    applied = [OWN_PROCESSES] if enter_namespace() else []
    applied += restrict_writing(folder)
    os.environ[APPLIED_VARIABLE] = "; ".join(applied)
    del sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
