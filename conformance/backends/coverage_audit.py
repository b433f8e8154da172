"""What of torch.nn the suite covers, what it leaves out and why, and what nobody decided yet."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from conformance.layers import CATALOGUE
from conformance.layers.excluded import EXCLUDED
from conformance.model.case import class_and_method, is_function

SPACES = (
    "",
    "functional",
    "init",
    "parameter",
    "attention",
    "attention.bias",
    "attention.flex_attention",
    "attention.varlen",
    "grad",
    "utils",
    "utils.rnn",
    "utils.parametrizations",
    "utils.parametrize",
    "utils.stateless",
    "utils.prune",
)
"""The namespaces below torch.nn whose names are accounted for, one by one.

Every other namespace beside one of these is a name that is excluded as a whole.
"""


@dataclass(frozen=True)
class Account:
    """Each name of torch.nn, and each of the suite, once.

    Args:
        version: of torch.
        covered: family → its layers, without those that torch does not have.
        excluded: reason → names that have no row, for this reason.
        missing: names that torch has, and neither a row nor a reason.
        absent: layers of the suite that torch does not have.
        gone: names with a reason that torch does not have.
    """

    version: str
    covered: Mapping[str, tuple[str, ...]]
    excluded: Mapping[str, tuple[str, ...]]
    missing: tuple[str, ...]
    absent: tuple[str, ...]
    gone: tuple[str, ...]


def account(spaces: Mapping[str, Any] | None = None, version: str = "") -> Account:
    """Hold the names that torch exports against the catalogue and the reasons.

    Args:
        spaces: dotted name below `torch.nn` → the namespace; None = those of the installed torch.
        version: of the torch that they are of; empty = the installed one's.
    """
    spaces = installed() if spaces is None else spaces
    names = {dotted(space, name) for space, found in spaces.items() for name in exported(found)}
    names |= {name for space, found in spaces.items() for name in _beside(space, found)}
    rows = {name for name in CATALOGUE if _has(spaces, _part(name))}
    covered: dict[str, list[str]] = {}
    for name in CATALOGUE:
        if name in rows:
            covered.setdefault(CATALOGUE[name].family, []).append(name)
    excluded: dict[str, list[str]] = {}
    for name, reason in EXCLUDED.items():
        if name in names:
            excluded.setdefault(reason, []).append(name)
    return Account(
        version or str(torch.__version__),
        {family: tuple(found) for family, found in covered.items()},
        {reason: tuple(found) for reason, found in excluded.items()},
        tuple(sorted(names - set(map(_part, CATALOGUE)) - set(EXCLUDED))),
        tuple(name for name in CATALOGUE if name not in rows),
        tuple(name for name in EXCLUDED if name not in names),
    )


def exported(space: Any) -> set[str]:
    """The public classes and functions of a namespace.

    They are those that it says are public, else all that torch itself defines; a class that it
    only borrows is none of its own.
    """
    named = getattr(space, "__all__", None)
    if named is not None:
        return {name for name in named if not inspect.ismodule(getattr(space, name, None))}
    return {
        name
        for name, x in vars(space).items()
        if not name.startswith("_") and callable(x) and _of_torch(x)
    }


def _of_torch(x: Any) -> bool:
    # A function that is built in may not say where from.
    origin = getattr(x, "__module__", None) or "torch"
    return f"{origin}.".startswith("torch.nn." if isinstance(x, type) else "torch.")


def dotted(space: str, name: str) -> str:
    """A name below `torch.nn`.

    Args:
        space: of the namespace, empty for `torch.nn` itself.
        name: within the namespace.
    """
    return f"{space}.{name}" if space else name


def _part(layer: str) -> str:
    """The name of torch's that a layer's row is of: of a method its class's."""
    return layer if is_function(layer) else class_and_method(layer)[0]


def _has(spaces: Mapping[str, Any], name: str) -> bool:
    space, _, last = name.rpartition(".")
    return hasattr(spaces.get(space), last)


def installed() -> dict[str, Any]:
    """The namespaces below `torch.nn` that the installed torch has, by dotted name."""
    found = {}
    for space in SPACES:
        try:
            found[space] = importlib.import_module(f"torch.nn.{space}".rstrip("."))
        except ImportError:  # of a newer torch
            continue
    return found


def _beside(space: str, found: Any) -> Iterator[str]:
    """Public namespaces within a package that are not looked into."""
    for module in pkgutil.iter_modules(getattr(found, "__path__", ())):
        name = dotted(space, module.name)
        if not module.name.startswith("_") and name not in SPACES:
            yield name
