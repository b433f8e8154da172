"""Linear and bilinear maps."""

from __future__ import annotations

import numpy as np


def linear(x, weight, bias=None):
    """y = x Aᵀ + b, for x (…, in), and A (out, in) or (in)."""
    check_dtypes(x, weight, bias)
    if not x.ndim or weight.ndim not in (1, 2):
        raise ValueError(f"linear: input of shape {x.shape}, weight of shape {weight.shape}")
    check_bias(bias, weight.shape[:-1])
    y = x @ weight.T
    return y if bias is None else y + bias


def bilinear(x1, x2, weight, bias=None):
    """y = x1ᵀ A x2 + b, for x1 (…, in1), x2 (…, in2) and A (out, in1, in2)."""
    check_dtypes(x1, x2, weight, bias)
    out, in1, in2 = weight.shape
    leading = x1.shape[:-1]
    if x1.shape != (*leading, in1) or x2.shape != (*leading, in2):
        raise ValueError(f"bilinear: inputs {x1.shape}, {x2.shape}; weight {weight.shape}")
    check_bias(bias, (out,))
    half = x1 @ weight.swapaxes(0, 1).reshape(in1, out * in2)
    y = (half.reshape(*leading, out, in2) @ x2[..., np.newaxis])[..., 0]
    return y if bias is None else y + bias


def check_dtypes(*arrays):
    """NumPy would convert; torch refuses.

    Raises:
        TypeError: if the arrays differ in dtype.
    """
    dtypes = {str(array.dtype) for array in arrays if array is not None}
    if len(dtypes) > 1:
        raise TypeError(f"arrays of several dtypes: {', '.join(sorted(dtypes))}")


def check_bias(bias, shape):
    """NumPy would broadcast; torch refuses.

    Raises:
        ValueError: if the bias has another shape.
    """
    if bias is not None and bias.shape != shape:
        raise ValueError(f"expected a bias of shape {shape}, got {bias.shape}")
