"""A thread of _thread, which the module threading knows nothing of, calls torch.

Source: own.
"""

import _thread

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"


def mm(self, mat2):
    box, done = [], _thread.allocate_lock()
    done.acquire()

    def work():
        try:
            box.append(torch.mm(self, mat2))
        finally:
            done.release()

    _thread.start_new_thread(work, ())
    done.acquire()
    return box[0]
