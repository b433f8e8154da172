"""Read the user's files without blocking and with a size limit; write them atomically."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import IO

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_AT_ONCE = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class FileError(OSError):
    """A path does not lead to a file that can be read or written."""


def kind_of(mode: int) -> str:
    """The kind of a file in words, by its mode from `os.stat`; empty for a regular file."""
    if stat.S_ISREG(mode):
        return ""
    return next((name for test, name in _KINDS if test(mode)), "not a regular file")


def open_file(path: Path, most: int) -> IO[bytes]:
    """Open a file for reading; reject a pipe, a socket or a device without waiting.

    Args:
        most: the largest size in bytes.

    Raises:
        FileError: if it is not a regular file, or is larger than `most`.
        OSError: if it cannot be opened.
    """
    # Opening a device may have side effects.
    _must_be_regular(path, os.stat(path).st_mode)
    descriptor = os.open(path, os.O_RDONLY | _AT_ONCE)
    try:
        found = os.fstat(descriptor)
        _must_be_regular(path, found.st_mode)
        if found.st_size > most:
            raise FileError(f"{path} has {found.st_size:,} bytes, expected no more than {most:,}")
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_text(path: Path, most: int) -> str:
    """Read the text of a file of at most `most` bytes.

    Raises:
        FileError: if it is not a regular file, is larger than `most`, or is not UTF-8.
        OSError: if it cannot be read.
    """
    with open_file(path, most) as file:
        data = file.read(most + 1)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None


def write_whole(path: Path, content: str | bytes) -> None:
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
    if mode is not None and kind_of(mode):
        _into_device(path, mode, data)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.parent / f".conformance-{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _AT_ONCE
    try:
        with os.fdopen(os.open(beside, flags, 0o666), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            os.chmod(beside, stat.S_IMODE(mode))
        os.replace(beside, target)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            # The error names the target: the user does not know the temporary file.
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def _into_device(path: Path, mode: int, data: bytes) -> None:
    kind = kind_of(mode)
    if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
        raise FileError(f"{path} is {kind}, expected a file")
    try:
        # With O_NONBLOCK, opening a pipe without a reader fails instead of waiting.
        descriptor = os.open(path, os.O_WRONLY | _AT_ONCE)
    except OSError as error:
        raise FileError(f"{path} is {kind}, expected a file: {error.strerror}") from None
    os.set_blocking(descriptor, True)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _must_be_regular(path: Path, mode: int) -> None:
    kind = kind_of(mode)
    if kind:
        raise FileError(f"{path} is {kind}, expected a file")


def is_same(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same file, which need not exist.

    False for devices: several outputs may go to `/dev/null`.
    """
    try:
        first, second = os.stat(one), os.stat(other)
    except (OSError, ValueError):
        return os.path.realpath(one) == os.path.realpath(other)
    return os.path.samestat(first, second) and not kind_of(first.st_mode)


def clash(outputs: Iterable[Path], inputs: Iterable[Path] = ()) -> tuple[Path, Path] | None:
    """Find the first output that would overwrite an input or an earlier output.

    Returns:
        The output and the file that it would overwrite; None if there is none.
    """
    others = list(inputs)
    for output in outputs:
        for other in others:
            if is_same(output, other):
                return output, other
        others.append(output)
    return None
