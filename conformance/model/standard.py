"""Versioned standards: what a run fixes so that "conforms to torch.nn 2.13" has one meaning.

A released standard is never edited. Its levels list the checks of its time: a check that is added
later belongs to the next standard, at the levels that its declaration names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import msgspec

STRICTEST_LEVEL = "strict"
"""The level that applies if a text names a standard without a level."""
FIXED_OPTIONS = ("layer", "family", "check", "profile", "examples", "seed")
"""Options that a standard sets."""


class StandardError(ValueError):
    """A text names an unknown standard, or an unknown level of one."""


@dataclass(frozen=True)
class Standard:
    """What a run must do to claim conformance to a version of torch.nn.

    Args:
        name: `"torch.nn 2.13"`.
        profile, examples, seed: which cases are drawn.
        dtypes: the dtypes that a complete claim covers.
        levels: checks of each level, the lowest level first.
        layers: the layers of that version of torch, by their names in the catalogue.
    """

    name: str
    profile: str
    examples: int
    seed: int
    dtypes: tuple[str, ...]
    levels: Mapping[str, tuple[str, ...]]
    layers: tuple[str, ...]


@cache
def standards() -> Mapping[str, Standard]:
    """The standards that ship with the package, by name."""
    folder = files("conformance").joinpath("standards")
    decoded = [
        msgspec.json.decode(path.read_bytes(), type=Standard)
        for path in folder.iterdir()
        if path.name.endswith(".json")
    ]
    return {standard.name: standard for standard in sorted(decoded, key=lambda one: one.name)}


def find_standard(text: str) -> tuple[Standard, str]:
    """Find the standard and the level that a text names.

    Args:
        text: `"torch.nn 2.13"` or `"torch.nn 2.13, inference"`.

    Raises:
        StandardError: if there is no such standard or level; the message lists the known ones.
    """
    name, comma, level = (part.strip() for part in text.partition(","))
    standard = standards().get(" ".join(name.split()))
    if standard is None:
        raise StandardError(f"expected one of {', '.join(map(repr, standards()))}")
    level = level if comma else STRICTEST_LEVEL
    if level not in standard.levels:
        levels = ", ".join(standard.levels)
        raise StandardError(f"no level {level!r} of {standard.name!r}: expected one of {levels}")
    return standard, level
