"""Modules that misbehave during their import, and wrong names of backends."""

from __future__ import annotations

from hostile.entry import USAGE, Due, Entry
from hostile.faithful import command, made, source, usage, well

SHORT = command("ReLU", "values,shape", "--conformance-timeout=2")
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
CHANGES = {
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


def module(name: str, point: int, line: str, due: Due, **more: object) -> Entry:
    """An entry of lines that are run at the import."""
    return made(name, point, source(before=BEFORE + line + "\n"), due, **more)


def named(name: str, backend: str, *says: str, text: str = "") -> Entry:
    """An entry whose backend is named by a module and an attribute."""
    run = tuple(
        f"--conformance-backend={backend}" if word.startswith("--conformance-backend") else word
        for word in command()
    )
    return made(name, 7, source(before=BEFORE, after=text), Due(USAGE, says, longest=2000), run=run)


def _children() -> list[Entry]:
    """Entries whose start fails only in the child: the run ends with an error, whatever it says."""
    found = []
    for kind, (point, line, says) in IN_CHILD.items():
        body = "\n".join(f"    {part}" for part in line.splitlines())
        due = Due((1, USAGE), (says,) * bool(says))
        text = f"if CHILD:\n{body}"
        found.append(module(f"child-import-{kind}", point, text, due, run=SHORT, seconds=80))
    return found


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
        module(f"import-raises-{kind}", point, line, usage("import", says))
        for kind, (point, line, says) in REFUSED.items()
    ),
    *(module(f"import-changes-{kind}", 0, line, well()) for kind, line in CHANGES.items()),
    *(
        module(f"import-prints-{kind}", 0, line, well(longest=25_000_000))
        for kind, line in PRINTING.items()
    ),
    # Pytest needs its own streams; a prompt error is enough.
    *(
        module(f"import-leaves-{kind}", 0, line, Due((0, 1, USAGE)), run=SHORT)
        for kind, line in STREAMS.items()
    ),
    # A process that ends during its import cannot always say so; it must not look green.
    *(
        module(f"import-{kind}", 11, line, Due((1, 2, 3, USAGE, *codes)))
        for kind, (line, codes) in ENDS.items()
    ),
    module("import-hangs", 8, "time.sleep(1000)", usage("import"), run=SHORT, seconds=70),
    module(
        "import-starts-a-thread-that-prints",
        0,
        "threading.Thread(target=lambda: [print('x' * 50) or time.sleep(0.05) "
        "for _ in range(100)], daemon=True).start()",
        well(longest=100_000),
    ),
    module("import-forks", 0, "if os.fork() == 0:\n    time.sleep(1); os._exit(0)", well()),
    *_children(),
    *(
        named(f"factory-{kind}", "hostile_backend:make", "make", *says, text=text)
        for kind, (text, says) in FACTORIES.items()
    ),
    named("backend-without-attribute", "hostile_backend:", "hostile_backend:"),
    named("backend-relative", ".hostile_backend:backend", "hostile_backend"),
    named("backend-with-nul", "hostile_backend\udc80:backend", "hostile_backend"),
    named("backend-that-is-a-built-in", "os:getcwd", "getcwd"),
)
