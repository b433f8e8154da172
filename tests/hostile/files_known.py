"""Invalid files of known failures, and runs with them."""

from __future__ import annotations

from hostile.entry import USAGE, Due, Entry
from hostile.files_known_fields import PINNED, pinned, toml
from hostile.making import CHANGED, TINY, conformance, suite

WRONG = TINY.replace("np.maximum(input, 0)", "np.minimum(input, 0)")
KNOWN = "--conformance-known=k.toml"
RESULTS = "--conformance-results=r.jsonl"
PASSING = {"tiny.py": TINY}
DEEP = "[" * 100_000
FORMS: dict[str, tuple[str | bytes, str]] = {
    "bad-toml": ("[[known]\nlayer = ", "line 1|TOML|toml"),
    "json": ('{"known": []}', "k.toml"),
    "bad-utf-8": (b'[[known]]\nlayer = "\xff\xfe"\n', "(?i)utf-?8|decode"),
    "utf-16": (toml().encode("utf-16"), "(?i)utf-?8|decode"),
    "binary": (bytes(range(256)) * 9, "(?i)utf-?8|decode|line"),
    "nul-bytes": (toml(reason='"a\0b"'), "line|NUL|[Cc]haracter"),
    "keys-twice": (toml() + 'layer = "GELU"\n', "layer|line|[Oo]verwrite"),
    "deep-brackets": (f"known = {DEEP}\n", "k.toml"),
    "deep-value": (toml(when=f"{{ a = {DEEP} }}"), "k.toml"),
    "deep-tables": (f"[{'a.' * 20_000}a]\n", "k.toml"),
    "known-a-string": ('known = "ReLU"\n', "known"),
    "known-a-number": ("known = 5\n", "known"),
    "known-a-table": ('[known]\nlayer = "ReLU"\n', "known"),
    "known-a-list-of-numbers": ("known = [1, 2]\n", "known|entry 1"),
    "known-misspelt": (toml().replace("[[known]]", "[[knwon]]"), "knwon"),
    "another-table-besides": (toml() + "[tool.ruff]\nline = 1\n", "tool"),
    "the-second-entry": (toml() + toml(layer='"ReLO"'), "entry 2"),
    "odd-text": (toml(layer=r'"\u001b]0;owned\u0007\u202e"'), "entry 1"),
    "5-mb-of-text": (toml(layer=f'"{"x" * 5_000_000}"'), "entry 1"),
}
SPECIAL = {
    "a-folder": "import os; os.mkdir('k.toml')",
    "a-fifo": "import os; os.mkfifo('k.toml')",
    "zeros": "import os; os.symlink('/dev/zero', 'k.toml')",
    "a-loop": "import os; os.symlink('k.toml', 'k.toml')",
    "missing": "",
}


def _form(name: str, content: str | bytes, says: str) -> Entry:
    due = Due(2, (r"k\.toml", says), never=CHANGED, longest=4000)
    line = conformance("known", "k.toml")
    return Entry(f"known-file-{name}", 14, {"k.toml": content}, line, due, 20)


def _run(
    name: str, files: dict[str, str | bytes], due: Due, *more: str, prepare: str = ""
) -> Entry:
    """A run of the suite with a file of known failures."""
    line = suite(KNOWN, RESULTS, prepare=prepare)
    return Entry(f"run-known-{name}", 14, PASSING | files, line, due, 40)


def _usage(name: str, content: str | bytes, *says: str) -> Entry:
    due = Due(USAGE, ("--conformance-known", r"k\.toml", *says), never=CHANGED, longest=5000)
    return _run(name, {"k.toml": content}, due)


FAILED = {"ReLU-values-float32-cpu": "failed"}
ENTRIES = (
    *(_form(name, content, says) for name, (content, says) in FORMS.items()),
    *(
        Entry(
            f"known-file-{name}",
            14,
            {},
            conformance("known", "k.toml", prepare=prepare),
            Due(2, (r"k\.toml",)),
            10,
        )
        for name, prepare in SPECIAL.items()
    ),
    *(
        _run(f"file-{name}", {}, Due(USAGE, ("--conformance-known", r"k\.toml")), prepare=prepare)
        for name, prepare in SPECIAL.items()
    ),
    _usage("bad-toml", "[[known]\nlayer = "),
    _usage("bad-utf-8", FORMS["bad-utf-8"][0]),
    _usage("deep-brackets", f"known = {DEEP}\n"),
    _usage("known-a-string", 'known = "ReLU"\n'),
    _usage("known-a-list-of-numbers", "known = [1, 2]\n"),
    _usage("everything", toml(layer='"*"', check='"*"', strict=None), "entry 1"),
    _usage("check-unknown", toml(check='"nope"'), "nope"),
    _usage("dtype-unknown", toml(dtype='"float31"'), "float31"),
    _usage("fact-unknown", toml(when="{ nonsense = true }"), "nonsense"),
    _usage("fact-of-another-layer", toml(when='{ dilation = ">1" }'), "dilation"),
    _usage("at-most-nan", toml(at_most="nan"), "at_most"),
    _usage("case-a-number", toml(case="'5'"), "case"),
    _usage("case-of-another-layer", pinned(call__layer="Linear"), "Linear|layer"),
    _usage("5-mb-of-text", FORMS["5-mb-of-text"][0]),
    _usage("odd-text", FORMS["odd-text"][0]),
    _run("empty", {"k.toml": ""}, Due((0, USAGE), never=CHANGED)),
    _run(
        "of-comments",
        {"k.toml": "# nothing\n"},
        Due(0, verdicts={"*": "passed"}, others="passed"),
    ),
    _run(
        "not-seen-here",
        {"k.toml": pinned()},
        Due(0, ("does not show here",), verdicts={"*": "passed"}, others="passed"),
    ),
    _run(
        "masks-a-failure-that-it-does-not-say",
        {"tiny.py": WRONG, "k.toml": toml(said='"*segmentation*"')},
        Due(1, verdicts=FAILED),
    ),
    _run(
        "masks-a-failure-elsewhere",
        {"tiny.py": WRONG, "k.toml": toml(when='{ "input.ndim" = ">7" }')},
        Due(1, verdicts=FAILED),
    ),
    _usage(
        "on-everything-now-and-then",
        toml(layer='"*"', check='"*"', dtype='"*"'),
        "entry 1",
        "without a case",
    ),
    _run(
        "on-one-layer-now-and-then-is-stale-nowhere",
        {"k.toml": toml(check='"*"', dtype='"*"')},
        Due(0, verdicts={"*": "passed"}, others="passed"),
    ),
    _run(
        "excuses-the-failure",
        {"tiny.py": WRONG, "k.toml": pinned()},
        Due((0, 1), verdicts={"*": "known"}, others="known"),
    ),
    Entry(
        "known-of-two-files-the-second-bad",
        14,
        {"a.toml": toml(), "b.toml": "[[known]]\n"},
        conformance("known", "a.toml", "b.toml"),
        Due(2, (r"b\.toml", "entry 1")),
        20,
    ),
    Entry(
        "known-of-results",
        14,
        {"r.jsonl": "{}\n"},
        conformance("known", "r.jsonl"),
        Due(2, (r"r\.jsonl",)),
        20,
    ),
)
assert PINNED.startswith("case = '''")
