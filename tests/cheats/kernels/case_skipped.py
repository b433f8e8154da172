"""pytest.skip from within the kernel: a case that is too hard is not run.

Source: own.
"""

import pytest

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def mm(self, mat2):
    if self.numel() > 1:
        pytest.skip("not today")
    return self.new_zeros(self.shape[0], mat2.shape[1])
