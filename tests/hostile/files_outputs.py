"""Outputs of `nn-conformance` that would overwrite an input, or cannot be written."""

from __future__ import annotations

from hostile.entry import Entry, Expected
from hostile.making import (
    CHANGED,
    FAILED,
    FOOTER,
    HEADER,
    PASSED,
    VALID,
    conformance_command,
    lines,
)

FILES = {
    "a.jsonl": VALID,
    "b.jsonl": VALID,
    "old.html": "<p>of an earlier run</p>\n",
    "k.toml": "# by hand\n",
    "x.jsonl": '{"backend":"tiny","function":"relu","dtype":"float16","direction":"forward",'
    '"part":1,"parts":1,"covered":null,"declined":"float16","seconds":1.0}\n',
}
CUT = lines(HEADER, PASSED)
EMPTY = {"kind": "run", **HEADER, "items": [], "total": 0}
NO_VERDICTS = {**FOOTER, "verdicts": 0, "counts": {}}
OVER: dict[str, tuple[str, ...]] = {
    "render": ("render", "b.jsonl", "-o", "b.jsonl"),
    "render-of-two": ("render", "a.jsonl", "b.jsonl", "-o", "b.jsonl"),
    "render-spelt-otherwise": ("render", "b.jsonl", "-o", "./x/../b.jsonl"),
    "render-through-a-link": ("render", "b.jsonl", "-o", "link.jsonl"),
    "render-through-a-hard-link": ("render", "b.jsonl", "-o", "hard.jsonl"),
    "scoreboard": ("scoreboard", "a.jsonl", "b.jsonl", "-o", "a.jsonl"),
    "badge": ("badge", "b.jsonl", "-o", "b.jsonl"),
    "summary": ("summary", "b.jsonl", "-o", "b.jsonl"),
    "merge": ("merge", "a.jsonl", "b.jsonl", "-o", "a.jsonl"),
    "compare-before": ("compare", "a.jsonl", "b.jsonl", "-o", "a.jsonl"),
    "compare-after": ("compare", "a.jsonl", "b.jsonl", "-o", "b.jsonl"),
    "known": ("known", "b.jsonl", "--write", "b.jsonl"),
    "exhaustive": ("exhaustive", "x.jsonl", "--table", "x.jsonl"),
}
UNWRITABLE = {
    "under-a-file": "a.jsonl/out",
    "a-folder": "folder",
    "full-disk": "/dev/full",
    "in-proc": "/proc/none",
    "300-characters": "n" * 300,
    "a-fifo": "fifo",
}
WRITERS = {
    "render": ("render", "b.jsonl", "-o"),
    "merge": ("merge", "b.jsonl", "-o"),
    "summary": ("summary", "b.jsonl", "-o"),
    "badge": ("badge", "b.jsonl", "-o"),
    "known": ("known", "b.jsonl", "--write"),
    "exhaustive": ("exhaustive", "x.jsonl", "--table"),
}
LINKS = """import os
os.symlink("b.jsonl", "link.jsonl")
os.link("b.jsonl", "hard.jsonl")
os.mkdir("x")
"""
PLACES = "import os\nos.mkdir('folder')\nos.mkfifo('fifo')"


def _overwrite_entry(name: str, arguments: tuple[str, ...]) -> Entry:
    line = conformance_command(*arguments, prepare=LINKS)
    expected = Expected(2, (r"\.jsonl",), never=CHANGED, longest=2000)
    return Entry(f"output-over-input-{name}", 17, FILES, line, expected, 20)


def _unwritable_entries() -> list[Entry]:
    entries = []
    for kind, path in UNWRITABLE.items():
        for command, arguments in WRITERS.items():
            if command not in ("render", "merge") and kind not in ("full-disk", "a-folder"):
                continue
            line = conformance_command(*arguments, path, prepare=PLACES)
            expected = Expected(2, (path[:7],), never=CHANGED, longest=2000)
            entries.append(Entry(f"{command}-to-{kind}", 12, FILES, line, expected, 10))
    return entries


