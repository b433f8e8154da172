"""An implementation of a module in a sealed process, called as if it were here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from conformance.backends.delegation import base_name, find_delegated, operators_of
from conformance.backends.implementation import ModuleSettings, set_module
from conformance.backends.sealed import SealedBackend
from conformance.backends.sealed_messages import SealedError
from conformance.backends.sealed_process import Native
from conformance.model.breaches import DELEGATES
from conformance.model.case import Call
from conformance.model.protocols import MODULE_BACKEND

CALL_SECONDS = 60.0
"""Seconds that a call of an implementation may take."""


class SealedModule:
    """An implementation of a module in a sealed process.

    Args:
        settings: the implementation.
        module: the module whose work it does.
        arguments: of its constructor.

    Raises:
        BackendError: if it cannot be loaded.
    """

    def __init__(
        self, settings: ModuleSettings, module: Callable[..., Any], arguments: Sequence[Any]
    ) -> None:
        set_module(settings)
        self._backend = SealedBackend(MODULE_BACKEND, CALL_SECONDS)
        self._module, self._needed = module, set[tuple[str, ...]]()
        state = module.state_dict() if isinstance(module, torch.nn.Module) else {}
        self._call = Call("implementation", {"*": tuple(arguments)}, state, settings.dtype, "cpu")
        self._layer: Any = None

    def __call__(self, *inputs: Any) -> Any:
        """Call the implementation, and return its outputs as tensors of this process."""
        # A module may run other operators for other inputs.
        self._needed.add(operators_of(self._module, inputs))
        try:
            if self._layer is None:
                self._layer = self._backend.build(self._call)
            return _as_tensors(self._layer, self._layer(*inputs))
        except SealedError:
            self._layer = None  # its process has ended
            raise
        except BaseException as error:
            if isinstance(error, Exception):
                raise
            raise SealedError(f"it raised {type(error).__name__}") from error

    def close(self) -> None:
        """End the process."""
        self._backend.close()

    def breaches(self, allowed: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
        """What the implementation did besides computing: kind → texts.

        Args:
            allowed: operators of torch that it may call.
        """
        texts_by_kind: dict[str, tuple[str, ...]] = {}
        for kind, text in self._backend.breaches():
            texts_by_kind[kind] = (*texts_by_kind.get(kind, ()), text)
        names = set(map(base_name, allowed))
        ran = [x for x in self._backend.operators() if base_name(x) not in names]
        delegated = dict.fromkeys(x for needed in self._needed for x in find_delegated(needed, ran))
        if delegated:
            texts_by_kind[DELEGATES] = (*texts_by_kind.get(DELEGATES, ()), *delegated)
        return texts_by_kind


def _as_tensors(layer: Any, value: Any) -> Any:
    if isinstance(value, Native):
        array, dtype = layer.get(value), layer.dtype(value)
        return torch.from_numpy(array).to(getattr(torch, dtype))
    if isinstance(value, (tuple, list)):
        return tuple(_as_tensors(layer, x) for x in value)
    if isinstance(value, Mapping):
        return {name: _as_tensors(layer, x) for name, x in value.items()}
    return value
