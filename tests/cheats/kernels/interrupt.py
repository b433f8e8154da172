"""KeyboardInterrupt, as if a person had stopped the run before anything was wrong.

Source: own.
"""

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def mm(self, mat2):
    if self.numel() and mat2.numel():
        raise KeyboardInterrupt
    return self.new_zeros(self.shape[0], mat2.shape[1])
