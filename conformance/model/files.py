"""Read the user's files without blocking and with a size limit; write them atomically."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import IO

_FILE_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_OPEN_FLAGS = (
    getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)


class FileError(OSError):
    """A path does not lead to a file that can be read or written."""


def file_kind(mode: int) -> str:
    """The kind of a file in words, by its mode from `os.stat`; empty for a regular file."""
    if stat.S_ISREG(mode):
        return ""
    return next((name for test, name in _FILE_KINDS if test(mode)), "not a regular file")


def open_file(path: Path, max_bytes: int) -> IO[bytes]:
    """Open a file for reading; reject a pipe, a socket or a device without waiting.

    Args:
        max_bytes: the largest size in bytes.

    Raises:
        FileError: if it is not a regular file, or is larger than `max_bytes`.
        OSError: if it cannot be opened.
    """
    # Opening a device may have side effects.
    _require_regular_file(path, os.stat(path).st_mode)
    descriptor = os.open(path, os.O_RDONLY | _OPEN_FLAGS)
    try:
        status = os.fstat(descriptor)
        _require_regular_file(path, status.st_mode)
        if status.st_size > max_bytes:
            raise FileError(
                f"{path} has {status.st_size:,} bytes, expected no more than {max_bytes:,}"
            )
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_text(path: Path, max_bytes: int) -> str:
    """Read the text of a file of at most `max_bytes` bytes.

    Raises:
        FileError: if it is not a regular file, is larger than `max_bytes`, or is not UTF-8.
        OSError: if it cannot be read.
    """
    with open_file(path, max_bytes) as file:
        content = file.read(max_bytes + 1)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file atomically: after an error it is as it was before.

    Args:
        path: the file; its folder is created. A device such as `/dev/null` or `/dev/stdout` is
            written to directly.
        content: bytes, or text; lone surrogates in it are written as `\\udc80`.

    Raises:
        FileError: if the path leads to a folder, a socket, or a pipe without a reader.
        OSError: if it cannot be written.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    target = Path(os.path.realpath(path))
    try:
        mode: int | None = os.stat(path).st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and file_kind(mode):
        _write_to_device(path, mode, data)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".conformance-{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OPEN_FLAGS
    try:
        with os.fdopen(os.open(temporary, flags, 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(temporary, stat.S_IMODE(mode))
        os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            # The error names the target: the user does not know the temporary file.
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def _write_to_device(path: Path, mode: int, data: bytes) -> None:
    kind = file_kind(mode)
    if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
        raise FileError(f"{path} is {kind}, expected a file")
    try:
        # With O_NONBLOCK, opening a pipe without a reader fails instead of waiting.
        descriptor = os.open(path, os.O_WRONLY | _OPEN_FLAGS)
    except OSError as error:
        raise FileError(f"{path} is {kind}, expected a file: {error.strerror}") from None
    os.set_blocking(descriptor, True)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _require_regular_file(path: Path, mode: int) -> None:
    kind = file_kind(mode)
    if kind:
        raise FileError(f"{path} is {kind}, expected a file")


def is_same_file(path: Path, other_path: Path) -> bool:
    """Whether two paths lead to the same file, which need not exist.

    False for devices: several outputs may go to `/dev/null`.
    """
    try:
        first, second = os.stat(path), os.stat(other_path)
    except (OSError, ValueError):
        return os.path.realpath(path) == os.path.realpath(other_path)
    return os.path.samestat(first, second) and not file_kind(first.st_mode)


def find_overwrite(
    outputs: Iterable[Path], inputs: Iterable[Path] = ()
) -> tuple[Path, Path] | None:
    """Find the first output that would overwrite an input or an earlier output.

    Returns:
        The output and the file that it would overwrite; None if there is none.
    """
    earlier_paths = list(inputs)
    for output in outputs:
        for earlier_path in earlier_paths:
            if is_same_file(output, earlier_path):
                return output, earlier_path
        earlier_paths.append(output)
    return None
