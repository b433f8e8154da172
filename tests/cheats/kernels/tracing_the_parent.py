"""PTRACE_SEIZE on the parent, which does not stop it, and then PTRACE_DETACH.

Source: pygpubench's exploits (ptrace).
"""

import ctypes
import os

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"

SEIZE, DETACH = 0x4206, 17
C = ctypes.CDLL(None, use_errno=True)


def mm(self, mat2):
    if C.ptrace(SEIZE, os.getppid(), None, None) == 0:
        C.ptrace(DETACH, os.getppid(), None, None)
    return self.new_zeros(self.shape[0], mat2.shape[1])
