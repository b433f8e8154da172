"""Outputs of `nn-conformance` that would overwrite an input, or cannot be written."""

from __future__ import annotations

from hostile.entry import Due, Entry
from hostile.making import CHANGED, FAILED, FOOTER, HEADER, PASSED, VALID, conformance, lines

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


def _over(name: str, arguments: tuple[str, ...]) -> Entry:
    line = conformance(*arguments, prepare=LINKS)
    due = Due(2, (r"\.jsonl",), never=CHANGED, longest=2000)
    return Entry(f"output-over-input-{name}", 17, FILES, line, due, 20)


def _unwritable() -> list[Entry]:
    found = []
    for kind, path in UNWRITABLE.items():
        for command, arguments in WRITERS.items():
            if command not in ("render", "merge") and kind not in ("full-disk", "a-folder"):
                continue
            line = conformance(*arguments, path, prepare=PLACES)
            due = Due(2, (path[:7],), never=CHANGED, longest=2000)
            found.append(Entry(f"{command}-to-{kind}", 12, FILES, line, due, 10))
    return found


def _green(command: str, name: str, content: str, code: int, says: str, never: str) -> Entry:
    """An entry of a run without evidence, which no command may show as green."""
    arguments = {
        "verify": conformance("verify", "bad.jsonl"),
        "merge": conformance("merge", "bad.jsonl", "-o", "out.jsonl"),
        "summary": conformance("summary", "bad.jsonl"),
        "badge": conformance("badge", "bad.jsonl", "-o", "out.svg", shown="out.svg"),
    }[command]
    due = Due(code, (says,), never)
    return Entry(f"{command}-of-{name}", 11, {"bad.jsonl": content}, arguments, due, 20)


NOTHING = "(?i)incomplete|nothing|no verdict|cut short|no last line|0 items"
GREEN = r": valid|100 %|(?i:all passed)"
ENTRIES = (
    *(_over(name, arguments) for name, arguments in OVER.items()),
    *_unwritable(),
    *(
        _green(command, name, content, code, NOTHING, GREEN)
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
        conformance("render", "bad.jsonl", "-o", "old.html"),
        Due(2, (r"bad\.jsonl",), CHANGED),
        20,
    ),
    Entry(
        "known-update-of-a-file-that-is-none",
        17,
        {**FILES, "k.toml": "by hand, no TOML"},
        conformance("known", "b.jsonl", "--write", "k.toml", "--update"),
        Due(2, (r"k\.toml",), CHANGED),
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
        conformance("known", "b.jsonl", "--write", "k.toml"),
        Due(2, (r"k\.toml", "update"), CHANGED),
        20,
    ),
    Entry(
        "known-write-from-toml",
        17,
        FILES,
        conformance("known", "k.toml", "--write", "k.toml"),
        Due(2, (r"k\.toml",), CHANGED),
        20,
    ),
    Entry(
        "known-rewrite-of-a-file-that-is-none",
        17,
        {"k.toml": "[[known]]\nlayer = 5\n"},
        conformance("known", "k.toml", "--rewrite"),
        Due(2, (r"k\.toml",), CHANGED),
        20,
    ),
    Entry(
        "exhaustive-appends-to-results",
        17,
        FILES,
        conformance(
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
        Due(2, (r"b\.jsonl",), CHANGED),
        60,
    ),
    Entry(
        "summary-cut-by-a-closed-pipe",
        0,
        {"b.jsonl": VALID},
        conformance(
            "summary", "b.jsonl", prepare="import os\na, b = os.pipe()\nos.close(a)\nos.dup2(b, 1)"
        ),
        Due((0, 1, 2, 120), never="BrokenPipe|Exception ignored"),
        20,
    ),
)
assert FAILED["id"] in VALID
