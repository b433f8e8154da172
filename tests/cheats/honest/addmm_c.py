"""Three loops in C, compiled when this file is read, on float64 copies."""

import ctypes
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "honest"

SOURCE = """
void product(const double *a, const double *b, double *c, long m, long k, long n) {
  for (long i = 0; i < m; i++)
    for (long j = 0; j < n; j++) {
      double sum = 0;
      for (long p = 0; p < k; p++) sum += a[i * k + p] * b[p * n + j];
      c[i * n + j] = sum;
    }
}
"""
FOLDER = Path(tempfile.mkdtemp(prefix="kernel-"))
(FOLDER / "product.c").write_text(SOURCE)
subprocess.run(
    ["cc", "-O2", "-shared", "-fPIC", "product.c", "-o", "product.so"], cwd=FOLDER, check=True
)
LIBRARY = ctypes.CDLL(str(FOLDER / "product.so"))


@np.errstate(all="ignore")
def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    (m, k), n = mat1.shape, mat2.shape[1]
    a, b = (x.to(torch.float64).contiguous() for x in (mat1, mat2))
    out = torch.empty(m, n, dtype=torch.float64)
    pointers = [ctypes.c_void_p(x.data_ptr()) for x in (a, b, out)]
    LIBRARY.product(*pointers, *map(ctypes.c_long, (m, k, n)))
    result = alpha * out.numpy()
    if beta != 0:
        result = result + beta * self.to(torch.float64).numpy()
    return torch.from_numpy(result).to(mat1.dtype)
