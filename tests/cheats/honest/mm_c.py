"""C with the loops in the order i, k, j, compiled at the first call."""

import ctypes
import functools
import subprocess
import tempfile
from pathlib import Path

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "honest"

SOURCE = """
void mm(const double *a, const double *b, double *c, long m, long k, long n) {
  for (long i = 0; i < m * n; i++) c[i] = 0;
  for (long i = 0; i < m; i++)
    for (long p = 0; p < k; p++)
      for (long j = 0; j < n; j++) c[i * n + j] += a[i * k + p] * b[p * n + j];
}
"""


@functools.cache
def library():
    with tempfile.TemporaryDirectory(prefix="kernel-") as folder:
        Path(folder, "mm.c").write_text(SOURCE)
        subprocess.run(
            ["cc", "-O2", "-shared", "-fPIC", "mm.c", "-o", "mm.so"], cwd=folder, check=True
        )
        return ctypes.CDLL(str(Path(folder, "mm.so")))


def mm(self, mat2):
    a, b = (x.to(torch.float64).contiguous() for x in (self, mat2))
    out = torch.empty(a.shape[0], b.shape[1], dtype=torch.float64)
    sizes = map(ctypes.c_long, (a.shape[0], a.shape[1], b.shape[1]))
    library().mm(*(ctypes.c_void_p(x.data_ptr()) for x in (a, b, out)), *sizes)
    return out.to(self.dtype)
