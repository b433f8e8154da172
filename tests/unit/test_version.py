"""The version comes from the tags of the repository, and has no influence on drawn cases."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version
from test_imports import MODULES, _imports

import conformance

ROOT = Path(__file__).parents[2]
SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FALLBACK = SETTINGS["tool"]["setuptools_scm"]["fallback_version"]

if importlib.util.find_spec("setuptools_scm") is None:
    pytest.skip("needs setuptools-scm, which builds the package", allow_module_level=True)


def _git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=tests", "-c", "user.email=tests@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def _built_version(folder: Path) -> Version:
    """What a build in a folder would call itself."""
    command = [sys.executable, "-m", "setuptools_scm"]
    run = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return Version(run.stdout.split()[-1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the project's settings only, and no git."""
    (tmp_path / "conformance").mkdir()
    for name in ("pyproject.toml", ".gitignore", ".gitattributes", ".git_archival.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    return tmp_path


def _commit(folder: Path, message: str) -> None:
    _git(folder, "add", ".")
    _git(folder, "commit", "--allow-empty", "-m", message)


def test_without_git_it_is_the_fallback(folder: Path) -> None:
    assert _built_version(folder) == Version(FALLBACK)


def test_tags_give_it_and_later_commits_are_of_the_next(folder: Path) -> None:
    _git(folder, "init")
    _commit(folder, "first")
    assert _built_version(folder).base_version in ("0.1", "0.1.0")
    assert _built_version(folder).is_devrelease
    _git(folder, "tag", "v0.2.0")
    assert _built_version(folder) == Version("0.2.0")
    _commit(folder, "second")
    later = _built_version(folder)
    assert later.is_devrelease
    assert later > Version("0.2.0")


def test_a_shallow_clone_has_one(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    _git(folder, "init")
    for message in ("first", "second"):
        _commit(folder, message)
    shallow = tmp_path_factory.mktemp("shallow")
    _git(shallow, "clone", "--depth=1", folder.as_uri(), ".")
    assert _built_version(shallow).is_devrelease


@pytest.mark.parametrize(("tag", "version"), [("v0.2.0", "0.2.0"), ("", FALLBACK)])
def test_an_archive_of_a_commit_tells_its_tag(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, tag: str, version: str
) -> None:
    """GitHub gives actions and downloads a commit without its history."""
    _git(folder, "init")
    _commit(folder, "first")
    if tag:
        _git(folder, "tag", tag)
    unpacked = tmp_path_factory.mktemp("archive")
    _git(folder, "archive", "--output", str(unpacked / "commit.tar"), "HEAD")
    shutil.unpack_archive(unpacked / "commit.tar", unpacked)
    assert _built_version(unpacked) == Version(version)


def test_a_folder_of_which_nothing_was_built_has_one() -> None:
    script = (
        "import sys; sys.modules['conformance._version'] = None; "
        "import conformance; print(conformance.__version__)"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == FALLBACK
    assert Version(conformance.__version__)


def test_nothing_that_draws_reads_it() -> None:
    readers = {
        name
        for name, file in MODULES.items()
        if {"conformance.__version__", "conformance._version"} & {*_imports(file, name)}
        or "conformance.__version__" in file.read_text(encoding="utf-8")
    }
    # Results and packs say who wrote them.
    writers = {"plugin.recording", "packs.writer", "commands.packs"}
    assert readers == {"conformance", *(f"conformance.{name}" for name in writers)}
