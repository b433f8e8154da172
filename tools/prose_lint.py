"""Checks the prose of docs and docstrings: `docs/style.md` has the rules and their reasons.

    python tools/prose_lint.py

It looks at Markdown in the repository's root and docs, and at the docstrings of the product and its
tools. It prints one line for each violation and ends with 1 if there is any.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
PACKAGES = ("conformance", "strategies", "reports", "tools")
GENERATED = {"CHANGELOG.md"}

LONGEST = 30
"""Words of a sentence: one that has more is read twice."""

WORDS = {
    "held against": "checked against, compared with",
    "holds against": "checks against, compares with",
    "is told": "is reported",
    "are told": "are reported",
    "told of": "reported",
    "tells of": "reports",
    "what came of": "the result of",
    "came of it": "resulted",
    "comes to": "adds up to, amounts to",
    "all the same": "nevertheless, or nothing",
    "beyond that": "otherwise, further",
    "likewise": "also, or repeat what is meant",
    "as said": "link to it",
    "what is none": "an invalid …",
    "that have none": "without …",
    "and the like": "name them",
    "thereof": "of it",
    "whereof": "of which",
}
"""Turns of phrase that readers stumble over, and what to write."""

STOP_WORDS = frozenset(
    re.findall(r"\w+", "a an the of to in on for its it and or is are be by as at this that with")
)


def prose_of_page(text: str) -> Iterator[tuple[int, str]]:
    """Line numbers and paragraphs of Markdown, without code, tables, headings and comments."""
    text = re.sub(r"<!--.*?-->", lambda m: re.sub(r"[^\n]", "", m[0]), text, flags=re.DOTALL)
    start, paragraph, in_code = 0, [], False
    for number, line in enumerate([*text.split("\n"), ""], 1):
        stripped = line.strip()
        if stripped.startswith("```"):
            in_code = not in_code
            stripped = ""
        item = re.match(r"(?:[-*+]|\d+\.)\s+(.*)", stripped)
        ends = (
            in_code or not stripped or item or stripped[0] in "|#<" or line.startswith("    " * 3)
        )
        if ends and paragraph:
            yield start, " ".join(paragraph)
            paragraph = []
        if in_code or not stripped or stripped[0] in "|#<":
            continue
        if not paragraph:
            start = number
        paragraph.append(item[1] if item else stripped)


def docstrings(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line numbers, names and docstrings of a module's definitions."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                name = "" if isinstance(node, ast.Module) else node.name
                yield node.body[0].lineno, name, text
        if isinstance(node, ast.Module | ast.ClassDef):
            for statement in node.body[1:]:
                match statement:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        yield statement.lineno, "", text


def sentences(paragraph: str) -> Iterator[str]:
    """Sentences of a paragraph: code, formulas in backticks and links count as one word each."""
    paragraph = re.sub(r"``?[^`]+``?", "code", paragraph)
    paragraph = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", paragraph)
    yield from re.split(r"(?<=[.!?])\s+(?=[\w\"(*`])", paragraph)


def long_sentences(paragraph: str) -> Iterator[str]:
    for sentence in sentences(paragraph):
        count = len(re.findall(r"[^\W\d_][\w'’-]*", sentence))
        if count > LONGEST:
            yield f"a sentence of {count} words: {' '.join(sentence.split()[:8])} …"


def unwanted_words(text: str) -> Iterator[str]:
    flat = " ".join(re.sub(r"``?[^`]+``?", "code", text).lower().split())
    for words, better in WORDS.items():
        if re.search(rf"\b{words}\b", flat):
            yield f'"{words}": write {better}'


def stems(text: str) -> set[str]:
    """Words of a text without their endings, and without words that say nothing."""
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower())
    return {re.sub(r"(?:ing|ed|es|s|e)$", "", word) for word in words if word not in STOP_WORDS}


def repeated_name(name: str, docstring: str) -> Iterator[str]:
    """A docstring that has no word beside those of the name says nothing."""
    if name and stems(docstring) and stems(docstring) <= stems(name):
        yield f"the docstring of {name} repeats its name"


def repeated_arguments(docstring: str) -> Iterator[str]:
    """Items of an `Args:` section whose words are those of the argument's name."""
    section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", docstring, flags=re.MULTILINE)
    for item in re.finditer(
        r"^ {4}(\w+):\s*(.*(?:\n {8}.*)*)", section[1] if section else "", re.M
    ):
        if stems(item[2]) <= stems(item[1]):
            yield f"the item {item[1]} of Args repeats its name"


def check_paragraph(paragraph: str) -> Iterator[str]:
    yield from long_sentences(paragraph)
    yield from unwanted_words(paragraph)


def violations() -> Iterator[str]:
    for page in PAGES:
        if page.name in GENERATED:
            continue
        for line, paragraph in prose_of_page(page.read_text(encoding="utf-8")):
            for problem in check_paragraph(paragraph):
                yield f"{page.relative_to(ROOT)}:{line}: {problem}"
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for line, name, text in docstrings(path):
                problems = [*repeated_name(name, text), *repeated_arguments(text)]
                for _, paragraph in prose_of_page(text):
                    problems += check_paragraph(paragraph)
                for problem in problems:
                    yield f"{path.relative_to(ROOT)}:{line}: {problem}"


def main() -> int:
    problems = list(violations())
    print("\n".join(problems) or "the prose follows docs/style.md")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
