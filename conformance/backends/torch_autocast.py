"""`torch.autocast`: a layer whose calls run in mixed precision."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import torch

from conformance.backends.torch_module import require_builtin_device
from conformance.model.case import Call

if TYPE_CHECKING:
    from conformance.spec.layer_spec import LayerSpec


class Autocast:
    """The member of a layer that runs it in autocast regions; `ModuleLayer` is one."""

    _call: Call
    _spec: LayerSpec | None
    _regions: tuple[str | None, ...] = ()

    def _call_torch(self, *inputs: Any, **keywords: Any) -> Any:
        raise NotImplementedError

    def autocast(self, regions: Sequence[str | None]) -> Self:
        """A layer of the same module whose calls run in nested regions.

        Derivatives are computed after the regions end. Where a call records gradients, the same
        call without gradients precedes it in each region, unless it changes its operands.

        Args:
            regions: dtype of each, from the outermost; None = disabled.
        """
        require_builtin_device(self._call)
        layer = copy.copy(self)
        layer._regions = tuple(regions)
        return layer

    def _call_in_regions(self, *inputs: Any, **keywords: Any) -> Any:
        device_type = torch.device(self._call.device).type
        may_repeat = self._spec is not None and not self._spec.traits.updates_state(self._call)
        with ExitStack() as stack:
            for dtype in self._regions:
                stack.enter_context(
                    torch.autocast(device_type, enabled=False)
                    if dtype is None
                    else torch.autocast(device_type, getattr(torch, dtype))
                )
                if may_repeat and torch.is_grad_enabled():
                    # Some functions change the shape of what they are given.
                    views = [None if x is None else x.detach() for x in inputs]
                    with torch.no_grad():
                        self._call_torch(*views, **keywords)
            return self._call_torch(*inputs, **keywords)
