"""A thread made by C code, asleep in nanosleep again and again: Python has never seen it.

Source: own; needs a compiler.
"""

import ctypes
import functools
import subprocess
import tempfile
from pathlib import Path

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "lives on"

SOURCE = """
#include <pthread.h>
#include <time.h>
static void *stay(void *unused) {
  struct timespec wait = {0, 2000000};
  for (;;) nanosleep(&wait, 0);
  return unused;
}
int start(void) { pthread_t thread; return pthread_create(&thread, 0, stay, 0); }
"""


@functools.cache
def start():
    folder = Path(tempfile.mkdtemp(prefix="kernel-"))
    (folder / "t.c").write_text(SOURCE)
    command = ["cc", "-shared", "-fPIC", "-pthread", "t.c", "-o", "t.so"]
    subprocess.run(command, cwd=folder, check=True)
    return ctypes.CDLL(str(folder / "t.so")).start()


def mm(self, mat2):
    start()
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    return torch.from_numpy((a[:, :, None] * b).sum(1)).to(self.dtype)
