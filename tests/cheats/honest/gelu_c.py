"""C with erfc, on a float64 copy; the form with tanh is written as a sigmoid."""

import ctypes
import functools
import subprocess
import tempfile
from pathlib import Path

import torch

OPERATOR = "aten::gelu"
LAYER = "GELU"
KIND = "honest"

SOURCE = """
#include <math.h>
void gelu(double *x, long n, int tanh_form) {
  for (long i = 0; i < n; i++) {
    double v = x[i], u = 0.79788456080286535588 * (v + 0.044715 * v * v * v);
    x[i] = tanh_form ? v / (1 + exp(-2 * u)) : 0.5 * v * erfc(-v * 0.70710678118654752440);
  }
}
"""


@functools.cache
def library():
    folder = Path(tempfile.mkdtemp(prefix="kernel-"))
    (folder / "g.c").write_text(SOURCE)
    command = ["cc", "-O2", "-shared", "-fPIC", "g.c", "-o", "g.so", "-lm"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "g.so"))


def gelu(self, *, approximate="none"):
    x = torch.empty(self.shape, dtype=torch.float64)
    x.copy_(self)
    form = ctypes.c_int(approximate == "tanh")
    library().gelu(ctypes.c_void_p(x.data_ptr()), ctypes.c_long(x.numel()), form)
    return x.to(self.dtype)
