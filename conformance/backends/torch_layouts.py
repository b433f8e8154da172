"""The memory layouts of the contract for tensors of torch."""

from __future__ import annotations

import numpy as np
import torch

from conformance.backends.numpy_layouts import (
    Windows,
    enlarged_memory,
    gap_value,
    overlapping_windows,
    swapped_axes,
    unexpanded,
)
from conformance.model.case import Unsupported

_FORMATS = {4: torch.channels_last, 5: torch.channels_last_3d}


def apply_layout(tensor: torch.Tensor, array: np.ndarray, layout: str) -> torch.Tensor:
    """Copy a contiguous tensor into another memory layout.

    Args:
        array: the same numbers on the host; its bytes choose the variant of the layout.
        layout: a layout of the contract other than `"contiguous"`.

    Raises:
        Unsupported: if the shape has no such layout.
    """
    if layout == "channels_last" and tensor.dim() in _FORMATS:
        return tensor.to(memory_format=_FORMATS[tensor.dim()])
    if layout == "transposed" and (pair := swapped_axes(array)):
        return tensor.transpose(*pair).contiguous().transpose(*pair)
    if enlarged := enlarged_memory(array, layout):
        size, place = enlarged
        filling = gap_value(tensor.dtype == torch.int64)
        memory = torch.full(size, filling, dtype=tensor.dtype, device=tensor.device)
        part = memory[place]
        return (part if part.shape == tensor.shape else part.view(tensor.shape)).copy_(tensor)
    if layout == "expanded" and (first := unexpanded(array)) is not None:
        return tensor[tuple(slice(n) for n in first.shape)].contiguous().expand(tensor.shape)
    if layout == "unfolded" and (windows := overlapping_windows(array)):
        return _unfold(tensor, windows, array.shape[windows.axis])
    raise Unsupported(f"layout={layout!r} of shape {tuple(tensor.shape)}")


def _unfold(tensor: torch.Tensor, windows: Windows, size: int) -> torch.Tensor:
    """Lay the tensor out as overlapping windows of `size` places of a signal."""
    first, *further = tensor.unbind(windows.frames)
    tails = [x.narrow(windows.place, size - windows.step, windows.step) for x in further]
    signal = torch.cat([first, *tails], windows.place)
    order = windows.order(tensor.dim())
    return signal.unfold(windows.place, size, windows.step).permute(order)


def share_memory(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether the storages of two tensors overlap; another owner may begin within the first."""
    if a is b or a.layout != torch.strided or b.layout != torch.strided:
        return a is b
    first, second = a.untyped_storage(), b.untyped_storage()
    if a.is_meta and b.is_meta:
        return bool(first._cdata == second._cdata)  # all storages without memory begin at 0
    starts = first.data_ptr(), second.data_ptr()
    ends = starts[0] + first.nbytes(), starts[1] + second.nbytes()
    return a.device == b.device and max(starts) < min(ends)
