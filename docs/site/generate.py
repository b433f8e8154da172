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
import scoreboard_page
from staging import HERE, Stage

from conformance.layers import CATALOGUE

TEMPLATES = HERE / "made"
"""Pages with places for what the build computes."""
MEASURED = "measured"
"""The folder of the pages that list every finding and measurement."""
SAMPLE_FOLDER = "sample"
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
    options = parser.parse_args(arguments)
    try:
        layers = select_layers(options.layers)
    except ValueError as error:
        parser.error(f"argument --layers: {error}")
    stage = Stage(options.target.resolve())
    stage.stage_repository()
    stage.stage_own()
    layer_pages.write(stage, lambda row: row.name in layers)
    check_pages.write(stage)
    measurements(stage)
    _write_page(stage, "numerics", numerics_page.page(_read_template("numerics")))
    extra = stage.target.parent / "extra"
    scoreboard_page.make_scoreboard(extra / scoreboard_page.FOLDER)
    sample_folder = extra / SAMPLE_FOLDER
    terminal_ends = dict.fromkeys(report_page.BACKENDS, "left out")
    pictures = dict.fromkeys(report_page.PICTURES, "")
    if options.no_report:
        report_page.write_dummies(sample_folder)
    else:
        terminal_ends = report_page.make_samples(sample_folder)
        pictures = report_page.take_pictures(sample_folder, stage.target / "pictures")
    _write_page(
        stage, "report", report_page.page(_read_template("report"), terminal_ends, pictures)
    )
    stage.delete_stale()


def measurements(stage: Stage) -> None:
    """Make the pages of every finding and every measured row; the repository has only data."""
    pages = {
        "findings": findings_table.full_page(findings.read_outcomes()),
        **evidence.full_pages(),
    }
    for name, text in pages.items():
        page = f"{MEASURED}/{name}.md"
        stage.write(page, stage.redirect_links(text, Path(page)))


def select_layers(globs: str) -> frozenset[str]:
    """The layers that a comma list of globs selects.

    Raises:
        ValueError: if a glob matches no layer.
    """
    selected: set[str] = set()
    for glob in map(str.strip, globs.split(",")):
        matches = fnmatch.filter(CATALOGUE, glob)
        if not matches:
            raise ValueError(f"no layer {glob!r}")
        selected.update(matches)
    return frozenset(selected)


def _read_template(name: str) -> str:
    return (TEMPLATES / f"{name}.md").read_text(encoding="utf-8")


def _write_page(stage: Stage, name: str, text: str) -> None:
    stage.write(f"{name}.md", text)


if __name__ == "__main__":
    main()
