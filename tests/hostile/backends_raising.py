"""Members of a layer that raise: one verdict each, that names the member and the exception."""

from __future__ import annotations

from hostile.entry import USAGE_ERROR, Entry, Expected
from hostile.faithful import backend_entry, command, expect_verdicts, source

BEFORE = """
import sys, pytest, hypothesis, hypothesis.errors
from conformance.model.failure import Accepted, Failure, Inapplicable

class Unprintable(Exception):
    def __str__(self):
        raise ValueError("no text")
    __repr__ = __str__

class Deadly(Exception):
    def __str__(self):
        raise KeyboardInterrupt
    __repr__ = __str__

class Meta(type):
    def __getattribute__(cls, name):
        raise ValueError("no attribute")
    def __instancecheck__(cls, x):
        raise ValueError("no instance")

class Masked(Exception, metaclass=Meta):
    pass

class Claimed(Exception):
    @property
    def __class__(self):
        return Unsupported

def deep(n=100):
    error = ValueError("inmost")
    for _ in range(20_000):
        outer = ValueError("outer")
        outer.__cause__ = error
        error = outer
    return error
"""
RAISED: dict[str, tuple[int, str, str]] = {
    "an-exception": (0, "ValueError('boom')", "ValueError.*boom"),
    "base-exception": (9, "BaseException('boom')", "BaseException"),
    "an-interrupt": (9, "KeyboardInterrupt()", "KeyboardInterrupt"),
    "an-exit": (9, "SystemExit(0)", "SystemExit"),
    "a-skip": (9, "pytest.skip.Exception('skipped')", "Skipped|skip"),
    "inapplicable": (3, "Inapplicable('nothing to say')", "Inapplicable"),
    "accepted": (3, "Accepted('anything')", "Accepted"),
    "a-failure-of-the-suite": (3, "Failure('my words')", "Failure|my words"),
    "an-assumption": (3, "hypothesis.errors.UnsatisfiedAssumption()", "UnsatisfiedAssumption"),
    "a-stop-of-hypothesis": (3, "hypothesis.errors.StopTest(0)", "StopTest"),
    "a-group-with-an-interrupt": (
        9, "BaseExceptionGroup('two', [KeyboardInterrupt(), ValueError()])", "ExceptionGroup",
    ),
    "what-has-no-text": (7, "Unprintable()", "Unprintable"),
    "what-interrupts-when-shown": (7, "Deadly()", "Deadly"),
    "a-class-that-raises": (7, "Masked('boom')", "Masked|boom"),
    "a-class-that-lies": (0, "Claimed('boom')", "Claimed|boom"),
    "fifty-megabytes": (19, "ValueError('x' * 50_000_000)", "ValueError"),
    "escapes": (19, "ValueError('a\\x1b[31m\\x1b]0;b\\x07\\x00\\u202ec')", "ValueError"),
    "a-name-with-escapes": (19, "type('E\\x1b[31m', (Exception,), {})('boom')", "boom"),
    "a-chain-of-thousands": (0, "deep()", "ValueError"),
}  # fmt: skip
# Member: layer and check that ask for it, arguments, decorators.
MEMBERS: dict[str, tuple[str, str, str]] = {
    "__init__": ("ReLU", "values", "self, call"),
    "put": ("ReLU", "values", "self, array, layout='contiguous', dtype=None"),
    "get": ("ReLU", "values", "self, native"),
    "dtype": ("ReLU", "shape", "self, native"),
    "device": ("ReLU", "shape", "self, native"),
    "aliases": ("Linear", "layout", "self, a, b"),
    "fallbacks": ("ReLU", "values", "self"),
    "vjp": ("Linear", "gradients", "self, inputs, cotangents"),
    "vjp_of": ("Linear", "gradients", "self, wanted, inputs, cotangents"),
    "forward_grad": ("Linear", "gradients", "self, *inputs"),
    "accumulate": ("Linear", "gradients", "self, inputs, calls"),
    "value_and_vjp": ("Dropout", "random", "self, inputs, cotangents"),
    "state": ("Linear", "state", "self"),
    "load": ("Linear", "state", "self, state, layouts=None"),
    "train": ("Dropout", "state", "self, mode"),
    "attributes": ("Linear", "state", "self"),
}
# The suite calls these for itself: it once took their errors for its own.
NOT_JUDGED = ("dtype", "device", "aliases", "fallbacks", "attributes", "train")
SHOWN_MEMBERS = {"__init__": "build"}
PLAIN, WORSE = "RuntimeError('boom')", ("KeyboardInterrupt()", "Unprintable()", "Inapplicable('x')")


def fault_pattern(status: str, *parts: str) -> str:
    """A pattern for a message that begins with the failing call and has all these parts."""
    return rf"({status}): \w+\(" + "".join(rf"(?=.*({part}))" for part in parts)


def raising_call_entry(name: str, point: int, exception: str, shown_pattern: str) -> Entry:
    """An entry of a call that raises."""
    text = source(f"def __call__(self, x):\n    raise {exception}\n", before=BEFORE)
    pattern = fault_pattern("failed|crashed", "call", shown_pattern)
    expected = expect_verdicts({"ReLU-values-*": pattern})
    return backend_entry(name, point, text, expected, run=command("ReLU", "values"))


