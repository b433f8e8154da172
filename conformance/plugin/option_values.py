"""Option values as the user gave them: text, numbers, lists, files to read and to write."""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from conformance.model.files import is_same, kind_of
from conformance.model.plain_text import bounded, visible

OUTPUTS = ("results", "report", "summary")
MOST = 10**18
"""The largest whole number: files hold numbers of 64 bits."""
LONGEST, SHOWN = 20_000, 200
"""Characters of a value at most, and of its part that a message shows."""
LONGEST_NAME = 255
MANY = 24
"""Names that a message lists, at most."""
_A_VALUE = {"known": "files", "results": "a file", "report": "a file", "summary": "a file"}


class Reader:
    """The options of one run, each with its source: the option or its environment variable.

    Args:
        config: pytest's configuration.
        names: names of the options, without the prefix `--conformance-`.
    """

    def __init__(self, config: pytest.Config, names: Iterable[str]) -> None:
        self.given: dict[str, str] = {}
        self.source: dict[str, str] = {}
        for name in names:
            value = getattr(config.option, f"conformance_{name}", None)
            if value is not None:
                self.given[name], self.source[name] = value, f"--conformance-{name}"
            elif os.environ.get(twin(name)):
                self.given[name], self.source[name] = os.environ[twin(name)], twin(name)
            self._must_be_text(name)

    def _must_be_text(self, name: str) -> None:
        """Refuse a value that is empty, too long or has control characters."""
        value = self.given.get(name)
        if value is None:
            return
        if not value.strip():
            raise self.error(name, f"expected {_A_VALUE.get(name, 'a value')}, this is empty")
        if len(value) > LONGEST:
            raise self.error(name, f"expected no more than {LONGEST:,} characters")
        if "\n" in value or visible(value) != value:
            raise self.error(name, "expected text without control characters")

    def error(self, name: str, problem: str) -> pytest.UsageError:
        """Make a usage error that shows the option as the user gave it."""
        shown = bounded(self.given[name], SHOWN)
        return pytest.UsageError(f"{self.source[name]}={shown}: {problem}")

    def listed(self, name: str) -> list[str]:
        """Split a comma list; refuse one with empty entries."""
        entries = [entry.strip() for entry in self.given[name].split(",")]
        if not any(entries):
            raise self.error(name, "expected a comma list with at least one entry")
        if not all(entries):
            raise self.error(name, "expected a comma list without empty entries")
        return entries

    def integer(self, name: str, default: int, least: int = -MOST, most: int = MOST) -> int:
        """Parse a whole number in decimal digits."""
        if name not in self.given:
            return default
        text = self.given[name].strip()
        if re.fullmatch(r"[+-]?[0-9]+", text) is None:
            raise self.error(name, "expected an integer")
        # Python parses no number of more than 4300 digits.
        value = int(text) if len(text) < 20 else least - 1 if text[0] == "-" else most + 1
        if value < least:
            raise self.error(name, f"expected an integer of at least {least}")
        if value > most:
            raise self.error(name, f"expected an integer of at most {most}")
        return value

    def one_of(self, name: str, known: Sequence[str]) -> str:
        """Return the value if it is one of the known words."""
        if self.given[name] not in known:
            raise self.error(name, f"expected one of {', '.join(known)}")
        return self.given[name]

    def chosen(self, name: str, known: Sequence[str], *, globs: bool = False) -> tuple[str, ...]:
        """Return the known names that a comma list selects, in the order of `known`.

        Args:
            globs: entries may be patterns such as `Conv*`.
        """
        found: set[str] = set()
        for entry in self.listed(name):
            matches = [k for k in known if fnmatch.fnmatchcase(k, entry)] if globs else []
            matches = matches or [k for k in known if k == entry]
            if not matches:
                shown = bounded(repr(entry), SHOWN)
                raise self.error(name, f"no {name} {shown}; {_nearest(entry[:SHOWN], known)}")
            found |= set(matches)
        return tuple(k for k in known if k in found)


def twin(name: str) -> str:
    """Return the name of an option's environment variable."""
    return f"CONFORMANCE_{name.upper()}"


def _nearest(entry: str, known: Iterable[str]) -> str:
    names = list(known)
    folded = {name.lower(): name for name in names}
    near = difflib.get_close_matches(entry.strip("*").lower(), folded, n=4, cutoff=0.5)
    if len(names) > 12 and near:
        return f"nearest: {', '.join(folded[n] for n in near)}"
    more = f", … ({len(names)} in all)" if len(names) > MANY else ""
    return f"expected one of {', '.join(names[:MANY])}{more}"


def input_file(read: Reader, name: str, entry: str) -> Path:
    """Return the path of a file to read; refuse a folder, a pipe or a missing file."""
    path = Path(entry).absolute()
    try:
        kind = kind_of(path.stat().st_mode)
    except OSError as error:
        raise read.error(name, f"{bounded(entry, SHOWN)}: {error.strerror}") from None
    if kind:
        raise read.error(name, f"expected a file, this is {kind}: {bounded(entry, SHOWN)}")
    return path


def output(read: Reader, name: str) -> Path | None:
    """Return the path of a file to write; report before the run that it cannot be written."""
    if name not in read.given:
        return None
    if read.given[name].endswith(("/", os.sep)):
        raise read.error(name, "expected a file, this is a folder")
    path = Path(read.given[name]).absolute()
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = None
    except OSError as error:
        raise read.error(name, f"expected a file: {error.strerror}") from None
    if mode is not None:
        kind = kind_of(mode)
        if kind and not stat.S_ISCHR(mode):  # /dev/null is a file that is always empty
            raise read.error(name, f"expected a file, this is {kind}")
        if not os.access(path, os.W_OK):
            raise read.error(name, "expected a file that may be written")
        return path
    if len(os.fsencode(path.name)) > LONGEST_NAME:
        raise read.error(name, f"expected a file's name of no more than {LONGEST_NAME} bytes")
    folder = next(parent for parent in path.parents if os.path.lexists(parent))
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise read.error(name, f"expected a file in a folder that may be written, not {folder}")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        # Nobody can create files in /proc, although its permissions allow it.
        raise read.error(name, f"no file can be written in {folder}: {error.strerror}") from None
    return path


def keep_apart(read: Reader, known: Sequence[Path], earlier: Path | None) -> None:
    """Refuse an output file that is also an input file or another output file."""
    seen = [("known", path) for path in known]
    seen += [] if earlier is None else [("compare", earlier)]
    for name in OUTPUTS:
        if name not in read.given:
            continue
        path = Path(read.given[name]).absolute()
        for other, there in seen:
            if is_same(path, there):
                expected = f"expected another file than that of {read.source[other]}"
                raise read.error(name, expected)
        seen.append((name, path))
