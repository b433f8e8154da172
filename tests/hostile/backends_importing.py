"""Modules that misbehave during their import, and wrong names of backends."""

from __future__ import annotations

from hostile.entry import USAGE_ERROR, Entry, Expected
from hostile.faithful import backend_entry, command, expect_all_pass, source, usage_error

SHORT_RUN = command("ReLU", "values,shape", "--conformance-timeout=2")
BEFORE = """
import contextlib, gc, os, random, signal, sys, threading, time, warnings

# The suite's child has no pytest.
CHILD = "_pytest.config" not in sys.modules


class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")
    __repr__ = __str__
"""
REFUSED: dict[str, tuple[int, str, str]] = {
    "base-exception": (7, "raise BaseException('boom')", "BaseException.*boom"),
    "interrupt": (7, "raise KeyboardInterrupt", "KeyboardInterrupt"),
    "exit": (11, "sys.exit(0)", "SystemExit"),
    "skip": (7, "import pytest; pytest.skip('no', allow_module_level=True)", "Skipped|skip"),
    "exit-of-pytest": (7, "import pytest; pytest.exit('fine', 0)", "Exit|exit|fine"),
    "unprintable": (7, "raise Unprintable", "Unprintable"),
    "escapes": (19, "raise ValueError('a\\x1b[2J\\x00\\u202e\\ud800b')", "ValueError"),
    "fifty-megabytes": (19, "raise ValueError('x' * 50_000_000)", "ValueError"),
    "a-name-of-a-megabyte": (19, "raise type('E' * 1_000_000, (Exception,), {})('boom')", "EEE"),
    "a-group": (7, "raise BaseExceptionGroup('two', [KeyboardInterrupt(), ValueError()])", "two"),
}
# These stay faithful: the suite does not depend on what such a module changes.
HARMLESS_CHANGES = {
    "directory": "os.chdir('/')",
    "signal-handlers": "for s in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD): "
    "signal.signal(s, signal.SIG_IGN)",
    "child-handler": "signal.signal(signal.SIGCHLD, lambda *a: os.waitpid(-1, os.WNOHANG))",
    "warnings": "warnings.simplefilter('error')",
    "floating-point-errors": "np.seterr(all='raise')",
    "printing": "np.set_printoptions(precision=1, threshold=1, formatter={'all': lambda x: 1 / 0})",
    "collector": "gc.disable(); gc.set_threshold(1)",
    "hypothesis": "import hypothesis as h; h.settings.register_profile('x', max_examples=1); "
    "h.settings.load_profile('x')",
}
PRINTING = {
    "ten-megabytes": "print('x' * 99 + '\\n' * 1, end='' ) if False else sys.stdout.write("
    "('x' * 99 + '\\n') * 100_000)",
}
STREAMS = {
    "without-streams": "sys.stdout = sys.stderr = sys.stdin = None",
    "with-streams-that-raise": "sys.stdout = sys.stderr = object()",
    "with-closed-streams": "sys.stdin.close()",
}
ENDS = {
    "exits-at-once": ("os._exit(0)", ()),
}
IN_CHILD = {
    "raises": (0, "raise RuntimeError('boom')", "boom"),
    "raises-base-exception": (9, "raise BaseException('boom')", ""),
    "raises-an-interrupt": (9, "raise KeyboardInterrupt", ""),
    "exits": (11, "sys.exit(0)", ""),
    "exits-at-once": (11, "os._exit(0)", ""),
    "aborts": (9, "os.abort()", ""),
    "hangs": (8, "time.sleep(1000)", ""),
    "spins": (8, "while True: pass", ""),
    "answers-by-itself": (2, "os.write(1, b'{}\\n{}\\n{}\\n')\ntime.sleep(1000)", ""),
}


def importing_entry(
    name: str, point: int, line: str, expected: Expected, **fields: object
) -> Entry:
    """An entry of lines that are run at the import."""
    return backend_entry(name, point, source(before=BEFORE + line + "\n"), expected, **fields)


