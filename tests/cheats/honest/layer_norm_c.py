"""C, one row at a time on float64 copies; mean and 1/σ come from it, too."""

import ctypes
import functools
import math
import subprocess
import tempfile
from pathlib import Path

import torch

OPERATOR = "aten::native_layer_norm"
LAYER = "LayerNorm"
KIND = "honest"

SOURCE = """
#include <math.h>
void rows(const double *x, const double *w, const double *b, double *y, double *mean,
          double *rstd, long count, long size, double eps) {
  for (long i = 0; i < count; i++, x += size, y += size) {
    double sum = 0, squares = 0;
    for (long j = 0; j < size; j++) sum += x[j];
    mean[i] = sum / size;
    for (long j = 0; j < size; j++) squares += (x[j] - mean[i]) * (x[j] - mean[i]);
    rstd[i] = 1 / sqrt(squares / size + eps);
    for (long j = 0; j < size; j++) {
      y[j] = (x[j] - mean[i]) * rstd[i];
      if (w) y[j] *= w[j];
      if (b) y[j] += b[j];
    }
  }
}
"""


@functools.cache
def library():
    folder = Path(tempfile.mkdtemp(prefix="kernel-"))
    (folder / "n.c").write_text(SOURCE)
    command = ["cc", "-O2", "-shared", "-fPIC", "n.c", "-o", "n.so", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "n.so"))


def native_layer_norm(input, normalized_shape, weight, bias, eps):
    outer = tuple(input.shape[: input.dim() - len(normalized_shape)])
    shape = outer + (1,) * len(normalized_shape)
    inputs = [x if x is None else x.to(torch.float64).contiguous() for x in (input, weight, bias)]
    outputs = [torch.empty(s, dtype=torch.float64) for s in (input.shape, shape, shape)]
    pointers = [x if x is None else ctypes.c_void_p(x.data_ptr()) for x in (*inputs, *outputs)]
    sizes = map(ctypes.c_long, (math.prod(outer), math.prod(normalized_shape)))
    library().rows(*pointers, *sizes, ctypes.c_double(eps))
    return tuple(x.to(input.dtype) for x in outputs)
