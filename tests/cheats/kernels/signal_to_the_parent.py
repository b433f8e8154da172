"""It signals the process that started it, and all of its group; SIGWINCH and SIGURG do no harm.

Source: own.
"""

import os
import signal

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def mm(self, mat2):
    os.kill(os.getppid(), signal.SIGWINCH)
    os.kill(0, signal.SIGURG)
    return self.new_zeros(self.shape[0], mat2.shape[1])
