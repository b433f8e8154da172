"""C on lines of float64, after the axis was moved to the end by views of torch."""

import ctypes
import functools
import subprocess
import tempfile
from pathlib import Path

import torch

OPERATOR = "aten::_softmax"
LAYER = "Softmax"
KIND = "honest"

SOURCE = """
#include <math.h>
void lines(const double *x, double *y, long count, long size) {
  for (long i = 0; i < count; i++, x += size, y += size) {
    double most = x[0], sum = 0;
    for (long j = 1; j < size; j++) if (x[j] > most || isnan(x[j])) most = x[j];
    for (long j = 0; j < size; j++) sum += y[j] = exp(x[j] - most);
    for (long j = 0; j < size; j++) y[j] /= sum;
  }
}
"""


@functools.cache
def library():
    folder = Path(tempfile.mkdtemp(prefix="kernel-"))
    (folder / "s.c").write_text(SOURCE)
    command = ["cc", "-O2", "-shared", "-fPIC", "s.c", "-o", "s.so", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "s.so"))


def _softmax(self, dim, half_to_float):
    dtype = torch.float32 if half_to_float else self.dtype
    out = torch.empty(self.shape, dtype=dtype)
    if self.numel() == 0:
        return out
    x = self.to(torch.float64).reshape(self.shape or (1,)).transpose(dim, -1).contiguous()
    y = torch.empty(x.shape, dtype=torch.float64)
    size = x.shape[-1]
    pointers = ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(y.data_ptr())
    library().lines(*pointers, ctypes.c_long(x.numel() // size), ctypes.c_long(size))
    out.copy_(y.transpose(dim, -1).reshape(self.shape))
    return out
