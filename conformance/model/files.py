"""Files of the user's: read without waiting and within bounds, written whole or not at all."""

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
    """A path that is no file to read from or to write to."""


def kind_of(mode: int) -> str:
    """What a path leads to, in words; empty for a regular file.

    Args:
        mode: as `os.stat` gives it.
    """
    if stat.S_ISREG(mode):
        return ""
    return next((name for test, name in _KINDS if test(mode)), "no regular file")


def open_file(path: Path, most: int) -> IO[bytes]:
    """Open a file to read from; a pipe, a socket or a device is refused at once.

    Args:
        most: bytes that it may have.

    Raises:
        FileError: if it is no regular file, or larger.
        OSError: if it cannot be opened.
    """
    # Opening a device may already do something.
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
    """The text of a file; the arguments are those of `open_file`.

    Raises:
        FileError: if it is no regular file, larger, or no UTF-8.
        OSError: if it cannot be read.
    """
    with open_file(path, most) as file:
        data = file.read(most + 1)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is no UTF-8 text: {error.reason} at byte {error.start}") from None


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file at once: it is there whole, or as it was before.

    Args:
        path: of the file; its folder is made. Where it leads to a device, `/dev/null` or
            `/dev/stdout`, that is written to.
        content: text, lone surrogates among it written as `\\udc80`, or bytes.

    Raises:
        FileError: if the path leads to a folder, a socket, or a pipe that nobody reads.
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
            # The name of the file beside tells nobody anything.
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def _into_device(path: Path, mode: int, data: bytes) -> None:
    kind = kind_of(mode)
    if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
        raise FileError(f"{path} is {kind}, expected a file")
    try:
        # Of a pipe without a reader this fails in place of waiting.
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
    """Whether two paths lead to one file, be it there or not.

    Args:
        one, other: devices are no files: both may lead to `/dev/null`.
    """
    try:
        first, second = os.stat(one), os.stat(other)
    except (OSError, ValueError):
        return os.path.realpath(one) == os.path.realpath(other)
    return os.path.samestat(first, second) and not kind_of(first.st_mode)


def clash(outputs: Iterable[Path], inputs: Iterable[Path] = ()) -> tuple[Path, Path] | None:
    """The first output that would overwrite an input, or an earlier output.

    Args:
        outputs: files to write.
        inputs: files that are read.

    Returns:
        The output and the other file; None where all is well.
    """
    others = list(inputs)
    for output in outputs:
        for other in others:
            if is_same(output, other):
                return output, other
        others.append(output)
    return None
