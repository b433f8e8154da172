"""Invalid files of known failures, and runs with them."""

from __future__ import annotations

from hostile.entry import USAGE_ERROR, Entry, Expected
from hostile.files_known_fields import PINNED, entry_toml, pinned_toml
from hostile.making import CHANGED, TINY, conformance_command, suite_command

WRONG = TINY.replace("np.maximum(input, 0)", "np.minimum(input, 0)")
KNOWN = "--conformance-known=k.toml"
RESULTS = "--conformance-results=r.jsonl"
PASSING = {"tiny.py": TINY}
DEEP = "[" * 100_000
FORMS: dict[str, tuple[str | bytes, str]] = {
    "bad-toml": ("[[known]\nlayer = ", "line 1|TOML|toml"),
    "json": ('{"known": []}', "k.toml"),
    "bad-utf-8": (b'[[known]]\nlayer = "\xff\xfe"\n', "(?i)utf-?8|decode"),
    "utf-16": (entry_toml().encode("utf-16"), "(?i)utf-?8|decode"),
    "binary": (bytes(range(256)) * 9, "(?i)utf-?8|decode|line"),
    "nul-bytes": (entry_toml(reason='"a\0b"'), "line|NUL|[Cc]haracter"),
    "keys-twice": (entry_toml() + 'layer = "GELU"\n', "layer|line|[Oo]verwrite"),
    "deep-brackets": (f"known = {DEEP}\n", "k.toml"),
    "deep-value": (entry_toml(when=f"{{ a = {DEEP} }}"), "k.toml"),
    "deep-tables": (f"[{'a.' * 20_000}a]\n", "k.toml"),
    "known-a-string": ('known = "ReLU"\n', "known"),
    "known-a-number": ("known = 5\n", "known"),
    "known-a-table": ('[known]\nlayer = "ReLU"\n', "known"),
    "known-a-list-of-numbers": ("known = [1, 2]\n", "known|entry 1"),
    "known-misspelt": (entry_toml().replace("[[known]]", "[[knwon]]"), "knwon"),
    "another-table-besides": (entry_toml() + "[tool.ruff]\nline = 1\n", "tool"),
    "the-second-entry": (entry_toml() + entry_toml(layer='"ReLO"'), "entry 2"),
    "odd-text": (entry_toml(layer=r'"\u001b]0;owned\u0007\u202e"'), "entry 1"),
    "5-mb-of-text": (entry_toml(layer=f'"{"x" * 5_000_000}"'), "entry 1"),
}
SPECIAL = {
    "a-folder": "import os; os.mkdir('k.toml')",
    "a-fifo": "import os; os.mkfifo('k.toml')",
    "zeros": "import os; os.symlink('/dev/zero', 'k.toml')",
    "a-loop": "import os; os.symlink('k.toml', 'k.toml')",
    "missing": "",
}


def _form_entry(name: str, content: str | bytes, says: str) -> Entry:
    expected = Expected(2, (r"k\.toml", says), never=CHANGED, longest=4000)
    line = conformance_command("known", "k.toml")
    return Entry(f"known-file-{name}", 14, {"k.toml": content}, line, expected, 20)


def _run_entry(
    name: str, files: dict[str, str | bytes], expected: Expected, *options: str, prepare: str = ""
) -> Entry:
    """A run of the suite with a file of known failures."""
    line = suite_command(KNOWN, RESULTS, prepare=prepare)
    return Entry(f"run-known-{name}", 14, PASSING | files, line, expected, 40)


def _usage_entry(name: str, content: str | bytes, *patterns: str) -> Entry:
    expected = Expected(
        USAGE_ERROR, ("--conformance-known", r"k\.toml", *patterns), never=CHANGED, longest=5000
    )
    return _run_entry(name, {"k.toml": content}, expected)


