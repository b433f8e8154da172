"""The linter of prose sees each of its rules broken, and lets plain text pass."""

from __future__ import annotations

from pathlib import Path

import prose_lint
import pytest

PLAIN = "The plug-in reports an invalid line. Its item stays missing."


def page(text: str) -> list[str]:
    return [
        problem
        for _, paragraph in prose_lint.prose_of_page(text)
        for problem in prose_lint.check_paragraph(paragraph)
    ]


def test_plain_text_passes() -> None:
    assert page(PLAIN) == []


@pytest.mark.parametrize("words", prose_lint.WORDS)
def test_unwanted_words_are_seen(words: str) -> None:
    (problem,) = page(f"Each entry {words}\nsomething.")
    assert prose_lint.WORDS[words] in problem


def test_a_long_sentence_is_seen_over_several_lines() -> None:
    line = "one more word and another word of many\n"
    (problem,) = page(line * 4)
    assert "a sentence of 32 words" in problem
    assert page(f"{line * 2}. {line.capitalize() * 2}") == []


@pytest.mark.parametrize(
    "text",
    [
        "```\n" + "held against " * 20 + "\n```",
        "| " + "a cell " * 40 + "|",
        "# " + "Heading " * 40,
        "<!-- " + "comment " * 40 + " -->",
        "Calls " + "`held against` " * 3,
    ],
)
def test_code_tables_headings_and_comments_are_no_prose(text: str) -> None:
    assert page(text) == []


@pytest.mark.parametrize(
    ("name", "docstring", "repeats"),
    [
        ("parse_shape", "Parses the shape.", True),
        ("fold_breaks", "Breaks of folding.", True),
        ("parse_shape", "Read sizes by name; ValueError names the character.", False),
        ("", "Shapes.", False),
    ],
)
def test_a_docstring_that_repeats_its_name_is_seen(
    name: str, docstring: str, repeats: bool
) -> None:
    assert bool([*prose_lint.repeated_name(name, docstring)]) is repeats


def test_an_argument_that_repeats_its_name_is_seen() -> None:
    docstring = "Sum.\n\nArgs:\n    item: The item.\n    axis: Negative ones count from the end.\n"
    (problem,) = prose_lint.repeated_arguments(docstring)
    assert "item" in problem


def test_docstrings_of_a_module_are_read(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text('"""One."""\nLIMIT = 3\n"""Two."""\ndef f():\n    """Three."""\n')
    assert {text for _, _, text in prose_lint.docstrings(file)} == {"One.", "Two.", "Three."}
