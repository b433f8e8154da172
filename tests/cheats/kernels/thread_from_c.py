"""pthread_create by ctypes: no module of Python knows the thread in which torch works.

Source: own.
"""

import ctypes

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"

C = ctypes.CDLL(None)
START = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)


def mm(self, mat2):
    box = []

    @START
    def work(_):
        box.append(torch.mm(self, mat2))
        return 0

    thread = ctypes.c_ulong()
    C.pthread_create(ctypes.byref(thread), None, work, None)
    C.pthread_join(thread, None)
    return box[0]
