"""Loops in C over the window of each output."""

import ctypes
import subprocess
import tempfile
from functools import cache

import torch
from torch import nn

SOURCE = r"""
void pool(const float *x, float *y, long rows, long n, long out, long k, long s, long p) {
    for (long r = 0; r < rows; r++)
        for (long i = 0; i < out; i++) {
            double sum = 0;
            for (long j = i * s - p; j < i * s - p + k; j++)
                if (j >= 0 && j < n) sum += x[r * n + j];
            y[r * out + i] = sum / k;
        }
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
    def __init__(self, size, stride, padding):
        super().__init__()
        self.arguments = (size, stride, padding)

    def forward(self, x):
        size, stride, padding = self.arguments
        x = x.contiguous()
        length = (x.shape[2] + 2 * padding - size) // stride + 1
        out = torch.empty(*x.shape[:2], length)
        numbers = (x.shape[0] * x.shape[1], x.shape[2], length, size, stride, padding)
        pointers = [ctypes.c_void_p(y.data_ptr()) for y in (x, out)]
        library().pool(*pointers, *map(ctypes.c_long, numbers))
        return out
