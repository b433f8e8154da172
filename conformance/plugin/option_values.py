"""Option values as the user gave them: text, numbers, lists, files to read and to write."""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from conformance.model.files import file_kind, is_same_file
from conformance.model.plain_text import bounded, visible

OUTPUT_OPTIONS = ("results", "report", "summary")
MAX_INTEGER = 10**18
"""The largest whole number: files hold numbers of 64 bits."""
MAX_VALUE_LENGTH, MAX_SHOWN_LENGTH = 20_000, 200
"""Characters of a value at most, and of its part that a message shows."""
MAX_FILE_NAME_BYTES = 255
MAX_LISTED_NAMES = 24
"""Names that a message lists, at most."""
_EXPECTED_KINDS = {"known": "files", "results": "a file", "report": "a file", "summary": "a file"}


class OptionReader:
    """The options of one run, each with its source: the option or its environment variable.

    Args:
        config: pytest's configuration.
        names: names of the options, without the prefix `--conformance-`.
    """

    def __init__(self, config: pytest.Config, names: Iterable[str]) -> None:
        self.values: dict[str, str] = {}
        self.sources: dict[str, str] = {}
        for name in names:
            value = getattr(config.option, f"conformance_{name}", None)
            if value is not None:
                self.values[name], self.sources[name] = value, f"--conformance-{name}"
            elif os.environ.get(environment_variable(name)):
                self.values[name], self.sources[name] = (
                    os.environ[environment_variable(name)],
                    environment_variable(name),
                )
            self._validate_text(name)

    def _validate_text(self, name: str) -> None:
        """Refuse a value that is empty, too long or has control characters."""
        value = self.values.get(name)
        if value is None:
            return
        if not value.strip():
            raise self.error(
                name, f"expected {_EXPECTED_KINDS.get(name, 'a value')}, this is empty"
            )
        if len(value) > MAX_VALUE_LENGTH:
            raise self.error(name, f"expected no more than {MAX_VALUE_LENGTH:,} characters")
        if "\n" in value or visible(value) != value:
            raise self.error(name, "expected text without control characters")

    def error(self, name: str, problem: str) -> pytest.UsageError:
        """Make a usage error that shows the option as the user gave it."""
        shortened_value = bounded(self.values[name], MAX_SHOWN_LENGTH)
        return pytest.UsageError(f"{self.sources[name]}={shortened_value}: {problem}")

    def comma_list(self, name: str) -> list[str]:
        """Split a comma list; refuse one with empty entries."""
        entries = [entry.strip() for entry in self.values[name].split(",")]
        if not any(entries):
            raise self.error(name, "expected a comma list with at least one entry")
        if not all(entries):
            raise self.error(name, "expected a comma list without empty entries")
        return entries

    def integer(
        self, name: str, default: int, minimum: int = -MAX_INTEGER, maximum: int = MAX_INTEGER
    ) -> int:
        """Parse a whole number in decimal digits."""
        if name not in self.values:
            return default
        text = self.values[name].strip()
        if re.fullmatch(r"[+-]?[0-9]+", text) is None:
            raise self.error(name, "expected an integer")
        # Python parses no number of more than 4300 digits.
        value = int(text) if len(text) < 20 else minimum - 1 if text[0] == "-" else maximum + 1
        if value < minimum:
            raise self.error(name, f"expected an integer of at least {minimum}")
        if value > maximum:
            raise self.error(name, f"expected an integer of at most {maximum}")
        return value

    def one_of(self, name: str, known: Sequence[str]) -> str:
        """Return the value if it is one of the known words."""
        if self.values[name] not in known:
            raise self.error(name, f"expected one of {', '.join(known)}")
        return self.values[name]

    def select(self, name: str, known: Sequence[str], *, globs: bool = False) -> tuple[str, ...]:
        """Return the known names that a comma list selects, in the order of `known`.

        Args:
            globs: entries may be patterns such as `Conv*`.
        """
        selected: set[str] = set()
        for entry in self.comma_list(name):
            matches = [k for k in known if fnmatch.fnmatchcase(k, entry)] if globs else []
            matches = matches or [k for k in known if k == entry]
            if not matches:
                shortened_entry = bounded(repr(entry), MAX_SHOWN_LENGTH)
                raise self.error(
                    name,
                    f"no {name} {shortened_entry}; {_suggestion(entry[:MAX_SHOWN_LENGTH], known)}",
                )
            selected |= set(matches)
        return tuple(k for k in known if k in selected)


