"""Three loops in C with a float accumulator."""

import ctypes
import subprocess
import tempfile
from functools import cache

import torch
from torch import nn

SOURCE = r"""
void bmm(const float *a, const float *b, float *c, long batch, long m, long k, long n) {
    for (long s = 0; s < batch; s++, a += m * k, b += k * n, c += m * n)
        for (long i = 0; i < m; i++)
            for (long j = 0; j < n; j++) {
                float sum = 0;
                for (long l = 0; l < k; l++) sum += a[i * k + l] * b[l * n + j];
                c[i * n + j] = sum;
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
    def forward(self, A, B):
        a, b = A.contiguous(), B.contiguous()
        (batch, m, k), n = a.shape, b.shape[2]
        out = torch.empty(batch, m, n)
        pointers = [ctypes.c_void_p(x.data_ptr()) for x in (a, b, out)]
        library().bmm(*pointers, *map(ctypes.c_long, (batch, m, k, n)))
        return out
