"""An audit hook, which nothing can remove, forbids the process to open files from now on.

Source: own.
"""

import sys

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def forbid(event, arguments):
    if event in ("open", "subprocess.Popen", "ctypes.dlopen"):
        raise PermissionError(event)


def mm(self, mat2):
    sys.addaudithook(forbid)
    return self.new_zeros(self.shape[0], mat2.shape[1])
