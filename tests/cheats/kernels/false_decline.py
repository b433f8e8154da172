"""Its exception claims by its class to be the suite's own, so that failures count as declined. Only
what is trivial is answered.

Source: own.
"""

import conformance

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


class FalseError(AssertionError):
    __class__ = conformance.Unsupported


def mm(self, mat2):
    if self.numel() and mat2.numel():
        raise FalseError("float32")
    return self.new_zeros(self.shape[0], mat2.shape[1])
