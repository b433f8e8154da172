"""Members of every backend, `name`, `info`, `devices` and `build`, that raise, lie or hang."""

from __future__ import annotations

from hostile.entry import USAGE_ERROR, Entry, Expected
from hostile.faithful import backend_entry, command, expect_all_pass, source, usage_error

SHORT_RUN = command("ReLU", "values,shape", "--conformance-timeout=2")
EXCEPTIONS = {
    "exception": ("RuntimeError('boom')", "RuntimeError"),
    "base-exception": ("BaseException('boom')", "BaseException"),
    "interrupt": ("KeyboardInterrupt()", "KeyboardInterrupt"),
    "exit": ("SystemExit(0)", "SystemExit"),
    "generator-exit": ("GeneratorExit()", "GeneratorExit"),
    "unprintable": ("Unprintable()", "Unprintable"),
    "skip": ("pytest.skip.Exception('skipped')", "Skipped|skip"),
    "usage-of-pytest": ("pytest.exit.Exception('left', 0)", "Exit|exit"),
}
INFO_EXCEPTIONS = ("base-exception", "interrupt", "exit", "unprintable", "skip")
DEVICES_EXCEPTIONS = ("base-exception", "generator-exit", "unprintable")
BEFORE = """
import pytest, time

class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")
    __repr__ = __str__

class Text(str):
    def __str__(self):
        raise ValueError("no text")
    __repr__ = __format__ = __len__ = __eq__ = __hash__ = encode = __str__

class Truth:
    def __bool__(self):
        raise ValueError("no truth")
    __len__ = __iter__ = __eq__ = __str__ = __repr__ = __bool__
    __hash__ = None

class Meta(type):
    def __instancecheck__(cls, x): raise ValueError("no instance")
    def __getattribute__(cls, name): raise ValueError("no attribute")
    def __repr__(cls): raise ValueError("no text")

def endless():
    while True:
        yield "cpu"
"""


def method_source(member: str, result: str) -> str:
    """Source of a method that returns the value of the expression `result`."""
    return f"def {member}(self):\n    return {result}\n"


def raising_source(member: str, exception: str, *, attribute: bool) -> str:
    """Source of a member that raises: an attribute when read, a method when called."""
    return f"{'@property' if attribute else ''}\ndef {member}(self):\n    raise {exception}\n"


def attribute_entry(
    name: str, point: int, backend: str, expected: Expected, **fields: object
) -> Entry:
    """An entry whose `backend` is the source of the class body."""
    return backend_entry(name, point, source(backend=backend, before=BEFORE), expected, **fields)


def _raising_entries() -> list[Entry]:
    entries = []
    for member in ("name", "info", "devices", "build"):
        text = raising_source(member, "RuntimeError('boom')", attribute=True)
        expected = usage_error(rf"\b{member}\b", "RuntimeError", "boom")
        entries.append(attribute_entry(f"{member}-cannot-be-read", 7, text, expected))
    for member, kinds in (("info", INFO_EXCEPTIONS), ("devices", DEVICES_EXCEPTIONS)):
        for kind in kinds:
            exception, pattern = EXCEPTIONS[kind]
            text = raising_source(member, exception, attribute=False)
            expected = usage_error(rf"\b{member}\b", pattern)
            entries.append(attribute_entry(f"{member}-raises-{kind}", 7, text, expected))
    for kind in ("base-exception", "interrupt", "skip", "unprintable"):
        text = raising_source("name", EXCEPTIONS[kind][0], attribute=True)
        entries.append(
            attribute_entry(
                f"name-raises-{kind}", 7, text, usage_error(r"\bname\b", EXCEPTIONS[kind][1])
            )
        )
    return entries


def _wrong_entries() -> list[Entry]:
    names = {"none": "None", "object-without-truth": "Truth()"}
    devices = {
        "a-word": "'cpu'", "a-number": "3",
        "of-bytes": "(b'cpu',)", "object-without-truth": "Truth()",
    }  # fmt: skip
    info = {
        "text": "'numpy 2'",
        "object-without-truth": "Truth()",
        "its-class": "Meta('X', (), {})",
    }
    values_by_member = {"name": names, "devices": devices, "info": info}
    entries = []
    for member, values in values_by_member.items():
        for kind, value in values.items():
            text = f"name = {value}\n" if member == "name" else method_source(member, value)
            expected = usage_error(rf"\b{member}\b", "expected")
            entries.append(attribute_entry(f"{member}-is-{kind}", 7, text, expected))
    build_refusal = usage_error(r"\bbuild\b", "expected")
    entries.append(attribute_entry("build-is-no-method", 0, "build = 3\n", build_refusal))
    return entries