def backend_name_entry(name: str, backend: str, *patterns: str, text: str = "") -> Entry:
    """An entry whose backend is named by a module and an attribute."""
    run = tuple(
        f"--conformance-backend={backend}" if word.startswith("--conformance-backend") else word
        for word in command()
    )
    return backend_entry(
        name,
        7,
        source(before=BEFORE, after=text),
        Expected(USAGE_ERROR, patterns, longest=2000),
        run=run,
    )


def _child_entries() -> list[Entry]:
    """Entries whose start fails only in the child: the run ends with an error, whatever it says."""
    entries = []
    for kind, (point, line, says) in IN_CHILD.items():
        body = "\n".join(f"    {part}" for part in line.splitlines())
        expected = Expected((1, USAGE_ERROR), (says,) * bool(says))
        text = f"if CHILD:\n{body}"
        entries.append(
            importing_entry(
                f"child-import-{kind}", point, text, expected, run=SHORT_RUN, seconds=80
            )
        )
    return entries


FACTORIES = {
    "raises": ("def make(): raise RuntimeError('boom')", ("RuntimeError", "boom")),
    "raises-base-exception": ("def make(): raise BaseException('boom')", ("BaseException", "boom")),
    "raises-an-interrupt": ("def make(): raise KeyboardInterrupt", ("KeyboardInterrupt",)),
    "raises-what-has-no-text": ("def make(): raise Unprintable", ("Unprintable",)),
    "returns-its-class": ("def make(): return Backend", ()),
    "is-a-class-whose-metaclass-raises": (
        (
            "class Meta(type):\n    def __call__(cls): raise KeyboardInterrupt\n"
            "    def __repr__(cls): raise ValueError\n"
            "class make(metaclass=Meta): pass"
        ),
        ("KeyboardInterrupt",),
    ),
    "is-an-object-that-raises": (
        (
            "class Wall:\n    def __getattribute__(self, name): raise BaseException('wall')\n"
            "make = Wall()"
        ),
        ("wall",),
    ),
    "has-a-class-that-lies": (
        (
            "class Liar:\n    @property\n    def __class__(self): raise RuntimeError('liar')\n"
            "make = Liar()"
        ),
        (),
    ),
}

ENTRIES = (
    *(
        importing_entry(f"import-raises-{kind}", point, line, usage_error("import", says))
        for kind, (point, line, says) in REFUSED.items()
    ),
    *(
        importing_entry(f"import-changes-{kind}", 0, line, expect_all_pass())
        for kind, line in HARMLESS_CHANGES.items()
    ),
    *(
        importing_entry(f"import-prints-{kind}", 0, line, expect_all_pass(longest=25_000_000))
        for kind, line in PRINTING.items()
    ),
    # Pytest needs its own streams; a prompt error is enough.
    *(
        importing_entry(
            f"import-leaves-{kind}", 0, line, Expected((0, 1, USAGE_ERROR)), run=SHORT_RUN
        )
        for kind, line in STREAMS.items()
    ),
    # A process that ends during its import cannot always say so; it must not look green.
    *(
        importing_entry(f"import-{kind}", 11, line, Expected((1, 2, 3, USAGE_ERROR, *codes)))
        for kind, (line, codes) in ENDS.items()
    ),
    importing_entry(
        "import-hangs", 8, "time.sleep(1000)", usage_error("import"), run=SHORT_RUN, seconds=70
    ),
    importing_entry(
        "import-starts-a-thread-that-prints",
        0,
        "threading.Thread(target=lambda: [print('x' * 50) or time.sleep(0.05) "
        "for _ in range(100)], daemon=True).start()",
        expect_all_pass(longest=100_000),
    ),
    importing_entry(
        "import-forks", 0, "if os.fork() == 0:\n    time.sleep(1); os._exit(0)", expect_all_pass()
    ),
    *_child_entries(),
    *(
        backend_name_entry(f"factory-{kind}", "hostile_backend:make", "make", *says, text=text)
        for kind, (text, says) in FACTORIES.items()
    ),
    backend_name_entry("backend-without-attribute", "hostile_backend:", "hostile_backend:"),
    backend_name_entry("backend-relative", ".hostile_backend:backend", "hostile_backend"),
    backend_name_entry("backend-with-nul", "hostile_backend\udc80:backend", "hostile_backend"),
    backend_name_entry("backend-that-is-a-built-in", "os:getcwd", "getcwd"),
)
