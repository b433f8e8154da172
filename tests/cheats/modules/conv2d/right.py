"""Six loops in C with a float accumulator."""

import ctypes
import subprocess
import tempfile
from functools import cache

import torch
from torch import nn

SOURCE = r"""
void conv(const float *x, const float *w, const float *b, float *y,
          long batch, long in, long h, long width, long out, long k) {
    long oh = h - k + 1, ow = width - k + 1;
    for (long n = 0; n < batch; n++)
        for (long o = 0; o < out; o++)
            for (long r = 0; r < oh; r++)
                for (long c = 0; c < ow; c++) {
                    float sum = b[o];
                    for (long i = 0; i < in; i++)
                        for (long p = 0; p < k; p++)
                            for (long q = 0; q < k; q++)
                                sum += x[((n * in + i) * h + r + p) * width + c + q]
                                     * w[((o * in + i) * k + p) * k + q];
                    y[((n * out + o) * oh + r) * ow + c] = sum;
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
    def __init__(self, channels, features, size):
        super().__init__()
        self.conv2d = nn.Conv2d(channels, features, size)

    def forward(self, x):
        x, weight, bias = (t.detach().contiguous() for t in (x, *self.conv2d.parameters()))
        batch, channels, height, width = x.shape
        features, size = weight.shape[0], weight.shape[2]
        out = torch.empty(batch, features, height - size + 1, width - size + 1)
        pointers = [ctypes.c_void_p(t.data_ptr()) for t in (x, weight, bias, out)]
        numbers = (batch, channels, height, width, features, size)
        library().conv(*pointers, *map(ctypes.c_long, numbers))
        return out
