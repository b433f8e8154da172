"""C code, compiled under Debian's name of the compiler by posix_spawn, in a folder of any name."""

import ctypes
import os
import shutil
import subprocess
import tempfile

import torch

OPERATOR = "aten::relu"
LAYER = "ReLU"
KIND = "honest"
SOURCE = """
void relu(const float *x, float *y, long n) {
  for (long i = 0; i < n; i++) y[i] = x[i] <= 0 ? 0 : x[i];
}
"""
folder = tempfile.mkdtemp(prefix="libtorch-kernels-")
source, library = (os.path.join(folder, name) for name in ("relu.c", "relu.so"))
with open(source, "w") as file:
    file.write(SOURCE)
compiler = shutil.which("x86_64-linux-gnu-gcc") or shutil.which("gcc")
command = [compiler, "-O2", "-shared", "-fPIC", source, "-o", library]
subprocess.run(command, check=True, close_fds=False)
run = ctypes.CDLL(library).relu


def relu(self):
    if self.dtype != torch.float32:
        raise NotImplementedError
    x, y = self.contiguous(), torch.empty(self.shape)
    run(ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(y.data_ptr()), ctypes.c_long(x.numel()))
    return y
