"""Options of the pytest plug-in that name files: invalid inputs, outputs that overwrite inputs."""

from __future__ import annotations

from hostile.entry import USAGE_ERROR, Entry, Expected
from hostile.files_known_fields import entry_toml
from hostile.making import CHANGED, TINY, VALID, results, suite_command

FILES = {"tiny.py": TINY, "k.toml": entry_toml(), "earlier.jsonl": VALID}
WRITTEN = ("results", "report", "summary")
PATHS = {
    "empty": "",
    "blank": " ",
    "a-folder": "folder",
    "under-a-file": "tiny.py/out",
    "300-characters": "n" * 300,
    "a-folder-of-300-characters": f"{'n' * 300}/out",
    "in-proc": "/proc/none/out",
    "a-fifo": "fifo",
    "a-slash-at-the-end": "new/",
    "5000-characters": "/".join(["n" * 200] * 25),
}
PREPARE = "import os\nos.mkdir('folder')\nos.mkfifo('fifo')\nos.symlink('k.toml', 'link')\n"
SAME: dict[str, tuple[str, ...]] = {
    "results-and-report": ("--conformance-results=out", "--conformance-report=out"),
    "results-and-summary": ("--conformance-results=out", "--conformance-summary=out"),
    "report-and-summary": ("--conformance-report=out", "--conformance-summary=out"),
    "spelt-otherwise": ("--conformance-results=out", "--conformance-report=./x/../out"),
    "results-and-known": ("--conformance-results=k.toml", "--conformance-known=k.toml"),
    "report-and-known-through-a-link": ("--conformance-report=link", "--conformance-known=k.toml"),
    "results-and-compare": (
        "--conformance-results=earlier.jsonl", "--conformance-compare=earlier.jsonl",
    ),
    "summary-and-compare": (
        "--conformance-summary=earlier.jsonl", "--conformance-compare=./earlier.jsonl",
    ),
}  # fmt: skip
EARLIER: dict[str, str] = {
    "missing": "",
    "a-folder": "import os; os.mkdir('c.jsonl')",
    "a-fifo": "import os; os.mkfifo('c.jsonl')",
    "zeros": "import os; os.symlink('/dev/zero', 'c.jsonl')",
    "empty": "open('c.jsonl', 'w').close()",
    "no-results": "open('c.jsonl', 'w').write('so it goes\\n')",
    "deep-brackets": "open('c.jsonl', 'w').write('[' * 100_000)",
    "shard-x": "open('c.jsonl', 'w').write(open('x.jsonl').read())",
}


def _path_entry(option: str, name: str, path: str) -> Entry:
    line = suite_command(f"--conformance-{option}={path}", prepare=PREPARE)
    expected = Expected(USAGE_ERROR, (f"--conformance-{option}",), never=CHANGED, longest=9000)
    return Entry(f"option-{option}-to-{name}", 18, FILES, line, expected, 40)


def _full_disk_entry(option: str) -> Entry:
    """An entry with a full disk: the run reports it, fails, and does not print it as written."""
    line = suite_command(f"--conformance-{option}=/dev/full", prepare=PREPARE)
    expected = Expected((1, 2, 3, USAGE_ERROR), ("/dev/full",), never=rf"(?m)^{option}: /dev/full$")
    return Entry(f"option-{option}-to-a-full-disk", 12, FILES, line, expected, 40)


ENTRIES = (
    *(_path_entry("results", name, path) for name, path in PATHS.items()),
    *(
        _path_entry(option, name, PATHS[name])
        for option in WRITTEN[1:]
        for name in ("empty", "a-folder", "under-a-file", "300-characters", "in-proc", "a-fifo")
    ),
    *(_full_disk_entry(option) for option in WRITTEN),
    *(
        Entry(
            f"the-same-path-for-{name}",
            17,
            FILES,
            suite_command(*options, prepare=PREPARE),
            Expected(
                USAGE_ERROR, ("--conformance-(results|report|summary)",), CHANGED, longest=4000
            ),
            40,
        )
        for name, options in SAME.items()
    ),
    *(
        Entry(
            f"option-compare-{name}",
            16,
            {"tiny.py": TINY, "x.jsonl": results(header={"shard": "x"})},
            suite_command("--conformance-compare=c.jsonl", prepare=prepare),
            Expected(USAGE_ERROR, ("--conformance-compare", r"c\.jsonl"), longest=4000),
            20,
        )
        for name, prepare in EARLIER.items()
    ),
    *(
        Entry(
            f"option-known-{name}",
            18,
            FILES,
            suite_command(f"--conformance-known={path}"),
            Expected(USAGE_ERROR, ("--conformance-known",), longest=4000),
            40,
        )
        for name, path in {
            "empty": "",
            "comma": ",",
            "one-of-two-missing": "k.toml,no.toml",
            "300-characters": "n" * 300,
        }.items()
    ),
    Entry(
        "results-over-other-results",
        17,
        FILES,
        suite_command("--conformance-results=earlier.jsonl", "--conformance-examples=0"),
        Expected(USAGE_ERROR, ("--conformance-examples",), CHANGED),
        40,
    ),
)
