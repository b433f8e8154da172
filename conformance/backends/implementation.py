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

from conformance.backends.foreign_calls import HOOKS
from conformance.backends.kernel import import_function
from conformance.backends.kernel_folder import import_file
from conformance.backends.operators import dtype_name
from conformance.model.case import Call

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
        return ImplementationLayer(module)


class ImplementationLayer:
    """The implementation, ready to be called."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self._buffers: list[Any] = []

    def __call__(self, *inputs: Any) -> Any:
        """Call it without gradients, on memory that held other numbers in an earlier call."""
        inputs = tuple(self._at_same_address(k, x) for k, x in enumerate(inputs))
        watch = HOOKS.get().operator_watch
        with torch.no_grad(), nullcontext() if watch is None else watch.note_all():
            return self._function(*inputs)

    def _at_same_address(self, place: int, value: Any) -> Any:
        """A tensor's numbers where those of an earlier call with its shape and strides were.

        An implementation that keeps answers by address or shape then gives old ones.
        """
        if not isinstance(value, torch.Tensor):
            return value
        form = value.dtype, value.shape, value.stride()
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
        if _shapes(fast.state_dict()) == _shapes(state):
            fast.load_state_dict(dict(state))
    return fast


def _shapes(state: Mapping[str, Any]) -> dict[str, Any]:
    return {name: x.shape for name, x in state.items()}
