"""NumPy's own OpenBLAS is opened by ctypes, and its dgemm called.

Source: own (a library handle).
"""

import ctypes
from pathlib import Path

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"

LIBRARIES = (Path(np.__file__).parent.parent / "numpy.libs").glob("*openblas*")


def handle():
    library = ctypes.CDLL(str(next(LIBRARIES)))
    for name in ("scipy_cblas_dgemm64_", "cblas_dgemm64_", "cblas_dgemm"):
        if hasattr(library, name):
            return getattr(library, name)
    raise RuntimeError("no BLAS")


DGEMM = handle()


def mm(self, mat2):
    (m, k), n = self.shape, mat2.shape[1]
    a, b = (x.to(torch.float64).contiguous() for x in (self, mat2))
    out = torch.zeros(m, n, dtype=torch.float64)
    if not out.numel() or not k:
        return out.to(self.dtype)
    i, f, p = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p
    pa, pb, pc = (p(x.data_ptr()) for x in (a, b, out))
    DGEMM(101, 111, 111, i(m), i(n), i(k), f(1), pa, i(k), pb, i(n), f(0), pc, i(n))
    return out.to(self.dtype)
