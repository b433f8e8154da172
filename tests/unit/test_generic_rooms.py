"""Generic code reads the specification: none of its strings names a layer, input or argument."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import conformance.reports
import pytest

import conformance
from conformance.layers import CATALOGUE
from conformance.spec.signature import ROLES

ROOT = Path(str(conformance.__file__)).parent
GENERIC_PACKAGES = (
    *("checks", "commands", "diagnosis", "generation", "isolation", "items", "known"),
    *("matching", "model", "plugin", "run", "timing"),
)
# A table of layers, which specifications, strategies and laws read.
TABLE = ROOT / "model" / "activations.py"
FILES = (
    *(f for room in GENERIC_PACKAGES for f in sorted((ROOT / room).rglob("*.py")) if f != TABLE),
    *sorted(Path(str(conformance.reports.__file__)).parent.rglob("*.py")),
    ROOT / "backends" / "module.py",
    ROOT / "backends" / "function.py",
)
# Parts of names of layers.
FORMS = ("Lazy", "functional.")
# Words of the catalogue that the suite also uses in its own sense.
COMMON = {
    "a": "an article, and the letter of what is an array in a transcript",
    "b": "the letter of a case that a check does not apply to, and of booleans in NumPy",
    "input": "of every layer, and of prose",
    "memory": "what a process fills, and where arrays lie",
    "module": "the name of a check",
    "name": "of anything that has one",
    "output": "of every layer, and of prose",
    "device": "where a call runs",
    "dtype": "of a call",
    "full": "a regime of whole numbers, and a set of timed calls",
    "training": "the mode of a call",
    "value": "a kind of finding",
    "k": "the letter of a case that is excused, and of a thousand",
    "options": "of a run",
    "p": "the letter of a case that passes",
    "query": "a part of an address",
    "sigmoid": "an elementary function of `Numerics.ulp`",
    "tanh": "an elementary function of `Numerics.ulp`",
    "tensor": "what scripts and transcripts call any",
}
# (file, literal) → why the file has that literal.
_MARGIN = "of a verdict, the largest error ÷ bound"
ALLOWED = {
    ("special.py", "negative"): "a sign",
    ("compare.py", "margin"): _MARGIN,
    ("embedded_data.py", "margin"): _MARGIN,
    ("validation.py", "margin"): _MARGIN,
    ("case.py", "init"): "the namespace of functions that fill a tensor",
    ("script_torch.py", "lengths"): "a packed sequence is made by a function of torch's",
    ("script_torch.py", "batch_first"): "a packed sequence is made by a function of torch's",
    ("module.py", "lengths"): "a packed sequence is made by a function of torch's",
    ("module.py", "batch_first"): "a packed sequence is made by a function of torch's",
    ("peaks.py", "functional.linear"): "what a device can do is measured by torch's own product",
}


@lru_cache
def _catalogue_words() -> frozenset[str]:
    words: set[str] = set()
    for spec in CATALOGUE.values():
        words |= {spec.name, spec.name.removeprefix("functional."), *spec.signature.input_names}
        words |= {argument.name for argument in spec.signature.arguments}
    return frozenset(words - set(ROLES) - set(COMMON))


def _documentation_ids(tree: ast.AST) -> set[int]:
    """Docstrings, strings below an assignment, and the names that a module exports."""
    documentation_ids: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            documentation_ids |= {id(x) for x in ast.walk(node.value)}
        bodies = (getattr(node, name, None) for name in ("body", "orelse"))
        for body in (x for x in bodies if isinstance(x, list)):
            documentation_ids |= {id(x.value) for x in body if isinstance(x, ast.Expr)}
    return documentation_ids


def code_literals(source: str) -> Iterator[str]:
    """The strings of a file that are not documentation."""
    tree = ast.parse(source)
    documentation = _documentation_ids(tree)
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and id(node) not in documentation:
            yield text


@lru_cache
def _literals_of(file: Path) -> tuple[str, ...]:
    return tuple(code_literals(file.read_text(encoding="utf-8")))


@lru_cache
def _layer_stems(words: frozenset[str]) -> tuple[str, ...]:
    return tuple(word for word in words if re.fullmatch(r"[A-Z]\w{3,}", word))


def find_catalogue_words(text: str, words: frozenset[str]) -> set[str]:
    """The words of the catalogue that a string names, alone or as the stem of a layer's name.

    Prose of several words may name anything.
    """
    if text in words:
        return {text}
    matches = {form for form in FORMS if text.startswith(form) and " " not in text}
    stems = {text} if any(len(text) > 3 and text in stem for stem in _layer_stems(words)) else set()
    return matches | (stems if re.fullmatch(r"[A-Za-z]+", text) and not text.islower() else set())


def _find_hits(file: Path, words: frozenset[str]) -> set[str]:
    return {
        hit
        for text in _literals_of(file)
        for hit in find_catalogue_words(text, words)
        if (file.name, hit) not in ALLOWED
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_no_string_names_a_layer_an_input_or_an_argument(file: Path) -> None:
    assert not _find_hits(file, _catalogue_words())


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_no_generic_code_reads_the_table_of_activations(file: Path) -> None:
    assert f"conformance.model.{TABLE.stem}" not in file.read_text(encoding="utf-8")


def test_the_allow_list_holds_nothing_that_is_gone() -> None:
    current = {
        (file.name, hit)
        for file in FILES
        for text in _literals_of(file)
        for hit in find_catalogue_words(text, _catalogue_words())
    }
    assert set(ALLOWED) <= current


@pytest.mark.parametrize(
    ("code", "hit"),
    [
        ('x = name == "Conv2d"', "Conv2d"),
        ('x = name.startswith("functional.")', "functional."),
        ('x = "Cell" in name', "Cell"),
        ('x = "Transpose" in name', "Transpose"),
        ('x = arguments.get("num_layers", 1)', "num_layers"),
        ('x = "h_0" in names', "h_0"),
    ],
)
def test_a_planted_name_is_seen(tmp_path: Path, code: str, hit: str) -> None:
    file = tmp_path / "planted.py"
    file.write_text(f'"""Conv2d in a docstring is no hit."""\n{code}\n')
    assert _find_hits(file, _catalogue_words()) == {hit}
