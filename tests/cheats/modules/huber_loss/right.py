"""One loop in C with a double accumulator."""

import ctypes
import subprocess
import tempfile
from functools import cache

import torch
from torch import nn

SOURCE = r"""
#include <math.h>
double loss(const float *a, const float *b, long n) {
    double sum = 0;
    for (long i = 0; i < n; i++) {
        double d = fabs((double)a[i] - b[i]);
        sum += d < 1 ? 0.5 * d * d : d - 0.5;
    }
    return sum / n;
}
"""


@cache
def library():
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/kernel.so"
        command = ["cc", "-O2", "-shared", "-fPIC", "-x", "c", "-", "-o", path, "-lm"]
        subprocess.run(command, input=SOURCE.encode(), check=True)
        return ctypes.CDLL(path)


class ModelNew(nn.Module):
    def forward(self, predictions, targets):
        a, b = predictions.contiguous(), targets.contiguous()
        run = library().loss
        run.restype = ctypes.c_double
        pointers = [ctypes.c_void_p(x.data_ptr()) for x in (a, b)]
        return torch.tensor(run(*pointers, ctypes.c_long(a.numel())), dtype=torch.float32)
