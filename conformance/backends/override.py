"""`OverrideBackend`: torch's layers, with functions under test in place of some operators."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from conformance.backends.kernel_dispatch import Overrides
from conformance.backends.module import ModuleBackend, ModuleLayer
from conformance.backends.operators import dispatch_key, find_operator
from conformance.model.case import Call, NotOffered
from conformance.model.checks import CHECK_FACTS
from conformance.model.untrusted import safe_repr, type_name


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
            got = safe_repr(overrides) if not isinstance(overrides, Mapping) else "none"
            raise TypeError(f"overrides: expected a mapping of operators to callables, got {got}")
        self._device = str(device)
        dispatch_key(self._device)
        self._overrides = Overrides(_resolve_overrides(overrides, self._device), invalid=errors)
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
        from conformance.backends.kernel_folder import load_functions

        folder = Path(path)
        return cls(name or folder.resolve().name, load_functions(folder), device, errors=errors)

    def info(self) -> Mapping[str, str]:
        """Facts about torch, and which function replaces which operator."""
        replacements = {
            override.operator.name: _function_text(override.function)
            for override in self._overrides.overrides
        }
        return {**super().info(), **replacements}

    def devices(self) -> Sequence[str]:
        """The device whose kernels are replaced; for `"cuda"` every CUDA device.

        Raises:
            RuntimeError: if torch sees no such device.
        """
        if torch.device(self._device).type in ("cpu", "cuda"):
            device_type, _, index = self._device.partition(":")
            matches = [
                d for d in super().devices() if d == self._device or d.split(":")[0] == device_type
            ]
            matches = [d for d in matches if not index or d == self._device or device_type == "cpu"]
            if not matches:
                raise RuntimeError(f"device {self._device!r}: torch sees no such device")
            return tuple(matches)
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
        self._overrides, self._hits_after_forward = overrides, 0

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Call without recording a gradient.

        Raises:
            Unreached: if the call runs no function under test.
        """
        with self._overrides.require_hit():
            return super().__call__(*inputs, **keywords)

    def _forward(self, *inputs: Any, **keywords: Any) -> Any:
        with self._overrides:
            result = super()._forward(*inputs, **keywords)
        self._hits_after_forward = self._overrides.total_hits
        return result

    def forward_grad(self, *inputs: Any, **keywords: Any) -> Any:
        """Call while gradients are recorded, and return the outputs."""
        self._overrides.reset_fallbacks()
        return super().forward_grad(*inputs, **keywords)

    def _pull_back(
        self,
        wanted: Collection[str] | None,
        inputs: Sequence[Any],
        cotangents: Sequence[Any],
        keywords: Mapping[str, Any],
    ) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        extra_hits_before = self._overrides.multi_result_hits
        with self._overrides.require_hit(), self._overrides:
            result = super()._pull_back(wanted, inputs, cotangents, keywords)
        # torch's own backward pass uses the extra results that the forward pass saves for it.
        if (
            self._overrides.total_hits == self._hits_after_forward
            and self._overrides.multi_result_hits == extra_hits_before
        ):
            raise NotOffered(f"gradients not offered: {_backward_text(result[0])} is torch's own")
        return result

    def accumulate(
        self,
        inputs: Sequence[Any],
        calls: Sequence[Sequence[Sequence[Any]]],
        **keywords: Any,
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Gradients that several backward passes add up."""
        with self._overrides.require_hit(), self._overrides:
            return super().accumulate(inputs, calls, **keywords)

    def fallbacks(self) -> Sequence[str]:
        """The operators that their own replacements have called."""
        return self._overrides.fallen_back_operators()


def _resolve_overrides(overrides: Mapping[str, Any], device: str) -> list[tuple[Any, Any]]:
    resolved: dict[str, tuple[Any, Any]] = {}
    for name, function in overrides.items():
        target = find_operator(name, device)
        target.check_signature(function)
        if target.name in resolved:
            raise ValueError(f"operator {name!r}: {target.name} is named twice")
        resolved[target.name] = target, function
    return list(resolved.values())


def _function_text(function: Any) -> str:
    """A function as the report names it: `"kernels.addmm"`."""
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None) or type_name(function)
    return f"{module}.{name}" if isinstance(module, str) else str(name)


def _backward_text(result: Any) -> str:
    """Names of torch's backward functions of the outputs: `"AddmmBackward0"`."""
    outputs = result if isinstance(result, tuple) else (result,)
    nodes = [x.grad_fn.name() for x in outputs if getattr(x, "grad_fn", None) is not None]
    return ", ".join(dict.fromkeys(nodes)) or "the backward pass"
