"""The table of the judge's verdicts: a later file replaces an earlier one; failures are told."""

from __future__ import annotations

from pathlib import Path

import pytest
from judge_table import full_page, read_verdicts, section

CASE = '<testcase name="{name}">{inner}</testcase>'
VERDICT = '<properties><property name="verdict" value="{}"/></properties>'
KERNEL = "test_a_cheating_kernel_is_caught_and_named[{}]"


def _write(path: Path, **cases: str) -> Path:
    lines = "".join(
        CASE.format(name=name if "[" in name else KERNEL.format(name), inner=inner)
        for name, inner in cases.items()
    )
    path.write_text(f"<testsuites><testsuite>{lines}</testsuite></testsuites>")
    return path


def test_verdicts_are_read_and_replaced(tmp_path: Path) -> None:
    module = "test_an_implementation_of_a_module[soft-max-wrong]"
    first = _write(
        tmp_path / "1.xml",
        **{"zeros": "<failure/>", "mapped": "<skipped/>", module: VERDICT.format("wrong")},
    )
    with pytest.raises(ValueError, match="failed: zeros"):
        read_verdicts([first])
    second = _write(tmp_path / "2.xml", zeros=VERDICT.format("wrong"))
    assert read_verdicts([first, second]) == {
        "cheating kernels": {"mapped": "admitted", "zeros": "wrong"},
        "modules: wrong": {"soft-max": "wrong"},
    }


def test_a_file_without_the_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no test"):
        read_verdicts([_write(tmp_path / "1.xml", **{"test_other[x]": ""})])


def test_the_pages_count_and_list_every_verdict() -> None:
    assert "| honest kernels |" in section()
    assert "## honest kernels" in full_page()