def environment_variable(name: str) -> str:
    """Return the name of an option's environment variable."""
    return f"CONFORMANCE_{name.upper().replace('-', '_')}"


def _suggestion(entry: str, known: Iterable[str]) -> str:
    names = list(known)
    by_lower_case = {name.lower(): name for name in names}
    near = difflib.get_close_matches(entry.strip("*").lower(), by_lower_case, n=4, cutoff=0.5)
    if len(names) > 12 and near:
        return f"nearest: {', '.join(by_lower_case[n] for n in near)}"
    suffix = f", … ({len(names)} in all)" if len(names) > MAX_LISTED_NAMES else ""
    return f"expected one of {', '.join(names[:MAX_LISTED_NAMES])}{suffix}"


def input_file(reader: OptionReader, name: str, entry: str) -> Path:
    """Return the path of a file to read; refuse a folder, a pipe or a missing file."""
    path = Path(entry).absolute()
    try:
        kind = file_kind(path.stat().st_mode)
    except OSError as error:
        raise reader.error(name, f"{bounded(entry, MAX_SHOWN_LENGTH)}: {error.strerror}") from None
    if kind:
        raise reader.error(
            name, f"expected a file, this is {kind}: {bounded(entry, MAX_SHOWN_LENGTH)}"
        )
    return path


def output_file(reader: OptionReader, name: str) -> Path | None:
    """Return the path of a file to write; report before the run that it cannot be written."""
    if name not in reader.values:
        return None
    if reader.values[name].endswith(("/", os.sep)):
        raise reader.error(name, "expected a file, this is a folder")
    path = Path(reader.values[name]).absolute()
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        mode = None
    except OSError as error:
        raise reader.error(name, f"expected a file: {error.strerror}") from None
    if mode is not None:
        kind = file_kind(mode)
        if kind and not stat.S_ISCHR(mode):  # /dev/null is a file that is always empty
            raise reader.error(name, f"expected a file, this is {kind}")
        if not os.access(path, os.W_OK):
            raise reader.error(name, "expected a file that may be written")
        return path
    if len(os.fsencode(path.name)) > MAX_FILE_NAME_BYTES:
        raise reader.error(
            name, f"expected a file's name of no more than {MAX_FILE_NAME_BYTES} bytes"
        )
    folder = next(parent for parent in path.parents if os.path.lexists(parent))
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise reader.error(name, f"expected a file in a folder that may be written, not {folder}")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        # Nobody can create files in /proc, although its permissions allow it.
        raise reader.error(name, f"no file can be written in {folder}: {error.strerror}") from None
    return path


def check_paths_differ(
    reader: OptionReader, known: Sequence[Path], inputs: Mapping[str, Path | None]
) -> None:
    """Refuse an output file that is also an input file or another output file.

    Args:
        inputs: option → its file; None if it is not given.
    """
    claimed_paths = [("known", path) for path in known]
    claimed_paths += [(name, path) for name, path in inputs.items() if path is not None]
    for name in OUTPUT_OPTIONS:
        if name not in reader.values:
            continue
        path = Path(reader.values[name]).absolute()
        for other_name, other_path in claimed_paths:
            if is_same_file(path, other_path):
                expected = f"expected another file than that of {reader.sources[other_name]}"
                raise reader.error(name, expected)
        claimed_paths.append((name, path))