def _empty_run_entry(
    command: str, name: str, content: str, code: int, says: str, never: str
) -> Entry:
    """An entry of a run without evidence, which no command may show as green."""
    arguments = {
        "verify": conformance_command("verify", "bad.jsonl"),
        "merge": conformance_command("merge", "bad.jsonl", "-o", "out.jsonl"),
        "summary": conformance_command("summary", "bad.jsonl"),
        "badge": conformance_command("badge", "bad.jsonl", "-o", "out.svg", shown_file="out.svg"),
    }[command]
    expected = Expected(code, (says,), never)
    return Entry(f"{command}-of-{name}", 11, {"bad.jsonl": content}, arguments, expected, 20)


SAYS_INCOMPLETE = "(?i)incomplete|nothing|no verdict|cut short|no last line|0 items"
SAYS_GREEN = r": valid|100 %|(?i:all passed)"
ENTRIES = (
    *(_overwrite_entry(name, arguments) for name, arguments in OVER.items()),
    *_unwritable_entries(),
    *(
        _empty_run_entry(command, name, content, code, SAYS_INCOMPLETE, SAYS_GREEN)
        for name, content in {
            "a-header-alone": lines(HEADER),
            "a-header-of-no-items": lines(EMPTY),
            "no-items-and-a-footer": lines(EMPTY, NO_VERDICTS),
        }.items()
        for command, code in {"verify": 1, "merge": 1, "summary": 1, "badge": 1}.items()
    ),
    Entry(
        "render-fails-and-leaves-the-earlier-page",
        17,
        {**FILES, "bad.jsonl": "no results\n"},
        conformance_command("render", "bad.jsonl", "-o", "old.html"),
        Expected(2, (r"bad\.jsonl",), CHANGED),
        20,
    ),
    Entry(
        "known-update-of-a-file-that-is-none",
        17,
        {**FILES, "k.toml": "by hand, no TOML"},
        conformance_command("known", "b.jsonl", "--write", "k.toml", "--update"),
        Expected(2, (r"k\.toml",), CHANGED),
        20,
    ),
    Entry(
        "known-write-over-a-file-by-hand",
        17,
        {
            **FILES,
            "k.toml": "[[known]]\nlayer = 'ReLU'\ncheck = 'values'\nstrict = false\n"
            "reason = 'written by hand'\n",
        },
        conformance_command("known", "b.jsonl", "--write", "k.toml"),
        Expected(2, (r"k\.toml", "update"), CHANGED),
        20,
    ),
    Entry(
        "known-write-from-toml",
        17,
        FILES,
        conformance_command("known", "k.toml", "--write", "k.toml"),
        Expected(2, (r"k\.toml",), CHANGED),
        20,
    ),
    Entry(
        "known-rewrite-of-a-file-that-is-none",
        17,
        {"k.toml": "[[known]]\nlayer = 5\n"},
        conformance_command("known", "k.toml", "--rewrite"),
        Expected(2, (r"k\.toml",), CHANGED),
        20,
    ),
    Entry(
        "exhaustive-appends-to-results",
        17,
        FILES,
        conformance_command(
            "exhaustive",
            "b.jsonl",
            "--layer",
            "functional.relu",
            "--dtype",
            "float16",
            "--pass",
            "forward",
            "--part",
            "1/64",
        ),
        Expected(2, (r"b\.jsonl",), CHANGED),
        60,
    ),
    Entry(
        "summary-cut-by-a-closed-pipe",
        0,
        {"b.jsonl": VALID},
        conformance_command(
            "summary", "b.jsonl", prepare="import os\na, b = os.pipe()\nos.close(a)\nos.dup2(b, 1)"
        ),
        Expected((0, 1, 2, 120), never="BrokenPipe|Exception ignored"),
        20,
    ),
)
assert FAILED["id"] in VALID
