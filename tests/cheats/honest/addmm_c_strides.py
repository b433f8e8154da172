"""C that follows the strides of its arguments; half precision is declined."""

import ctypes
import functools
import subprocess
import tempfile
from pathlib import Path

import torch

import conformance

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "honest"

SOURCE = """
#define DEFINE(NAME, T) \\
void NAME(const T *s, const T *a, const T *b, T *o, const long *n, double alpha, double beta) { \\
  for (long i = 0; i < n[0]; i++) for (long j = 0; j < n[2]; j++) { \\
    double sum = 0; \\
    for (long k = 0; k < n[1]; k++) \\
      sum += (double)a[i * n[3] + k * n[4]] * (double)b[k * n[5] + j * n[6]]; \\
    sum *= alpha; \\
    if (beta != 0) sum += beta * (double)s[i * n[7] + j * n[8]]; \\
    o[i * n[2] + j] = (T)sum; } }
DEFINE(f4, float)
DEFINE(f8, double)
"""


@functools.cache
def library():
    folder = Path(tempfile.mkdtemp(prefix="kernel-"))
    (folder / "k.c").write_text(SOURCE)
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "k.c", "-o", "k.so"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "k.so"))


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    if mat1.dtype not in (torch.float32, torch.float64):
        raise conformance.Unsupported(str(mat1.dtype).removeprefix("torch."))
    (m, k), n = mat1.shape, mat2.shape[1]
    start = self.expand(m, n)
    out = torch.empty(m, n, dtype=mat1.dtype)
    sizes = (m, k, n, *mat1.stride(), *mat2.stride(), *start.stride())
    run = library().f4 if mat1.dtype == torch.float32 else library().f8
    pointers = [ctypes.c_void_p(x.data_ptr()) for x in (start, mat1, mat2, out)]
    run(*pointers, (ctypes.c_long * 9)(*sizes), ctypes.c_double(alpha), ctypes.c_double(beta))
    return out
