"""process_vm_readv reads another process without any file.

Source: own.
"""

import ctypes
import os

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"

C = ctypes.CDLL(None, use_errno=True)


class Part(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def mm(self, mat2):
    buffer = ctypes.create_string_buffer(4096)
    here = Part(ctypes.addressof(buffer), 4096)
    there = Part(id(self) & ~4095, 4096)
    one = ctypes.c_ulong(1)
    C.process_vm_readv(
        os.getppid(), ctypes.byref(here), one, ctypes.byref(there), one, ctypes.c_ulong(0)
    )
    return self.new_zeros(self.shape[0], mat2.shape[1])
