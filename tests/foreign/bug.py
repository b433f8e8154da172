"""The `ForeignBug` record, and how one is planted in an adapter."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T", bound=type)


@dataclass(frozen=True)
class ForeignBug:
    """One backend of a framework of its own that is wrong in exactly one way.

    Args:
        name: unique, kebab-case, led by the adapter.
        address: by which it is loaded: `foreign.of_mlx:GatesSwapped`.
        faithful: by which the adapter without the bug is loaded.
        layers: on which the bug is looked for.
        story: what is wrong.
    """

    name: str
    address: str
    faithful: str
    layers: tuple[str, ...]
    story: str


PLANTED: list[ForeignBug] = []


def plant(faithful: str, *layers: str) -> Callable[[T], T]:
    """Register the decorated subclass of an adapter as a bug; its docstring is the story.

    Args:
        faithful: by which the adapter is loaded.
        layers: on which the bug is looked for.
    """

    def register(kind: T) -> T:
        module = kind.__module__.rpartition(".of_")[2]
        words = "".join(f"-{c.lower()}" if c.isupper() else c for c in kind.__name__)
        story = " ".join((kind.__doc__ or "").split())
        address = f"{kind.__module__}:{kind.__name__}"
        PLANTED.append(ForeignBug(module + words, address, faithful, layers, story))
        return kind

    return register


def plant_around(module: str, adapter: type, faithful: str, layers: dict[type, str]) -> None:
    """Plant bugs that any adapter can have: subclasses of it, as attributes of a module.

    Args:
        module: its `__name__`.
        adapter: the class.
        faithful: by which the adapter is loaded.
        layers: of each bug the layer on which it is looked for.
    """
    for bug, layer in layers.items():
        members = {"__module__": module, "__doc__": bug.__doc__}
        kind = type(bug.__name__, (bug, adapter), members)
        setattr(sys.modules[module], bug.__name__, plant(faithful, layer)(kind))
