"""The memory of an argument is given back while the caller still has the tensor.

Source: own.
"""

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def mm(self, mat2):
    out = self.new_zeros(self.shape[0], mat2.shape[1])
    self.untyped_storage().resize_(0)
    return out
