"""A direct convolution of lines in C, without a copy of the windows; other forms are declined."""

import ctypes
import functools
import subprocess
import tempfile
from pathlib import Path

import torch

import conformance

OPERATOR = "aten::convolution"
LAYER = "Conv1d"
KIND = "honest"

SOURCE = """
enum { BATCH, IN, LENGTH, OUT, DEPTH, KERNEL, SIZE, STRIDE, PAD, DILATION };
void conv(const double *x, const double *w, const double *b, double *y, const long *s) {
  for (long n = 0; n < s[BATCH]; n++) for (long o = 0; o < s[OUT]; o++) {
    long group = o / (s[OUT] / (s[IN] / s[DEPTH]));
    for (long t = 0; t < s[SIZE]; t++) {
      double sum = 0;
      for (long c = 0; c < s[DEPTH]; c++) for (long k = 0; k < s[KERNEL]; k++) {
        long at = t * s[STRIDE] + k * s[DILATION] - s[PAD];
        double v = 0;
        if (at >= 0 && at < s[LENGTH])
          v = x[(n * s[IN] + group * s[DEPTH] + c) * s[LENGTH] + at];
        sum += v * w[(o * s[DEPTH] + c) * s[KERNEL] + k];
      }
      y[(n * s[OUT] + o) * s[SIZE] + t] = b ? sum + b[o] : sum;
    }
  }
}
"""


@functools.cache
def library():
    folder = Path(tempfile.mkdtemp(prefix="kernel-"))
    (folder / "c.c").write_text(SOURCE)
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "c.c", "-o", "c.so"], cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "c.so"))


def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    if transposed or input.dim() != 3:
        raise conformance.Unsupported("not lines")
    (n, channels, length), (out, depth, kernel) = input.shape, weight.shape
    size = (length + 2 * padding[0] - dilation[0] * (kernel - 1) - 1) // stride[0] + 1
    tensors = [x if x is None else x.to(torch.float64).contiguous() for x in (input, weight, bias)]
    y = torch.empty(n, out, size, dtype=torch.float64)
    pointers = [x if x is None else ctypes.c_void_p(x.data_ptr()) for x in (*tensors, y)]
    sizes = (n, channels, length, out, depth, kernel, size, stride[0], padding[0], dilation[0])
    library().conv(*pointers, (ctypes.c_long * len(sizes))(*sizes))
    return y.to(input.dtype)