FAILED = {"ReLU-values-float32-cpu": "failed"}
ENTRIES = (
    *(_form_entry(name, content, says) for name, (content, says) in FORMS.items()),
    *(
        Entry(
            f"known-file-{name}",
            14,
            {},
            conformance_command("known", "k.toml", prepare=prepare),
            Expected(2, (r"k\.toml",)),
            10,
        )
        for name, prepare in SPECIAL.items()
    ),
    *(
        _run_entry(
            f"file-{name}",
            {},
            Expected(USAGE_ERROR, ("--conformance-known", r"k\.toml")),
            prepare=prepare,
        )
        for name, prepare in SPECIAL.items()
    ),
    _usage_entry("bad-toml", "[[known]\nlayer = "),
    _usage_entry("bad-utf-8", FORMS["bad-utf-8"][0]),
    _usage_entry("deep-brackets", f"known = {DEEP}\n"),
    _usage_entry("known-a-string", 'known = "ReLU"\n'),
    _usage_entry("known-a-list-of-numbers", "known = [1, 2]\n"),
    _usage_entry("everything", entry_toml(layer='"*"', check='"*"', strict=None), "entry 1"),
    _usage_entry("check-unknown", entry_toml(check='"nope"'), "nope"),
    _usage_entry("dtype-unknown", entry_toml(dtype='"float31"'), "float31"),
    _usage_entry("fact-unknown", entry_toml(when="{ nonsense = true }"), "nonsense"),
    _usage_entry("fact-of-another-layer", entry_toml(when='{ dilation = ">1" }'), "dilation"),
    _usage_entry("at-most-nan", entry_toml(at_most="nan"), "at_most"),
    _usage_entry("case-a-number", entry_toml(case="'5'"), "case"),
    _usage_entry("case-of-another-layer", pinned_toml(call__layer="Linear"), "Linear|layer"),
    _usage_entry("5-mb-of-text", FORMS["5-mb-of-text"][0]),
    _usage_entry("odd-text", FORMS["odd-text"][0]),
    _run_entry("empty", {"k.toml": ""}, Expected((0, USAGE_ERROR), never=CHANGED)),
    _run_entry(
        "of-comments",
        {"k.toml": "# nothing\n"},
        Expected(0, verdicts={"*": "passed"}, others="passed"),
    ),
    _run_entry(
        "not-seen-here",
        {"k.toml": pinned_toml()},
        Expected(0, ("does not show here",), verdicts={"*": "passed"}, others="passed"),
    ),
    _run_entry(
        "masks-a-failure-that-it-does-not-say",
        {"tiny.py": WRONG, "k.toml": entry_toml(said='"*segmentation*"')},
        Expected(1, verdicts=FAILED),
    ),
    _run_entry(
        "masks-a-failure-elsewhere",
        {"tiny.py": WRONG, "k.toml": entry_toml(when='{ "input.ndim" = ">7" }')},
        Expected(1, verdicts=FAILED),
    ),
    _usage_entry(
        "on-everything-now-and-then",
        entry_toml(layer='"*"', check='"*"', dtype='"*"'),
        "entry 1",
        "without a case",
    ),
    _run_entry(
        "on-one-layer-now-and-then-is-stale-nowhere",
        {"k.toml": entry_toml(check='"*"', dtype='"*"')},
        Expected(0, verdicts={"*": "passed"}, others="passed"),
    ),
    _run_entry(
        "excuses-the-failure",
        {"tiny.py": WRONG, "k.toml": pinned_toml()},
        Expected((0, 1), verdicts={"*": "known"}, others="known"),
    ),
    Entry(
        "known-of-two-files-the-second-bad",
        14,
        {"a.toml": entry_toml(), "b.toml": "[[known]]\n"},
        conformance_command("known", "a.toml", "b.toml"),
        Expected(2, (r"b\.toml", "entry 1")),
        20,
    ),
    Entry(
        "known-of-results",
        14,
        {"r.jsonl": "{}\n"},
        conformance_command("known", "r.jsonl"),
        Expected(2, (r"r\.jsonl",)),
        20,
    ),
)
assert PINNED.startswith("case = '''")
