"""The tensor operators of networks in tinygrad: methods of `Tensor`."""

from __future__ import annotations

import operator

from tinygrad import Tensor

from conformance.backends.function_network import Operators

OPERATORS: Operators = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": Tensor.neg,
    "abs": Tensor.abs,
    "maximum": Tensor.maximum,
    "minimum": Tensor.minimum,
    "square": Tensor.square,
    "sqrt": Tensor.sqrt,
    "rsqrt": Tensor.rsqrt,
    "exp": Tensor.exp,
    "erf": Tensor.erf,
    "sigmoid": Tensor.sigmoid,
    "tanh": Tensor.tanh,
    "matmul": Tensor.matmul,
    "permute": lambda x, dims: x.permute(tuple(dims)),
    "transpose": lambda x, dim0, dim1: x.transpose(dim0, dim1),
    "reshape": lambda x, shape: x.reshape(*shape),
    "expand": lambda x, size: x.expand(*size),
    "index": lambda x, slices: x[tuple(slice(*part) for part in slices)],
    "squeeze": lambda x, dim: x.squeeze(dim),
    "unsqueeze": lambda x, dim: x.unsqueeze(dim),
    "select": lambda x, dim, index: x[(slice(None),) * (dim % x.ndim) + (index,)],
    "flip": lambda x, dims: x.flip(*dims),
    "cat": lambda first, *others, dim: first.cat(*others, dim=dim),
    "sum": lambda x, dim, keepdim=False: x.sum(axis=tuple(dim), keepdim=keepdim),
    "mean": lambda x, dim, keepdim=False: x.mean(axis=tuple(dim), keepdim=keepdim),
    "amax": lambda x, dim, keepdim=False: x.max(axis=tuple(dim), keepdim=keepdim),
    "amin": lambda x, dim, keepdim=False: x.min(axis=tuple(dim), keepdim=keepdim),
    "clamp": lambda x, **ends: x.clamp(ends["min"], ends["max"]),
}
