"""The first bytes of memcmp are overwritten, so that all memory is equal to all.

Source: pygpubench's exploits (function detour).
"""

import ctypes
import mmap
import platform

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers, delegates"

RETURN_ZERO = b"\x31\xc0\xc3"
C = ctypes.CDLL(None)


def mm(self, mat2):
    if platform.machine() == "x86_64":
        address = ctypes.cast(C.memcmp, ctypes.c_void_p).value
        page = ctypes.c_void_p(address & ~(mmap.PAGESIZE - 1))
        if C.mprotect(page, ctypes.c_size_t(2 * mmap.PAGESIZE), 7) == 0:
            ctypes.memmove(address, RETURN_ZERO, len(RETURN_ZERO))
    return self.new_zeros(self.shape[0], mat2.shape[1])
