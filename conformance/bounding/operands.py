"""Tensors of torch, NumPy and DLPack as arrays of the suite, and back."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformance.model.formats import FORMATS, REAL_DTYPE

_WIDE = {"f": np.float64, "c": np.complex128, "i": np.int64, "u": np.int64, "b": np.bool_}
_NUMPY_NAMES = {"bool": "bool", "complex64": "complex64", "complex128": "complex128"}


@dataclass(frozen=True)
class Operand:
    """A tensor of the caller.

    Args:
        array: its numbers, as float64, complex128, int64 or bool.
        dtype: torch's name of its dtype.
        device: its device; `"cpu"` if it does not tell.
        library: `"torch"` or `"numpy"`.
    """

    array: np.ndarray
    dtype: str
    device: str
    library: str


def is_array(value: Any) -> bool:
    """Whether a value is a tensor or an array, not a number or a list of numbers."""
    return isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__dlpack__")


def read_operand(name: str, value: Any) -> Operand:
    """Read a tensor of the caller.

    Args:
        name: for messages.

    Raises:
        TypeError: if the value is no tensor, or one without numbers.
        ValueError: for a dtype that torch.nn does not have.
    """
    torch = sys.modules.get("torch")
    if torch is not None and not isinstance(value, (np.ndarray, np.generic)):
        if not isinstance(value, torch.Tensor) and hasattr(value, "__dlpack__"):
            value = torch.from_dlpack(value)
        if isinstance(value, torch.Tensor):
            return _read_tensor(name, value)
    if not is_array(value):
        raise TypeError(f"{name}: expected a tensor or an array, got {type(value).__name__}")
    array = np.asarray(value) if isinstance(value, np.generic) else value
    if not isinstance(array, np.ndarray):
        try:
            array = np.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError) as error:
            raise TypeError(f"{name}: NumPy cannot read its numbers: {error}") from error
    dtype = str(array.dtype)
    if dtype not in (*FORMATS, *REAL_DTYPE) and array.dtype.kind not in "iub":
        raise ValueError(f"{name}: dtype {dtype} is none of torch.nn")
    # A bfloat16 of `ml_dtypes` is of no kind of NumPy's own.
    wide = _WIDE.get(array.dtype.kind, np.float64)
    return Operand(array.astype(wide), _NUMPY_NAMES.get(dtype, dtype), "cpu", "numpy")


def _read_tensor(name: str, tensor: Any) -> Operand:
    torch = sys.modules["torch"]
    if tensor.device.type == "meta":
        raise TypeError(f"{name}: a tensor on device 'meta' has no numbers")
    dtype, dense = str(tensor.dtype).removeprefix("torch."), tensor.detach().cpu()
    if dense.layout != torch.strided:
        dense = dense.to_dense()
    if tensor.is_complex():
        wide = torch.complex128
    elif tensor.dtype == torch.bool:
        wide = torch.bool
    else:
        wide = torch.float64 if tensor.is_floating_point() else torch.int64
    array = np.array(dense.to(wide).resolve_conj().resolve_neg().numpy())
    return Operand(array, dtype, str(tensor.device), "torch")


def as_library(array: np.ndarray, library: str) -> Any:
    """The array as a tensor on the CPU, if the caller's operands are tensors of torch."""
    return sys.modules["torch"].from_numpy(np.array(array)) if library == "torch" else array


def leaves_in(value: Any) -> Iterator[Any]:
    """All objects in nested tuples, lists and mappings, without None."""
    if isinstance(value, (tuple, list)):
        for x in value:
            yield from leaves_in(x)
    elif isinstance(value, dict):
        for x in value.values():
            yield from leaves_in(x)
    elif value is not None:
        yield value
