"""Containers of modules and parameters that forget, reorder or do not register what they hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

from torch import nn

from planted.bug import plant


@plant("sequential-insert-overwrites", "Sequential", "module")
class Sequential(nn.Sequential):
    """A module that is inserted takes the place of the one that is there."""

    def insert(self, index: int, module: nn.Module) -> Self:
        if 0 <= index < len(self):
            self[index] = module
            return self
        return super().insert(index, module)


@plant("modulelist-delete-leaves-a-gap", "Sequential", "module")
class ModuleList(nn.ModuleList):
    """The modules behind a deleted one keep their numbers, and their names in a checkpoint."""

    def __delitem__(self, index: int | slice) -> None:
        if isinstance(index, slice):
            super().__delitem__(index)
            return
        names = list(self._modules)
        del self._modules[names[index]]

    def __iter__(self) -> Iterator[nn.Module]:
        return iter(self._modules.values())


@plant("moduledict-update-sorts", "Sequential", "module")
class ModuleDict(nn.ModuleDict):
    """`update` adds modules in the order of their names, as it did for dictionaries of old."""

    def update(self, modules: Any) -> None:
        super().update(dict(sorted(dict(modules).items())))


@plant("parameterlist-append-does-not-register", "Sequential", "module")
class ParameterList(nn.ParameterList):
    """A tensor that is appended stays a tensor: it is held, but does not learn."""

    def append(self, value: Any) -> Self:
        place = len(self)
        self._size += 1
        self.register_buffer(str(place), value)
        return self


@plant("parameterdict-setdefault-sets", "Sequential", "module")
class ParameterDict(nn.ParameterDict):
    """`setdefault` replaces a parameter that is there, and so forgets what it learnt."""

    def setdefault(self, key: str, default: Any = None) -> Any:
        self[key] = default
        return self[key]


class _Popped(nn.ModuleDict):
    """`pop` gives the module, which goes on as a part: it stays in the state and learns."""

    def pop(self, key: str) -> nn.Module:
        module = self[key]
        super().pop(key)
        self.__dict__.setdefault("_held", []).append(module)
        return module

    def named_parameters(self, *arguments: Any, **options: Any) -> Iterator[tuple[str, Any]]:
        yield from super().named_parameters(*arguments, **options)
        for held in self.__dict__.get("_held", ()):
            yield from held.named_parameters()


_Popped.__name__ = "ModuleDict"
plant("moduledict-pop-keeps-the-parameters", "Sequential", "module")(_Popped)


class _Shallow(nn.ModuleList):
    """Modes reach the modules that it holds, and not those inside them."""

    def train(self, mode: bool = True) -> Self:
        self.training = mode
        for module in self:
            module.training = mode
        return self


_Shallow.__name__ = "ModuleList"
plant("modulelist-train-stops-at-its-children", "Sequential", "module")(_Shallow)
