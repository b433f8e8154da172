"""Optional members of a backend, e.g. `numerics`, `offers` and `timeout`, that raise or lie."""

from __future__ import annotations

from hostile.backends_attributes import (
    BEFORE,
    EXCEPTIONS,
    SHORT_RUN,
    attribute_entry,
    raising_source,
)
from hostile.entry import USAGE_ERROR, Entry, Expected
from hostile.faithful import (
    backend_entry,
    command,
    expect_all_pass,
    expect_verdicts,
    source,
    usage_error,
)

ATTRIBUTES = (
    "isolate",
    "compile_seconds",
    "budget",
    "timeout",
    "base",
    "accepts",
    "refusals",
    "unasked",
)
METHODS = ("numerics", "offers", "inherits", "hits")
MEMBER_BY_EXCEPTION = {
    "base-exception": "timeout",
    "interrupt": "budget",
    "exit": "isolate",
    "skip": "base",
    "unprintable": "compile_seconds",
    "generator-exit": "accepts",
}
NUMBERS = {
    "negative": "-1", "nan": "float('nan')", "infinite": "float('inf')", "a-word": "'soon'",
    "huge": "10 ** 400", "object-without-truth": "Truth()",
}  # fmt: skip
WORDS = {
    "isolate": {"a-number": "3", "a-word": "'perhaps'", "object-without-truth": "Truth()"},
    "base": {"unknown": "'no-such-backend'",
             "text-that-lies": "Text('no-such-backend')"},
    "accepts": {"of-numbers": "(1, 2)", "object-without-truth": "Truth()"},
    "unasked": {"of-numbers": "(1, 2)", "object-without-truth": "Truth()"},
    "hits": {"no-method": "{'a': 1}", "a-word": "'often'"},
    "refusals": {"a-word": "'ValueError'", "of-instances": "(ValueError('x'),)",
                 "of-classes-that-are-no-exceptions": "(int, str)", "a-number": "3",
                 "object-without-truth": "Truth()"},
    "budget": {"nan": "float('nan')", "a-list": "[1]", "huge": "'9' * 100_000",
               "object-without-truth": "Truth()"},
    "offers": {"no-method": "False", "a-word": "'ReLU'"},
    "numerics": {"no-method": "Numerics()"},
}  # fmt: skip
# A wrong declaration that is read late: a usage error, or failures that name the member.
LATE = (1, USAGE_ERROR)


def _raising_entries() -> list[Entry]:
    entries = []
    for member in (*ATTRIBUTES, *METHODS):
        text = raising_source(member, "RuntimeError('boom')", attribute=True)
        expected = usage_error(rf"\b{member}\b", "RuntimeError", "boom")
        entries.append(attribute_entry(f"{member}-cannot-be-read", 7, text, expected))
    for kind, member in MEMBER_BY_EXCEPTION.items():
        exception, pattern = EXCEPTIONS[kind]
        text = raising_source(member, exception, attribute=True)
        entries.append(
            attribute_entry(
                f"{member}-raises-{kind}", 7, text, usage_error(rf"\b{member}\b", pattern)
            )
        )
    return entries


def _number_entries() -> list[Entry]:
    entries = []
    for member in ("timeout", "compile_seconds"):
        for kind, value in NUMBERS.items():
            expected = usage_error(rf"\b{member}\b", "expected")
            entries.append(
                attribute_entry(f"{member}-is-{kind}", 7, f"{member} = {value}\n", expected)
            )
    return entries


def _word_entries() -> list[Entry]:
    return [
        attribute_entry(f"{member}-is-{kind}", 7, f"{member} = {value}\n",
           usage_error(rf"\b{member}\b", "expected|no-such-backend"))
        for member, values in WORDS.items()
        for kind, value in values.items()
    ]  # fmt: skip


def method_source(member: str, line: str) -> str:
    """A method of any arguments."""
    return f"def {member}(self, *arguments):\n    {line}\n"


