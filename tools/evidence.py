"""The page of measurements: `docs/evidence.md` from `docs/data`; run, it writes.

Each script that measures keeps its facts in `docs/data` and has two forms of them: a section of
this page, and a page of the site with every row.
"""

from __future__ import annotations

from types import ModuleType

import backends_table
import campaign_table
import exhaustive_table
import holes_table
import judge_table
import kill_table
import peaks_table
from measured import ROOT

PAGE = ROOT / "docs" / "evidence.md"

HEAD = """# Evidence

For users who ask how far to trust a verdict, and for maintainers before a release: the numbers.

Written by `tools/evidence.py` from `docs/data`. The documentation site also has every row:
campaigns by run, kills by layer, mistakes within known failures, bounds by layer, each function,
verdicts of the judge, backends. The cost of a run is on a page of its own: [speed](speed.md).
"""

SECTIONS: dict[str, ModuleType] = {
    "No false alarm": campaign_table,
    "Kill rate": kill_table,
    "What known failures hide": holes_table,
    "How near torch comes to its bounds": peaks_table,
    "Every number of a dtype": exhaustive_table,
    "The judge of strangers' code": judge_table,
    "Shipped backends": backends_table,
}


def page() -> str:
    """The page's text."""
    parts = (f"## {title}\n\n{module.section()}\n" for title, module in SECTIONS.items())
    return "\n".join([HEAD, *parts])


def full_pages() -> dict[str, str]:
    """Pages of the site with every row, by the name of their data."""
    return {module.DATA_FILE.stem: module.full_page() for module in SECTIONS.values()}


def write_page() -> None:
    """Write `docs/evidence.md`."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    write_page()