def _member_entries() -> list[Entry]:
    entries = []
    for position, (member, (layer, check, arguments)) in enumerate(MEMBERS.items()):
        for kind, exception in (("raises", PLAIN), ("raises-worse", WORSE[position % 3])):
            if kind == "raises" and member not in NOT_JUDGED:
                continue
            base = 10 if kind == "raises" else (9, 7, 3)[position % 3]
            text = source(f"def {member}({arguments}):\n    raise {exception}\n", before=BEFORE)
            shown_member = SHOWN_MEMBERS.get(member, member)
            pattern = fault_pattern("failed|crashed", shown_member, exception.partition("(")[0])
            expected = expect_verdicts({f"{layer}-{check}-*": pattern}, others="")
            run = command(layer, check)
            entries.append(backend_entry(f"{shown_member}-{kind}", base, text, expected, run=run))
    return entries


def _unreadable_entries() -> list[Entry]:
    """Members that raise when they are read, before they are called."""
    entries = []
    for member in ("put", "get", "dtype", "vjp", "fallbacks", "state", "aliases"):
        layer, check, _ = MEMBERS[member]
        exception = "KeyboardInterrupt()" if member in ("get", "vjp") else "RuntimeError('boom')"
        body = f"@property\ndef {member}(self):\n    raise {exception}\n"
        exception_name = exception.partition("(")[0]
        expected = expect_verdicts(
            {f"{layer}-{check}-*": fault_pattern("failed|crashed", member, exception_name)},
            others="",
        )
        text = source(body, before=BEFORE)
        run = command(layer, check)
        entries.append(
            backend_entry(f"{member}-of-a-layer-cannot-be-read", 10, text, expected, run=run)
        )
    return entries


DECLINED = {
    "without-reason": (0, "Unsupported()"),
    "with-escapes": (19, "Unsupported('a\\x1b[31m\\x00')"),
    "with-surrogates": (19, "Unsupported('a\\ud800')"),
    "in-fifty-megabytes": (19, "Unsupported('x' * 50_000_000)"),
    "without-text": (7, "type('U', (Unsupported,), {'__str__': lambda self: 1 / 0})()"),
    "for-a-reason-each-time": (19, "Unsupported(f'{id(x)} {np.random.random()} ' * 10_000)"),
}

ENTRIES = (
    *(raising_call_entry(f"call-raises-{kind}", *fields) for kind, fields in RAISED.items()),
    *_member_entries(),
    *_unreadable_entries(),
    *(
        # Declined with an unusable reason: unsupported as usual, or a failure that says so.
        backend_entry(
            f"declined-{kind}",
            point,
            source(f"def __call__(self, x):\n    raise {exception}\n", before=BEFORE),
            Expected(
                (0, 1, USAGE_ERROR, 5),
                verdicts={"ReLU-values-*": "(unsupported|failed): "},
                longest=8000,
            ),
            run=command("ReLU", "values"),
        )
        for kind, (point, exception) in DECLINED.items()
    ),
    backend_entry(
        "call-raises-at-the-second-time",
        0,
        source("""
             def __call__(self, x):
                 self.calls = getattr(self, "calls", 0) + 1
                 if self.calls > 1:
                     raise KeyboardInterrupt
                 return super().__call__(x)
         """),
        expect_verdicts(
            {"ReLU-repeat-*": fault_pattern("failed|crashed", "call", "KeyboardInterrupt")}
        ),
        run=command("ReLU", "values,repeat"),
    ),
    backend_entry(
        "call-raises-an-interrupt-in-this-process",
        9,
        source("def __call__(self, x):\n    raise KeyboardInterrupt\n"),
        expect_verdicts(
            {"ReLU-values-*": fault_pattern("failed|crashed", "call", "KeyboardInterrupt")},
            others="",
        ),
        run=command("ReLU", "values", "--conformance-isolation=none"),
    ),
    backend_entry(
        "call-raises-a-skip-in-this-process",
        9,
        source("def __call__(self, x):\n    pytest.skip('no')\n", before=BEFORE),
        expect_verdicts(
            {"ReLU-values-*": fault_pattern("failed|crashed", "call", "Skipped|skip")}, others=""
        ),
        run=command("ReLU", "values", "--conformance-isolation=none"),
    ),
    backend_entry(
        "call-raises-an-exit-on-two-workers",
        9,
        source("def __call__(self, x):\n    raise SystemExit(0)\n"),
        expect_verdicts(
            {"*-values-*": fault_pattern("failed|crashed", "call", "SystemExit")}, others="failed"
        ),
        run=command("ReLU,Linear", "values,shape", "-n2"),
    ),
    backend_entry(
        "refusal-of-an-invalid-call-by-inapplicable",
        3,
        source(
            """
             def __call__(self, x):
                 if x.ndim == 0 or x.shape[-1] != self.call.arguments["in_features"]:
                     raise Inapplicable("x")
                 return super().__call__(x)
         """,
            before=BEFORE,
        ),
        expect_verdicts({"Linear-errors-*": fault_pattern("failed", "Inapplicable")}),
        run=command("Linear", "errors", "--conformance-examples=20"),
    ),
)
