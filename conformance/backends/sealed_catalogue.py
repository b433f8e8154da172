"""Take the oracles, the strategies and the laws out of a process that runs code under test.

Adapters read the catalogue: names of arguments, roles of inputs, shapes of a state. A row also
refers to what the judge knows; here that is cut off, and importing it again is refused.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any, NoReturn

from conformance.model.case import Unsupported

JUDGES_PACKAGES = (
    "conformance.oracles", "conformance.strategies", "conformance.laws", "conformance.checks",
    "conformance.run", "conformance.generation",
)  # fmt: skip
"""Packages that a process with code under test must do without."""


class Removed:
    """Stands for an object of the judge: whoever uses it declines the call."""

    def __call__(self, *arguments: Any, **keywords: Any) -> NoReturn:
        """Decline the call that needs the judge's object."""
        raise Unsupported("the adapter needs the judge's own code")

    def __getattr__(self, name: str) -> NoReturn:
        self()


class NoJudge(MetaPathFinder):
    """Refuses to import the judge's packages.

    Args:
        on_refusal: called with the name of a package that was refused.
    """

    def __init__(self, on_refusal: Callable[[str], None]) -> None:
        self._on_refusal = on_refusal

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        """Refuse a package of the judge; leave all others to the next finder."""
        if _is_judges(name):
            self._on_refusal(name)
            raise Unsupported(f"{name} in a sealed process")


def remove_judge(on_refusal: Callable[[str], None]) -> None:
    """Remove the judge's packages from this process; the catalogue keeps what adapters read.

    Args:
        on_refusal: called with the name of one of them that is imported again.
    """
    from conformance.layers import CATALOGUE
    from conformance.spec.layer_spec import Variation
    from conformance.spec.parts import Conditions, Generation, Oracle

    removed = Removed()
    for name, spec in CATALOGUE.items():
        CATALOGUE[name] = replace(
            spec, oracle=Oracle(removed, shapes=spec.oracle.shapes), generation=Generation(removed),
            variation=Variation(), conditions=Conditions(), laws=(),
        )  # fmt: skip
    for name in [name for name in sys.modules if _is_judges(name)]:
        del sys.modules[name]
    for name, module in list(sys.modules.items()):
        if name.startswith("conformance."):
            for key, value in list(vars(module).items()):
                if _is_judges(_home_of(value)):
                    setattr(module, key, removed)
    sys.meta_path.insert(0, NoJudge(on_refusal))
    gc.collect()


def _is_judges(module: str) -> bool:
    return any(module == x or module.startswith(f"{x}.") for x in JUDGES_PACKAGES)


def _home_of(value: Any) -> str:
    """Name of the module that an object is, or is defined in; empty if it says none."""
    name = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", None)
    return name if isinstance(name, str) else ""
