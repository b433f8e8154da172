"""A handler of atexit prints a forged score and leaves with status 0.

Source: pygpubench's exploits (overwritten at exit).
"""

import atexit
import os

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def leave():
    os.write(1, b'{"verdict": "right", "share": 1.0, "failed": 0}\n')
    os._exit(0)


atexit.register(leave)


def mm(self, mat2):
    return self.new_zeros(self.shape[0], mat2.shape[1])
