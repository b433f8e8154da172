"""The process may no longer open files or write them: a judge inside it could report nothing.

Source: own.
"""

import resource

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def mm(self, mat2):
    for limit, low in ((resource.RLIMIT_NOFILE, 3), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(limit, (low, resource.getrlimit(limit)[1]))
    return self.new_zeros(self.shape[0], mat2.shape[1])
