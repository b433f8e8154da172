"""Generated files name their script in their first lines, and all are listed here."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEADER_LINES = 5  # lines of a file, among which one names the script that writes it

GENERATED = {
    "conformance/layers/reached.json": "tools/reached_table.py",
    "conformance/schemas/known-failures.schema.json": "tools/schema_files.py",
    "conformance/schemas/results.schema.json": "tools/schema_files.py",
    "conformance/schemas/wire.schema.json": "tools/schema_files.py",
    "docs/data/backends.json": "tools/backends_table.py",
    "docs/data/campaign.json": "tools/campaign_table.py",
    "docs/data/exhaustive.json": "tools/exhaustive_table.py",
    "docs/data/findings.json": "tools/findings_seen.py",
    "docs/data/holes.json": "tools/holes_table.py",
    "docs/data/judge.json": "tools/judge_table.py",
    "docs/data/kill-rate.json": "tools/kill_rate.py",
    "docs/data/peaks.json": "tools/peaks_table.py",
    "docs/data/versions.json": "tools/versions_seen.py",
    "docs/evidence.md": "tools/evidence.py",
    "docs/findings.md": "tools/findings_table.py",
    "docs/versions.md": "tools/versions_table.py",
}
"""Generated file → the command that writes it.

Of `docs/contract.md`, `docs/inputs.md`, `docs/layers.md` and `README.md` parts are written, by
`tools/contract_tables.py`: each stands between `<!-- its name -->` and `<!-- end of its name -->`.
"""


def _find_writer(file: Path) -> str | None:
    """The script that a file's first lines name as its writer; None if they name none."""
    with file.open(encoding="utf-8", errors="ignore") as lines:
        text = " ".join(line.strip() for _, line in zip(range(HEADER_LINES), lines, strict=False))
    _, marker, remainder = text.replace("Written by", "written by").partition("written by `")
    return remainder.partition("`")[0] if marker else None


def test_generated_files_say_so_and_are_listed() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    data = (ROOT / name for name in tracked if name.endswith((".json", ".md", ".toml")))
    writers = {str(path.relative_to(ROOT)): _find_writer(path) for path in data if path.exists()}
    assert {name: writer for name, writer in writers.items() if writer} == GENERATED


def test_the_scripts_are_there() -> None:
    for writer in GENERATED.values():
        script = next((word for word in writer.split() if word.endswith(".py")), None)
        assert script is None or (ROOT / script).is_file(), writer