METHODS_RETURNING: dict[str, tuple[int, str, str, int | tuple[int, ...]]] = {
    "offers-raises": (7, "offers", "raise RuntimeError('boom')", USAGE_ERROR),
    "offers-raises-an-interrupt": (7, "offers", "raise KeyboardInterrupt", USAGE_ERROR),
    "offers-raises-a-skip": (7, "offers", "pytest.skip('no')", USAGE_ERROR),
    "offers-returns-what-has-no-truth": (7, "offers", "return Truth()", USAGE_ERROR),
    "offers-returns-an-array": (7, "offers", "return np.ones(3)", USAGE_ERROR),
    "inherits-raises": (7, "inherits", "raise RuntimeError('boom')", USAGE_ERROR),
    "inherits-returns-what-has-no-truth": (7, "inherits", "return Truth()", USAGE_ERROR),
    "numerics-raises": (10, "numerics", "raise RuntimeError('boom')", LATE),
    "numerics-raises-base-exception": (7, "numerics", "raise BaseException('boom')", LATE),
    "numerics-raises-an-interrupt": (7, "numerics", "raise KeyboardInterrupt", LATE),
    "numerics-raises-an-exit": (7, "numerics", "raise SystemExit(0)", LATE),
    "numerics-raises-what-has-no-text": (7, "numerics", "raise Unprintable", LATE),
    "numerics-returns-a-mapping": (10, "numerics", "return {'ulp': 3}", LATE),
    "numerics-returns-what-has-no-text": (10, "numerics", "return Truth()", LATE),
    "numerics-with-nan": (0, "numerics", "return Numerics(unit_roundoff=float('nan'))", LATE),
    "numerics-with-infinity": (0, "numerics", "return Numerics(unit_roundoff=float('inf'))", LATE),
    "numerics-with-a-negative-roundoff": (0, "numerics", "return Numerics(unit_roundoff=-1)", LATE),
    "numerics-with-a-word-for-ulp": (0, "numerics", "return Numerics(ulp='tanh')", LATE),
    "numerics-with-infinite-ulp": (0, "numerics", "return Numerics(ulp={'tanh': 1e999})", LATE),
    "numerics-with-nan-for-absolute": (
        0, "numerics", "return Numerics(absolute={'erf': float('nan')})", LATE,
    ),
    "numerics-in-a-dtype-that-is-none": (
        0, "numerics", "return Numerics(accumulation='float31')", LATE,
    ),
    "dry_run-raises": (7, "dry_run", "raise RuntimeError('boom')", LATE),
    "dry_run-raises-what-has-no-text": (7, "dry_run", "raise Unprintable", LATE),
    "numerics-with-unhashable-names": (0, "numerics", "return Numerics(inexact=([],))", LATE),
}  # fmt: skip
HANGING = {
    "offers-hangs": method_source("offers", "time.sleep(1000)"),
    "numerics-hangs": method_source("numerics", "time.sleep(1000)"),
    "dry_run-hangs": method_source("dry_run", "time.sleep(1000)"),
    "compile_seconds-hangs": "@property\ndef compile_seconds(self):\n    time.sleep(1000)\n",
}
# A class that claims to be Numerics, with a value that Numerics refuses.
LIAR = """
class Lenient(Numerics):
    def __post_init__(self): pass
    def __getattribute__(self, name):
        if name in ("unit_roundoff", "operand_roundoff"): return float("inf")
        return super().__getattribute__(name)
"""

ENTRIES = (
    *_raising_entries(),
    *_number_entries(),
    *_word_entries(),
    *(
        attribute_entry(
            name, point, method_source(member, line), usage_error(rf"\b{member}\b", code=code)
        )
        for name, (point, member, line, code) in METHODS_RETURNING.items()
    ),
    *(
        attribute_entry(
            name,
            7,
            text,
            Expected(LATE, (name.partition("-")[0],), longest=4000),
            run=SHORT_RUN,
            seconds=75,
        )
        for name, text in HANGING.items()
    ),
    backend_entry(
        "numerics-of-a-lying-class-with-a-wrong-layer",
        1,
        source(
            "def __call__(self, x):\n    return self.run(x)[0] * x.dtype.type(1.5)",
            method_source("numerics", "return Lenient()"),
            before=BEFORE + LIAR,
        ),
        Expected(LATE, ("numerics|failed",)),
    ),
    attribute_entry("accepts-everything-is-its-right", 0, "accepts = ('*',)\n", expect_all_pass()),
    attribute_entry(
        "refusals-of-one-class", 0, "refusals = (ArithmeticError,)\n", expect_all_pass()
    ),
    attribute_entry("timeout-as-a-float", 0, "timeout = 30.5\n", expect_all_pass()),
    attribute_entry(
        "optional-members-that-are-none",
        0,
        "base = budget = numerics = offers = None\n",
        Expected((0, USAGE_ERROR), ("hostile",)),
    ),
    attribute_entry(
        "offers-nothing",
        0,
        method_source("offers", "return False"),
        Expected((0, 1, 4, 5), ("hostile|ReLU",)),
        run=command("ReLU"),
    ),
    attribute_entry(
        "offers-changes-its-mind",
        0,
        "asked = 0\n"
        + method_source("offers", "type(self).asked += 1; return self.asked % 2 == 1"),
        Expected((0, 1, 4, 5)),
    ),
    backend_entry(
        "compile-seconds-and-a-wrong-layer",
        0,
        source("def __call__(self, x):\n    return x.copy()", "compile_seconds = 0.3\n"),
        expect_verdicts({"ReLU-values-*": "failed: "}),
    ),
)
