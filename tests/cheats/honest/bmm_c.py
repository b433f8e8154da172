"""C over the whole batch, on float64 copies, with a long double for each sum."""

import ctypes
import functools
import subprocess
import tempfile
from pathlib import Path

import torch

OPERATOR = "aten::bmm"
LAYER = "Bilinear"
KIND = "honest"

SOURCE = """
void bmm(const double *a, const double *b, double *c, const long *s) {
  long m = s[1], k = s[2], n = s[3];
  for (long t = 0; t < s[0]; t++, a += m * k, b += k * n)
    for (long i = 0; i < m; i++)
      for (long j = 0; j < n; j++) {
        long double sum = 0;
        for (long p = 0; p < k; p++) sum += (long double)a[i * k + p] * b[p * n + j];
        *c++ = (double)sum;
      }
}
"""


@functools.cache
def library():
    folder = Path(tempfile.mkdtemp(prefix="kernel-"))
    command = ["cc", "-O2", "-shared", "-fPIC", "-x", "c", "-", "-o", str(folder / "bmm.so")]
    subprocess.run(command, input=SOURCE.encode(), check=True)
    return ctypes.CDLL(str(folder / "bmm.so"))


def bmm(self, mat2):
    (batch, m, k), n = self.shape, mat2.shape[2]
    a, b = (x.to(torch.float64).contiguous() for x in (self, mat2))
    out = torch.empty(batch, m, n, dtype=torch.float64)
    sizes = (ctypes.c_long * 4)(batch, m, k, n)
    library().bmm(*(ctypes.c_void_p(x.data_ptr()) for x in (a, b, out)), sizes)
    return out.to(self.dtype)
