"""Write the sources of the site: `python docs/site/generate.py FOLDER`, then `sphinx-build`.

Two options save time while you work on the site. `--layers 'Conv*'` draws cases of some layers
only; the pages of other layers lack the facts from cases. `--no-report` does not run the suite.
"""

from __future__ import annotations

import argparse
import fnmatch
from collections.abc import Sequence
from pathlib import Path

import check_pages
import evidence
import findings
import findings_table
import layer_pages
import numerics_page
import report_page
from staging import HERE, Stage

from conformance.layers import CATALOGUE

MADE = HERE / "made"
"""Pages with places for what the build computes."""
MEASURED = "measured"
"""The folder of the pages that list every finding and measurement."""
EXTRA = "sample"
"""Folder of the sample reports in the site."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Stage the repository's pages, and write the generated ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "target", type=Path, help="folder for the sources; `extra` is made beside it"
    )
    parser.add_argument(
        "--layers", default="*", help="comma list of globs of the layers whose cases are drawn"
    )
    parser.add_argument(
        "--no-report", action="store_true", help="make no sample reports and screenshots"
    )
    given = parser.parse_args(arguments)
    try:
        layers = chosen(given.layers)
    except ValueError as error:
        parser.error(f"argument --layers: {error}")
    stage = Stage(given.target.resolve())
    stage.repository()
    stage.own()
    layer_pages.write(stage, lambda row: row.name in layers)
    check_pages.write(stage)
    measurements(stage)
    _made(stage, "numerics", numerics_page.page(_text("numerics")))
    extra = stage.target.parent / "extra" / EXTRA
    ends = dict.fromkeys(report_page.BACKENDS, "left out")
    shown = dict.fromkeys(report_page.PICTURES, "")
    if given.no_report:
        report_page.left_out(extra)
    else:
        ends = report_page.sample(extra)
        shown = report_page.pictures(extra, stage.target / "pictures")
    _made(stage, "report", report_page.page(_text("report"), ends, shown))
    stage.finish()


def measurements(stage: Stage) -> None:
    """Make the pages of every finding and every measured row; the repository has only data."""
    pages = {"findings": findings_table.full_page(findings.seen()), **evidence.full_pages()}
    for name, text in pages.items():
        page = f"{MEASURED}/{name}.md"
        stage.write(page, stage.linked(text, Path(page)))


def chosen(globs: str) -> frozenset[str]:
    """The layers that a comma list of globs selects.

    Raises:
        ValueError: if a glob matches no layer.
    """
    found: set[str] = set()
    for glob in map(str.strip, globs.split(",")):
        named = fnmatch.filter(CATALOGUE, glob)
        if not named:
            raise ValueError(f"no layer {glob!r}")
        found.update(named)
    return frozenset(found)


def _text(name: str) -> str:
    return (MADE / f"{name}.md").read_text(encoding="utf-8")


def _made(stage: Stage, name: str, text: str) -> None:
    stage.write(f"{name}.md", text)


if __name__ == "__main__":
    main()
