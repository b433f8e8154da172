"""Temporary folders of killed runs are removed, and no others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conformance.model import temp_cleanup

CLAIM = "import sys, pathlib; from conformance.model import temp_cleanup as x; "


def _claim_as_dead_process(folder: Path) -> Path:
    folder.mkdir()
    script = f"{CLAIM}x.write_owner(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True)
    (folder / "journal").write_bytes(b"x")
    return folder


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    stale_folder = _claim_as_dead_process(tmp_path / "conformance-gone")
    own_folder = tmp_path / "conformance-mine"
    own_folder.mkdir()
    temp_cleanup.write_owner(own_folder)
    assert temp_cleanup.remove_abandoned_folders(tmp_path) == 1
    assert not stale_folder.exists()
    assert own_folder.exists()


def test_a_number_that_another_process_has_meanwhile_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "conformance-old"
    folder.mkdir()
    temp_cleanup.write_owner(folder)
    pid, started, remainder = (folder / temp_cleanup.OWNER_FILE).read_text().split(" ", 2)
    (folder / temp_cleanup.OWNER_FILE).write_text(f"{pid} {int(started) - 1} {remainder}")
    assert temp_cleanup.remove_abandoned_folders(tmp_path) == 1


@pytest.mark.parametrize(
    "odd", ["", "1", "x - h\n", "99999999999999 1 h\n", "4000000 1 elsewhere\n"]
)
def test_what_is_not_the_suites_stays(odd: str, tmp_path: Path) -> None:
    (tmp_path / "conformance-empty").mkdir()
    (tmp_path / "conformance-file").touch()
    target = _claim_as_dead_process(tmp_path / "elsewhere")
    (tmp_path / "conformance-link").symlink_to(target)
    folder = tmp_path / "conformance-odd"
    folder.mkdir()
    (folder / temp_cleanup.OWNER_FILE).write_text(odd)
    unprefixed = _claim_as_dead_process(tmp_path / "other-name")
    linked = tmp_path / "conformance-linked"
    linked.mkdir()
    (linked / temp_cleanup.OWNER_FILE).symlink_to(unprefixed / temp_cleanup.OWNER_FILE)
    names_before = sorted(tmp_path.iterdir())
    assert temp_cleanup.remove_abandoned_folders(tmp_path) == 0
    assert sorted(tmp_path.iterdir()) == names_before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_another_users_folder_stays(tmp_path: Path) -> None:
    folder = _claim_as_dead_process(tmp_path / "conformance-theirs")
    os.chown(folder, 65534, 65534)
    assert temp_cleanup.remove_abandoned_folders(tmp_path) == 0
