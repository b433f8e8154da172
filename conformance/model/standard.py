"""Versioned standards: what a run pins so that "conforms to torch.nn 2.13" means one thing.

A standard that was released is not edited. Its levels list the checks that there were: one that is
added later belongs to the next standard, at the levels that its declaration names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import msgspec

STRICTEST = "strict"
"""The level of a standard that is named without one."""
FIXED = ("layer", "family", "check", "profile", "examples", "seed")
"""Options that a standard decides."""


class StandardError(ValueError):
    """A text that names no standard, or no level of one."""


@dataclass(frozen=True)
class Standard:
    """What a run must do to be held against a version of torch.nn.

    Args:
        name: `"torch.nn 2.13"`.
        profile, examples, seed: what is drawn.
        dtypes: all of which a whole claim is about.
        levels: checks of each level, the least level first.
        layers: of that version of torch, as the catalogue names them.
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
    found = [
        msgspec.json.decode(path.read_bytes(), type=Standard)
        for path in folder.iterdir()
        if path.name.endswith(".json")
    ]
    return {standard.name: standard for standard in sorted(found, key=lambda one: one.name)}


def named(text: str) -> tuple[Standard, str]:
    """The standard and the level that a text names.

    Args:
        text: `"torch.nn 2.13"` or `"torch.nn 2.13, inference"`.

    Raises:
        StandardError: if there is no such standard, or level, naming those that there are.
    """
    name, comma, level = (part.strip() for part in text.partition(","))
    standard = standards().get(" ".join(name.split()))
    if standard is None:
        raise StandardError(f"expected one of {', '.join(map(repr, standards()))}")
    level = level if comma else STRICTEST
    if level not in standard.levels:
        levels = ", ".join(standard.levels)
        raise StandardError(f"no level {level!r} of {standard.name!r}: expected one of {levels}")
    return standard, level