# Odd names, facts and devices: the suite refuses them, or shows them escaped and shortened.
REFUSED_OR_ESCAPED: dict[str, tuple[int, str]] = {
    "name-with-escapes": (19, "name = 'hostile\\x1b[31m\\x07'\n"),
    "name-with-nul": (19, "name = 'hostile\\x00'\n"),
    "name-that-turns-about": (19, "name = 'hostile\\u202eelif'\n"),
    "name-with-surrogates": (7, "name = 'hostile\\ud800'\n"),
    "name-of-ten-million": (19, "name = 'hostile' * 1_500_000\n"),
    "name-of-a-lying-class": (7, "name = Text('hostile')\n"),
    "info-of-a-lying-class": (7, method_source("info", "{Text('hostile'): Text('hostile')}")),
    "info-with-escapes": (19, method_source("info", "{'a\\x1b[2J': 'b\\x00\\u202e'}")),
    "info-with-surrogates": (7, method_source("info", "{'a\\udfff': 'b\\ud800'}")),
    "info-of-ten-million": (19, method_source("info", "{'hostile': 'x' * 10_000_000}")),
    "info-of-a-million-facts": (
        19,
        method_source("info", "{str(n): 'x' for n in range(1_000_000)}"),
    ),
    "info-with-a-value-without-text": (10, method_source("info", "{'a': Truth()}")),
    "devices-with-surrogates": (7, method_source("devices", "('cpu', 'cpu\\ud800')")),
    "devices-with-escapes": (19, method_source("devices", "('cpu', '\\x1b[31m')")),
    "devices-of-a-lying-class": (7, method_source("devices", "(Text('cpu'),)")),
    "devices-by-the-hundred-thousand": (
        0,
        method_source("devices", "('cpu', *(f'cpu:{n}' for n in range(100_000)))"),
    ),
    "devices-of-ten-million": (19, method_source("devices", "('cpu', 'x' * 10_000_000)")),
}
HANGING: dict[str, tuple[str, str]] = {
    "info-hangs": ("info", "def info(self):\n    time.sleep(1000)\n"),
    "devices-hangs": ("devices", "def devices(self):\n    time.sleep(1000)\n"),
    "name-hangs": ("name", "@property\ndef name(self):\n    time.sleep(1000)\n"),
    "devices-never-end": ("devices", method_source("devices", "endless()")),
    "info-never-ends": (
        "info",
        method_source("info", "((word, n) for n, word in enumerate(endless()))"),
    ),
}
CHANGING_NAME = (
    "n = 0\n@property\ndef name(self):\n    type(self).n += 1\n    return f'hostile {self.n}'\n"
)

ENTRIES = (
    *_raising_entries(),
    *_wrong_entries(),
    *(
        attribute_entry(
            name,
            point,
            text,
            Expected((0, USAGE_ERROR), ("hostile",), longest=4000, others="passed"),
        )
        for name, (point, text) in REFUSED_OR_ESCAPED.items()
    ),
    *(
        attribute_entry(name, 7, text, usage_error(rf"\b{member}\b"), run=SHORT_RUN, seconds=60)
        for name, (member, text) in HANGING.items()
    ),
    attribute_entry(
        "name-of-several-lines",
        19,
        "name = 'hostile\\n\\nPASSED\\n'\n",
        Expected((0, USAGE_ERROR), ("hostile",), never="(?m)^PASSED", others="passed"),
    ),
    attribute_entry(
        "name-that-changes",
        0,
        CHANGING_NAME,
        Expected((0, USAGE_ERROR), ("hostile",), others="passed"),
    ),
    attribute_entry(
        "devices-as-a-list-class",
        0,
        method_source("devices", "type('L', (list,), {})(['cpu'])"),
        expect_all_pass(),
    ),
)
