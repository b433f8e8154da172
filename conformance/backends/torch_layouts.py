"""Tensors of torch in the memory layouts that a case can ask for."""

from __future__ import annotations

import numpy as np
import torch

from conformance.backends.numpy_layouts import repeated, room, spoiled, swapped
from conformance.model.case import Unsupported

_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def laid_out(tensor: torch.Tensor, array: np.ndarray, layout: str) -> torch.Tensor:
    """The same numbers in another memory layout.

    Args:
        tensor: contiguous.
        array: its numbers on the host; they choose among the forms of a layout.
        layout: of the contract, other than `"contiguous"`.

    Raises:
        Unsupported: if the shape has no such layout.
    """
    if layout == "channels_last" and tensor.dim() in _FORMATS:
        return tensor.to(memory_format=_FORMATS[tensor.dim()])
    if layout == "transposed" and (pair := swapped(array)):
        return tensor.transpose(*pair).contiguous().transpose(*pair)
    if found := room(array, layout):
        size, place = found
        filling = spoiled(tensor.dtype == torch.int64)
        memory = torch.full(size, filling, dtype=tensor.dtype, device=tensor.device)
        part = memory[place]
        return (part if part.shape == tensor.shape else part.view(tensor.shape)).copy_(tensor)
    if layout == "expanded" and (first := repeated(array)) is not None:
        return tensor[tuple(slice(n) for n in first.shape)].contiguous().expand(tensor.shape)
    raise Unsupported(f"layout={layout!r} of shape {tuple(tensor.shape)}")
