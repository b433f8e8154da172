"""Which names of torch.nn the suite covers, which it excludes and why, and which are undecided."""

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
"""Namespaces below torch.nn whose names the audit lists one by one.

Any other namespace inside one of these counts as a single name, which is excluded as a whole.
"""


@dataclass(frozen=True)
class Account:
    """Each name of torch.nn and of the suite, listed once.

    Args:
        version: the version of torch.
        covered: family → its layers that this torch has.
        excluded: reason → names that the catalogue leaves out for this reason.
        missing: names of torch that are neither in the catalogue nor excluded.
        absent: layers of the catalogue that this torch does not have.
        gone: excluded names that this torch does not have.
    """

    version: str
    covered: Mapping[str, tuple[str, ...]]
    excluded: Mapping[str, tuple[str, ...]]
    missing: tuple[str, ...]
    absent: tuple[str, ...]
    gone: tuple[str, ...]


def account(spaces: Mapping[str, Any] | None = None, version: str = "") -> Account:
    """Compare the names that torch exports with the catalogue and the excluded names.

    Args:
        spaces: dotted name below `torch.nn` → the namespace; None = the installed torch's.
        version: version of the torch that has these namespaces; empty = the installed one's.
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
    """Names of the public classes and functions of a namespace.

    They are the names in `__all__`. Without it, they are the callables that torch itself defines,
    because a namespace may also import classes of other packages.
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
    # A built-in function may have no `__module__`.
    origin = getattr(x, "__module__", None) or "torch"
    return f"{origin}.".startswith("torch.nn." if isinstance(x, type) else "torch.")


def dotted(space: str, name: str) -> str:
    """The dotted name below `torch.nn` of a name in a namespace; `space` is empty for torch.nn."""
    return f"{space}.{name}" if space else name


def _part(layer: str) -> str:
    """The name below torch.nn that implements a layer; for a method, the name of its class."""
    return layer if is_function(layer) else class_and_method(layer)[0]


def _has(spaces: Mapping[str, Any], name: str) -> bool:
    space, _, last = name.rpartition(".")
    return hasattr(spaces.get(space), last)


def installed() -> dict[str, Any]:
    """Those namespaces of `SPACES` that the installed torch has, by dotted name."""
    found = {}
    for space in SPACES:
        try:
            found[space] = importlib.import_module(f"torch.nn.{space}".rstrip("."))
        except ImportError:  # only a newer torch has it
            continue
    return found


def _beside(space: str, found: Any) -> Iterator[str]:
    """Dotted names of a package's public modules that are not in `SPACES`."""
    for module in pkgutil.iter_modules(getattr(found, "__path__", ())):
        name = dotted(space, module.name)
        if not module.name.startswith("_") and name not in SPACES:
            yield name
