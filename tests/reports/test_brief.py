"""What a terminal of 80 columns shows of a run."""

from __future__ import annotations

from made_runs import large, rich

from conformance.plugin.brief import CAUSES, brief


def test_what_did_not_pass_and_why_fits_into_80_columns() -> None:
    lines = list(brief(rich()))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "Conv2d  ✗ failed: values" in text
    assert "✓ 1 layer" not in text  # a check of Linear is missing
    assert "as listed among the known failures: GRU" in text
    assert "2 likely causes of failure:" in text
    assert "wanted" in text
    assert "Conv2d-values-bfloat16-cpu" in text or "Conv2d-values-float32-cpu" in text
    assert lines[-1].startswith("3 passed, 4 failed")


def test_a_run_of_thousands_of_failures_is_told_in_a_screen_or_two() -> None:
    lines = list(brief(large(20_000, plain=True)))
    assert max(map(len, lines)) <= 80
    assert sum(line[:1].isdigit() and ". " in line[:4] for line in lines) <= CAUSES


def test_a_narrow_terminal_is_taken_as_it_is() -> None:
    assert max(map(len, brief(rich(), 40))) <= 40
