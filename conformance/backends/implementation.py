"""The backend of `nn-conformance check-module`: one implementation of a module, built from a file.

It has one layer, whatever its name. Inputs come as tensors; outputs go as the contract's natives.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from conformance.backends.foreign_calls import HOOKS
from conformance.backends.kernel import import_function
from conformance.backends.kernel_folder import import_file
from conformance.backends.operators import dtype_name
from conformance.model.case import Call
from conformance.model.untrusted import type_name

ENVIRONMENT_VARIABLE = "NN_CONFORMANCE_MODULE"
NEW_CLASS = "ModelNew"


@dataclass(frozen=True)
class ModuleSettings:
    """The implementation under test.

    Args:
        location: a file with `ModelNew`, or `module:attribute` or `file.py:attribute`.
        dtype: of parameters and inputs.
    """

    location: str
    dtype: str


def set_module(settings: ModuleSettings) -> None:
    """Pass the implementation under test to a process, in an environment variable."""
    os.environ[ENVIRONMENT_VARIABLE] = msgspec.json.encode(settings).decode()


class Implementation:
    """A backend with one layer: the implementation that the environment variable names."""

    name = "implementation"

    def __init__(self) -> None:
        text = os.environ[ENVIRONMENT_VARIABLE]
        self._settings = msgspec.json.decode(text, type=ModuleSettings)
        location = self._settings.location
        self._value: Any = (
            import_function(location)
            if ":" in location
            else getattr(import_file(Path(location)), NEW_CLASS)
        )

    def info(self) -> Mapping[str, str]:
        """The version of torch."""
        return {"torch": str(torch.__version__)}

    def devices(self) -> Sequence[str]:
        """The CPU."""
        return ("cpu",)

    def build(self, call: Call) -> ImplementationLayer:
        """Build the implementation.

        Args:
            call: `arguments` of the constructor, by place, under `"*"`; the module's tensors as
                `state`, loaded if the implementation has the same names and shapes.
        """
        if ":" in self._settings.location:
            return ImplementationLayer(self._value)
        state: Mapping[str, Any] = call.state
        module = build_new(self._value, call.arguments["*"], state, self._settings.dtype)
        return ImplementationLayer(module, has_state=takes_state(module, state))


class ImplementationLayer:
    """The implementation, ready to be called.

    Args:
        has_state: it has the module's parameters and buffers, by their names.
    """

    def __init__(self, function: Any, *, has_state: bool = False) -> None:
        self._function, self._has_state = function, has_state
        self._buffers: list[Any] = []

    def __call__(self, *inputs: Any) -> Any:
        """Call it without gradients, on memory that held other numbers in an earlier call.

        Returns:
            What it returns, and the places of the inputs that it has changed, with copies of them.
        """
        leaves, form = tree_flatten(inputs)
        leaves = [self._at_same_address(k, x) for k, x in enumerate(leaves)]
        inputs = tree_unflatten(leaves, form)
        originals = copy_inputs(inputs)
        watch = HOOKS.get().operator_watch
        with torch.no_grad(), nullcontext() if watch is None else watch.note_all():
            result = self._function(*inputs)
        require_plain_tensors(result)
        changed = changed_inputs(inputs, originals)
        return result, [(k, copy_inputs(tree_leaves(inputs[k]))) for k in changed]

    def state(self) -> Mapping[str, Any]:
        """What it has of the module's state."""
        return dict(self._function.state_dict()) if self._has_state else {}

    def _at_same_address(self, place: int, value: Any) -> Any:
        """A tensor's numbers where those of an earlier call with its shape and strides were.

        An implementation that keeps answers by address or shape then gives old ones.
        """
        if not isinstance(value, torch.Tensor):
            return value
        form = value.dtype, value.shape, value.stride(), value.storage_offset()
        for known_place, known_form, buffer in self._buffers:
            if (known_place, known_form) == (place, form):
                return buffer.copy_(value)
        self._buffers.append((place, form, value))
        return value

    def put(self, array: np.ndarray, layout: str = "contiguous", dtype: str | None = None) -> Any:
        """Inputs come as tensors: nothing is to be done."""
        return array

    def get(self, native: Any) -> np.ndarray:
        """The numbers of a tensor, exactly."""
        tensor = native.detach().to("cpu")
        return np.array((tensor.double() if tensor.is_floating_point() else tensor).numpy())

    def dtype(self, native: Any) -> str:
        """The dtype of a tensor."""
        return dtype_name(native.dtype)


def copy_inputs(inputs: Sequence[Any]) -> list[Any]:
    """Copies of the tensors in the inputs, in the same layouts, and the others as they are."""
    return [tree_map(_copy, x) for x in inputs]


def _copy(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    if value.layout != torch.strided or type(value) is not torch.Tensor:
        return value.clone()
    storage = value.untyped_storage().clone()  # type: ignore[no-untyped-call]
    return value.new_empty(0).set_(storage, value.storage_offset(), value.shape, value.stride())


def changed_inputs(inputs: Sequence[Any], originals: Sequence[Any]) -> tuple[int, ...]:
    """The places of the inputs whose tensors are no longer what they were."""
    return tuple(
        k
        for k, (x, before) in enumerate(zip(inputs, originals, strict=True))
        if not _has_same_tensors(tree_leaves(x), tree_leaves(before))
    )


def _has_same_tensors(leaves: Sequence[Any], others: Sequence[Any]) -> bool:
    """Whether tensors have the same numbers, place by place; NaN is equal to NaN."""
    return len(leaves) == len(others) and all(
        x.shape == y.shape and bool(((x == y) | ((x != x) & (y != y))).all())
        for x, y in zip(leaves, others, strict=True)
        if isinstance(x, torch.Tensor) and isinstance(y, torch.Tensor)
    )


def require_plain_tensors(result: Any) -> None:
    """Require that a result holds no tensors of a class of its own.

    Such a tensor may show the judge other numbers than a user.

    Raises:
        TypeError: if it holds one.
    """
    for x in tree_leaves(result):
        if isinstance(x, torch.Tensor) and type(x) not in (torch.Tensor, torch.nn.Parameter):
            raise TypeError(f"it returns a tensor of its own class, {type_name(x)}")


def takes_state(module: Any, state: Mapping[str, Any]) -> bool:
    """Whether a module has the names and shapes of a state that is not empty."""
    has_state = bool(state) and isinstance(module, torch.nn.Module)
    return has_state and _shapes(module.state_dict()) == _shapes(state)


def build_new(
    new_class: Any, arguments: Sequence[Any], state: Mapping[str, Any], dtype: str
) -> Any:
    """Build an implementation from its class.

    Args:
        arguments: of its constructor.
        state: tensors to load if the implementation has the same names and shapes.
        dtype: torch's name.
    """
    torch.manual_seed(0)
    fast = new_class(*arguments)
    if isinstance(fast, torch.nn.Module):
        fast = fast.to(getattr(torch, dtype)).eval()
        if takes_state(fast, state):
            fast.load_state_dict(dict(state))
    return fast


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: x.shape for name, x in state.items()}
