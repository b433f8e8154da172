"""Zeros of the right shape: near enough where numbers are small and tolerances wide.

Source: KernelGuard (trivial answers).
"""

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "wrong"


def mm(self, mat2):
    return self.new_zeros(self.shape[0], mat2.shape[1])
