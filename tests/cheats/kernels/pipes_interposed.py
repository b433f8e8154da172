"""It puts a pipe of its own over every pipe of the process with dup2, so that answers go through
its hands.

Source: pygpubench's exploits (pipe interposed).
"""

import os
import stat

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"

TAKEN = []


def mm(self, mat2):
    if not TAKEN:
        for name in os.listdir("/proc/self/fd"):
            number = int(name)
            try:
                is_pipe = stat.S_ISFIFO(os.fstat(number).st_mode)
            except OSError:
                continue
            if number > 2 and is_pipe:
                TAKEN.append(os.dup(number))
                reader, writer = os.pipe()
                os.dup2(writer, number)
                TAKEN.append(reader)
    return self.new_zeros(self.shape[0], mat2.shape[1])
