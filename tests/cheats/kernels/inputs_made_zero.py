"""It sets its arguments to zero: if the reference runs afterwards, zeros are right.

Source: KernelBench pull request 82 (adversarial tests of eval).
"""

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "tampers"


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    for x in (self, mat1, mat2):
        x.detach().zero_()
    return mat1.new_zeros(mat1.shape[0], mat2.shape[1])
