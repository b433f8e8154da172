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

NAMESPACES = (
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
class CoverageAudit:
    """Each name of torch.nn and of the suite, listed once.

    Args:
        version: the version of torch.
        covered: family → its layers that this torch has.
        excluded: reason → names that the catalogue leaves out for this reason.
        undecided: names of torch that are neither in the catalogue nor excluded.
        not_in_torch: layers of the catalogue that this torch does not have.
        stale_exclusions: excluded names that this torch does not have.
    """

    version: str
    covered: Mapping[str, tuple[str, ...]]
    excluded: Mapping[str, tuple[str, ...]]
    undecided: tuple[str, ...]
    not_in_torch: tuple[str, ...]
    stale_exclusions: tuple[str, ...]


def audit_coverage(namespaces: Mapping[str, Any] | None = None, version: str = "") -> CoverageAudit:
    """Compare the names that torch exports with the catalogue and the excluded names.

    Args:
        namespaces: dotted name below `torch.nn` → the namespace; None = the installed torch's.
        version: version of the torch that has these namespaces; empty = the installed one's.
    """
    namespaces = installed_namespaces() if namespaces is None else namespaces
    names = {
        dotted_name(space, name)
        for space, members in namespaces.items()
        for name in public_names(members)
    }
    names |= {
        name for space, members in namespaces.items() for name in _unlisted_modules(space, members)
    }
    present = {name for name in CATALOGUE if _has_name(namespaces, _torch_name(name))}
    covered: dict[str, list[str]] = {}
    for name in CATALOGUE:
        if name in present:
            covered.setdefault(CATALOGUE[name].family, []).append(name)
    excluded: dict[str, list[str]] = {}
    for name, reason in EXCLUDED.items():
        if name in names:
            excluded.setdefault(reason, []).append(name)
    return CoverageAudit(
        version or str(torch.__version__),
        {family: tuple(members) for family, members in covered.items()},
        {reason: tuple(members) for reason, members in excluded.items()},
        tuple(sorted(names - set(map(_torch_name, CATALOGUE)) - set(EXCLUDED))),
        tuple(name for name in CATALOGUE if name not in present),
        tuple(name for name in EXCLUDED if name not in names),
    )


def public_names(namespace: Any) -> set[str]:
    """Names of the public classes and functions of a namespace.

    They are the names in `__all__`. Without it, they are the callables that torch itself defines,
    because a namespace may also import classes of other packages.
    """
    declared = getattr(namespace, "__all__", None)
    if declared is not None:
        return {name for name in declared if not inspect.ismodule(getattr(namespace, name, None))}
    return {
        name
        for name, value in vars(namespace).items()
        if not name.startswith("_") and callable(value) and _is_defined_by_torch(value)
    }


def _is_defined_by_torch(value: Any) -> bool:
    # A built-in function may have no `__module__`.
    origin = getattr(value, "__module__", None) or "torch"
    return f"{origin}.".startswith("torch.nn." if isinstance(value, type) else "torch.")


def dotted_name(space: str, name: str) -> str:
    """The dotted name below `torch.nn` of a name in a namespace; `space` is empty for torch.nn."""
    return f"{space}.{name}" if space else name


def _torch_name(layer: str) -> str:
    """The name below torch.nn that implements a layer; for a method, the name of its class."""
    return layer if is_function(layer) else class_and_method(layer)[0]


def _has_name(namespaces: Mapping[str, Any], name: str) -> bool:
    space, _, last = name.rpartition(".")
    return hasattr(namespaces.get(space), last)


def installed_namespaces() -> dict[str, Any]:
    """Those namespaces of `NAMESPACES` that the installed torch has, by dotted name."""
    namespaces = {}
    for space in NAMESPACES:
        try:
            namespaces[space] = importlib.import_module(f"torch.nn.{space}".rstrip("."))
        except ImportError:  # only a newer torch has it
            continue
    return namespaces


def _unlisted_modules(space: str, package: Any) -> Iterator[str]:
    """Dotted names of a package's public modules that are not in `NAMESPACES`."""
    for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
        name = dotted_name(space, module.name)
        if not module.name.startswith("_") and name not in NAMESPACES:
            yield name
