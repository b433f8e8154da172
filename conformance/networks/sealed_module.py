"""An implementation of a module in a sealed process, called as if it were here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_leaves

from conformance.backends.delegation import base_name, call_logged, find_delegated
from conformance.backends.implementation import ModuleSettings, copy_inputs, set_module
from conformance.backends.sealed import SealedBackend
from conformance.backends.sealed_messages import SealedError
from conformance.backends.sealed_process import Native
from conformance.backends.torch_layouts import share_memory
from conformance.model.breaches import CHANGES, DELEGATES
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
        self._earlier: list[tuple[Native, np.ndarray]] = []

    def __call__(self, *inputs: Any) -> Any:
        """Call the implementation, and return its outputs as tensors of this process.

        The inputs that it has changed are changed here, too.
        """
        copies = copy_inputs(inputs)
        expected, operators = call_logged(self._module, copies)
        # A module may run other operators for other inputs.
        self._needed.add(operators)
        with self._asking():
            if self._layer is None:
                self._layer = self._backend.build(self._call)
            result, changed = self._layer(*inputs)
            for k, leaves in changed:
                for x, now in zip(tree_leaves(inputs[k]), leaves, strict=True):
                    if isinstance(x, torch.Tensor):
                        x.copy_(self._read(now)[1])
            earlier = list(self._earlier)
            outputs = self._as_tensors(result)
            if _share_memory(expected, copies):
                self._earlier = earlier  # where these outputs are, later inputs may be placed
            return outputs

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Requests to the process; what they raise is an `Exception`, whatever the code raised."""
        try:
            yield
        except SealedError:
            self._layer, self._earlier = None, []  # its process has ended
            raise
        except Exception:
            raise
        except BaseException as error:
            raise SealedError(f"it raised {type(error).__name__}") from error

    def load(self, state: Mapping[str, Any]) -> bool:
        """Build the implementation anew with another state; False if it takes none of a module."""
        self.compare_earlier()
        self._call = replace(self._call, state=dict(state))
        with self._asking():
            self._layer = self._backend.build(self._call)
            return set(self._layer.state()) == set(state)

    def compare_earlier(self) -> None:
        """Note a breach if an output of an earlier call is no longer what it was."""
        earlier, self._earlier = self._earlier, []
        for native, array in earlier if self._layer is not None else ():
            try:
                with self._asking():
                    now = self._layer.get(native)
            except Exception:
                self._backend.note_breach(CHANGES, "an output of an earlier call cannot be read")
                break
            if not np.array_equal(now, array, equal_nan=array.dtype.kind in "fc"):
                self._backend.note_breach(CHANGES, "an output changes with a later call")
                break

    def close(self) -> None:
        """End the process."""
        self._backend.close()

    def breaches(self, allowed: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
        """What the implementation did besides computing: kind → texts.

        Args:
            allowed: operators of torch that it may call.
        """
        self.compare_earlier()
        texts_by_kind: dict[str, tuple[str, ...]] = {}
        for kind, text in self._backend.breaches():
            texts_by_kind[kind] = (*texts_by_kind.get(kind, ()), text)
        names = set(map(base_name, allowed))
        ran = [x for x in self._backend.operators() if base_name(x) not in names]
        delegated = dict.fromkeys(x for needed in self._needed for x in find_delegated(needed, ran))
        if delegated:
            texts_by_kind[DELEGATES] = (*texts_by_kind.get(DELEGATES, ()), *delegated)
        return texts_by_kind

    def _as_tensors(self, value: Any) -> Any:
        if isinstance(value, Native):
            array, tensor = self._read(value)
            self._earlier.append((value, array))
            return tensor
        if isinstance(value, (tuple, list)):
            return tuple(map(self._as_tensors, value))
        if isinstance(value, Mapping):
            return {name: self._as_tensors(x) for name, x in value.items()}
        return value

    def _read(self, native: Any) -> tuple[np.ndarray, Any]:
        """The numbers of a native, and a tensor of this process with a copy of them."""
        array, dtype = self._layer.get(native), self._layer.dtype(native)
        return array, torch.from_numpy(array.copy()).to(getattr(torch, dtype))


def _share_memory(result: Any, inputs: Sequence[Any]) -> bool:
    """Whether a tensor in a result has memory of an input, as a view has."""
    input_tensors = [x for x in tree_leaves(inputs) if isinstance(x, torch.Tensor)]
    output_tensors = [x for x in tree_leaves(result) if isinstance(x, torch.Tensor)]
    return any(share_memory(x, y) for x in output_tensors for y in input_tensors)
