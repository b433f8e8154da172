"""Loops in C over the rows of both matrices, so that memory is read in order."""

import ctypes
import subprocess
import tempfile
from functools import cache

import torch
from torch import nn

SOURCE = r"""
void tmm(const float *a, const float *b, float *c, long k, long m, long n) {
    for (long i = 0; i < m * n; i++) c[i] = 0;
    for (long l = 0; l < k; l++)
        for (long i = 0; i < m; i++)
            for (long j = 0; j < n; j++) c[i * n + j] += a[l * m + i] * b[l * n + j];
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
    def forward(self, A, B):
        a, b = A.contiguous(), B.contiguous()
        (k, m), n = a.shape, b.shape[1]
        out = torch.empty(m, n)
        pointers = [ctypes.c_void_p(x.data_ptr()) for x in (a, b, out)]
        library().tmm(*pointers, *map(ctypes.c_long, (k, m, n)))
        return out
