"""The declared version bounds match what the tox environments test; changelog fragments are valid.

Issue forms are checked as well.
"""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TOWNCRIER = PROJECT["tool"]["towncrier"]
CATEGORIES = [kind["directory"] for kind in TOWNCRIER["type"]]
FRAGMENT = re.compile(rf"(\+[a-z0-9]+(-[a-z0-9]+)*|[0-9]+)\.({'|'.join(CATEGORIES)})\.md")


def _tox() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "tox.ini", encoding="utf-8")
    return parser


def _bounds() -> dict[str, str]:
    """The least version of each dependency."""
    lower_bounds = {}
    for text in PROJECT["project"]["dependencies"]:
        requirement = Requirement(text)
        (specifier,) = requirement.specifier
        assert specifier.operator == ">=", text
        lower_bounds[requirement.name] = specifier.version
    return lower_bounds


def test_the_oldest_environment_installs_every_lower_bound() -> None:
    section = _tox()["testenv:oldest"]
    lines = [Requirement(line) for line in section["deps"].split("\n") if line]
    pinned = {}
    for requirement in lines:
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", str(requirement)
        pinned[requirement.name] = specifier.version
    assert pinned == _bounds()
    minimum = PROJECT["project"]["requires-python"].removeprefix(">=")
    assert section["base_python"] == f"py{minimum.replace('.', '')}"


def test_the_newest_environment_names_what_the_oldest_holds_back() -> None:
    deps = set(_tox()["testenv:newest"]["deps"].split())
    assert {"torch", "hypothesis", "pytest", "pytest-xdist", "numpy"} <= deps <= {
        *_bounds(), "pyyaml",
    }  # fmt: skip


def test_classifiers_name_the_least_python() -> None:
    prefix = "Programming Language :: Python :: 3."
    classifiers = [c for c in PROJECT["project"]["classifiers"] if c.startswith(prefix)]
    minimum = min((c.rpartition(" ")[2] for c in classifiers), key=Version)
    assert PROJECT["project"]["requires-python"] == f">={minimum}"


def fragments() -> list[Path]:
    return sorted(p for p in (ROOT / TOWNCRIER["directory"]).iterdir() if p.name != "README.md")


def find_fault(path: Path) -> str:
    """Describe what is wrong with a fragment; empty for a valid one."""
    if not FRAGMENT.fullmatch(path.name):
        return (
            f"{path.name}: expected +a-few-words.CATEGORY.md or NUMBER.CATEGORY.md, "
            f"CATEGORY one of {', '.join(CATEGORIES)}"
        )
    text = path.read_text(encoding="utf-8").strip()
    if not text:
        return f"{path.name}: it says nothing"
    if text.startswith(("-", "*", "#")):
        return f"{path.name}: expected text without a bullet or a heading"
    return "" if text.endswith(".") else f"{path.name}: expected a full stop at its end"


def test_fragments_are_well_named() -> None:
    assert [found for path in fragments() if (found := find_fault(path))] == []


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("news.md", "Something.", "expected +a-few-words"),
        ("+new-thing.feature.md", "Something.", "CATEGORY one of added, "),
        ("+New.added.md", "Something.", "expected +a-few-words"),
        ("+new.added.rst", "Something.", "expected +a-few-words"),
        ("+new.added.md", " \n", "it says nothing"),
        ("+new.added.md", "- Something.", "without a bullet"),
        ("+new.added.md", "Something", "full stop"),
        ("12.fixed.md", "Something.", ""),
    ],
)
def test_what_is_wrong_with_a_fragment_is_said(
    name: str, text: str, told: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(text)
    fault_text = find_fault(path)
    assert (fault_text == "") == (told == "")
    assert told in fault_text


def test_every_fragment_reaches_the_changelog() -> None:
    pytest.importorskip("towncrier", reason="needs towncrier")
    command = [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "99.0"]
    run = subprocess.run(
        [*command, "--date", "2026-01-01"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    drafted = " ".join(run.stdout.split())
    assert "## 99.0 (2026-01-01)" in drafted
    for path in fragments():
        assert " ".join(path.read_text(encoding="utf-8").split()) in drafted, path.name


def test_the_changelog_has_the_place_where_releases_are_written() -> None:
    text = (ROOT / TOWNCRIER["filename"]).read_text(encoding="utf-8")
    assert text.count(TOWNCRIER["start_string"]) == 1


FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
FORMS = [path for path in FORMS if path.stem != "config"]


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms_ask_for_the_results_file_and_the_bug_report(path: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= {*form}
    attributes = [part["attributes"] for part in form["body"] if part["type"] != "markdown"]
    text = " ".join(f"{a['label']} {a.get('description', '')}" for a in attributes)
    assert "results file" in text
    assert "nn-conformance bug-report" in text
    ids = [part["id"] for part in form["body"] if part["type"] != "markdown"]
    assert len(ids) == len({*ids})


def test_there_is_a_form_for_each_kind_of_issue() -> None:
    assert [path.stem for path in FORMS] == ["backend-or-layer", "divergence", "wrong-verdict"]
