"""`docs/contract.md` agrees with the code; links between pages have a target."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import contract_tables
import pytest
from conformance.strategies.layouts import LAYOUTS

from conformance.backends import FunctionBackend
from conformance.layers import CATALOGUE
from conformance.model.case import Call, Numerics
from conformance.model.checks import CHECK_FACTS
from conformance.model.protocols import Backend, Layer

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "contract.md").read_text(encoding="utf-8")
PAGES = (
    *("README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"),
    *(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")),
)
# Members that only the backends of this package have, so that the page has no row.
UNDOCUMENTED_MEMBERS = {"inherits", "copy", "breaches"}
_CODE = re.compile(r"```.*?```|`[^`\n]*`(?!\]\()", re.DOTALL)
_LINK = re.compile(r"\]\((?!http)([^)#]*)(?:#([^)]*))?\)")
_MEMBER_READ = re.compile(
    r"(?:getattr|hasattr|read|read_member|call_method|_read_seconds|_read_names|_call_predicate)\(\s*"
    r'(?:(?:\w+\.)*(?:backend|layer|guard), )?"([a-z]\w*)"'
)


def _section(heading: str) -> str:
    match = re.search(rf"^##+ {heading}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert match is not None, heading
    return match[1]


def _rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def _first_names(text: str) -> set[str]:
    """The names in the first column of a section's tables."""
    return {name for row in _rows(text) for name in re.findall(r"`@?(\w+)", row[0])}


@pytest.mark.parametrize("name", contract_tables.PAGES)
def test_generated_parts_are_current(name: str) -> None:
    how_to_update = f"python tools/contract_tables.py writes {name}"
    assert contract_tables.page_text(name) == (ROOT / name).read_text(encoding="utf-8"), (
        how_to_update
    )


def test_every_member_has_a_row() -> None:
    backend, layer = _first_names(_section("Backend")), _first_names(_section("Layer"))
    obligatory = {name for name in vars(Layer) if not name.startswith("_")}
    assert {"name", "info", "devices", "build"} <= backend
    assert {name for name in vars(Backend) if not name.startswith("_")} <= backend
    assert obligatory <= layer
    assert {field.name for field in fields(Call)} <= backend
    functions = _first_names(_section("`FunctionBackend`"))
    function_members = {name for name in vars(FunctionBackend) if not name.startswith("_")}
    assert function_members - {"name", "build"} <= functions


def test_every_optional_member_that_is_asked_for_has_a_row() -> None:
    packages = ("checks", "run", "timing", "plugin", "diagnosis", "backends")
    sources = [p for room in packages for p in (ROOT / "conformance" / room).glob("*.py")]
    members_read = {
        name for p in sources for name in _MEMBER_READ.findall(p.read_text(encoding="utf-8"))
    }
    assert {"vjp", "forward_grad", "numerics", "accepts", "sync", "updated"} <= members_read
    documented = _first_names(_section("Backend")) | _first_names(_section("Layer"))
    assert members_read - UNDOCUMENTED_MEMBERS <= documented


def test_the_members_that_checks_ask_for_are_those_declared() -> None:
    checks_by_member: dict[str, set[str]] = {name: set() for name in CHECK_FACTS}
    for member, _, checks in _rows(_section("Optional members of a layer"))[2:]:
        (name,) = re.findall(r"^`(\w+)", member)
        for check in re.findall(r"`(\w+)`", checks):
            checks_by_member[check].add(name)
    assert checks_by_member == {name: {*facts.members} for name, facts in CHECK_FACTS.items()}


def test_every_field_of_numerics_has_its_default() -> None:
    rows = [row for row in _rows(_section("Numerics")) if len(row) > 1]
    documented = {row[0].strip("`"): row[1].strip("`") for row in rows}
    for field in fields(Numerics):
        assert documented[field.name] == repr(getattr(Numerics(), field.name)), field.name


def test_every_layout_has_a_row_and_a_picture() -> None:
    section = _section("Layouts")
    assert _first_names(section) == set(LAYOUTS)
    for name in LAYOUTS:
        assert re.search(rf"^  {name} ", section, re.MULTILINE), name


def _anchors(text: str) -> set[str]:
    """The anchors that GitHub makes from headings."""
    headings = re.findall(
        r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE
    )
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    page = ROOT / name
    links = _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8")))
    for path, anchor in links:
        target = page.parent / path if path else page
        assert target.exists(), path
        if anchor:
            assert anchor in _anchors(target.read_text(encoding="utf-8")), f"{path}#{anchor}"


def test_the_readme_counts_the_layers() -> None:
    assert f"[{len(CATALOGUE)} layers]" in (ROOT / "README.md").read_text(encoding="utf-8")
