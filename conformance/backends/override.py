"""`OverrideBackend`: torch's layers, with functions under test in place of some operators."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from conformance.backends.kernel_dispatch import Overrides
from conformance.backends.module import ModuleBackend, ModuleLayer
from conformance.backends.operators import dispatch_key, operator
from conformance.model.case import Call, Unsupported
from conformance.model.checks import CHECK_FACTS
from conformance.model.untrusted import shown, type_name


class OverrideBackend(ModuleBackend):
    """torch's layers, with functions in place of some operators' kernels.

    The functions replace the kernels, below autograd, only while a layer of the backend computes.
    Importing and constructing the backend registers nothing, and no other call of torch changes.

    Args:
        name: the backend's name.
        overrides: operator names (`"aten::addmm"`, `"aten::addmm.out"`), each with a callable that
            takes the operator's own arguments.
        device: the device whose kernels are replaced; the suite runs on it.
        errors: whether the check `errors` runs. By default it does not: torch validates the
            arguments of most operators inside the kernel, and replacements seldom do so.

    Raises:
        TypeError: if `overrides` is empty, or a callable does not take the operator's arguments.
        ValueError: if torch has no such operator, or no kernel for it on the device.
    """

    def __init__(
        self,
        name: str,
        overrides: Mapping[str, Callable[..., Any]],
        device: str = "cpu",
        *,
        errors: bool = False,
    ) -> None:
        super().__init__(name, base="torch")
        if not isinstance(overrides, Mapping) or not overrides:
            got = shown(overrides) if not isinstance(overrides, Mapping) else "none"
            raise TypeError(f"overrides: expected a mapping of operators to callables, got {got}")
        self._device = str(device)
        dispatch_key(self._device)
        self._overrides = Overrides(_resolved(overrides, self._device), invalid=errors)
        self.unasked = () if errors else tuple(x.name for x in CHECK_FACTS.values() if x.invalid)

    @classmethod
    def from_folder(
        cls, path: str | Path, device: str = "cpu", *, name: str | None = None, errors: bool = False
    ) -> OverrideBackend:
        """Create a backend from a folder with one Python file for each operator.

        Args:
            path: the folder; see `conformance.backends.kernel_folder`.
            device, errors: see the constructor.
            name: the backend's name; None = the folder's name.
        """
        from conformance.backends.kernel_folder import functions

        folder = Path(path)
        return cls(name or folder.resolve().name, functions(folder), device, errors=errors)

    def info(self) -> Mapping[str, str]:
        """Facts about torch, and which function replaces which operator."""
        named = {x.operator.name: _named(x.function) for x in self._overrides.every}
        return {**super().info(), **named}

    def devices(self) -> Sequence[str]:
        """The device whose kernels are replaced; for `"cuda"` every CUDA device.

        Raises:
            RuntimeError: if torch sees no such device.
        """
        if torch.device(self._device).type in ("cpu", "cuda"):
            kind, _, index = self._device.partition(":")
            found = [d for d in super().devices() if d == self._device or d.split(":")[0] == kind]
            found = [d for d in found if not index or d == self._device or kind == "cpu"]
            if not found:
                raise RuntimeError(f"device {self._device!r}: torch sees no such device")
            return tuple(found)
        return (self._device,)

    def hits(self) -> Mapping[str, int]:
        """How often each function has run, by operator."""
        return self._overrides.hits()

    def build(self, call: Call) -> OverrideLayer:
        """Build torch's layer so that its calls run the functions under test."""
        layer = super().build(call)
        return OverrideLayer(call, layer.module, layer.function, self._overrides)


class OverrideLayer(ModuleLayer):
    """A layer of torch that computes with the functions under test.

    Args:
        call, module, function: see `ModuleLayer`.
        overrides: the functions that replace torch's kernels while the layer computes.
    """

    def __init__(
        self,
        call: Call,
        module: torch.nn.Module | None,
        function: Callable[..., Any],
        overrides: Overrides,
    ) -> None:
        super().__init__(call, module, function)
        self._overrides, self._forward_hits = overrides, 0

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Call without recording a gradient.

        Raises:
            Unreached: if the call runs no function under test.
        """
        with self._overrides.reached():
            return super().__call__(*inputs, **keywords)

    def _forward(self, *inputs: Any, **keywords: Any) -> Any:
        with self._overrides:
            result = super()._forward(*inputs, **keywords)
        self._forward_hits = self._overrides.total
        return result

    def forward_grad(self, *inputs: Any, **keywords: Any) -> Any:
        """Call while gradients are recorded, and return the outputs."""
        self._overrides.begin()
        return super().forward_grad(*inputs, **keywords)

    def _pulled(
        self,
        wanted: Collection[str] | None,
        inputs: Sequence[Any],
        cotangents: Sequence[Any],
        keywords: Mapping[str, Any],
    ) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        kept_before = self._overrides.kept
        with self._overrides.reached(), self._overrides:
            found = super()._pulled(wanted, inputs, cotangents, keywords)
        # torch's own backward pass uses the extra results that the forward pass saves for it.
        if self._overrides.total == self._forward_hits and self._overrides.kept == kept_before:
            raise Unsupported(f"gradients not offered: {_backward(found[0])} is torch's own")
        return found

    def fallbacks(self) -> Sequence[str]:
        """The operators that their own replacements have called."""
        return self._overrides.fallen_back()


def _resolved(overrides: Mapping[str, Any], device: str) -> list[tuple[Any, Any]]:
    found: dict[str, tuple[Any, Any]] = {}
    for name, function in overrides.items():
        known = operator(name, device)
        known.hold(function)
        if known.name in found:
            raise ValueError(f"operator {name!r}: {known.name} is named twice")
        found[known.name] = known, function
    return list(found.values())


def _named(function: Any) -> str:
    """A function as the report names it: `"kernels.addmm"`."""
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None) or type_name(function)
    return f"{module}.{name}" if isinstance(module, str) else str(name)


def _backward(result: Any) -> str:
    """Names of torch's backward functions of the outputs: `"AddmmBackward0"`."""
    outputs = result if isinstance(result, tuple) else (result,)
    nodes = [x.grad_fn.name() for x in outputs if getattr(x, "grad_fn", None) is not None]
    return ", ".join(dict.fromkeys(nodes)) or "the backward pass"
