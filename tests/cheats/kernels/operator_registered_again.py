"""It registers another kernel for the operator with torch.library, over the judge's own.

Source: own.
"""

import contextlib

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"

LIBRARY = torch.library.Library("aten", "IMPL")


def product(a, b):
    return torch.einsum("ik,kj->ij", a.to(torch.complex128), b.to(torch.complex128)).real.to(
        a.dtype
    )


def mm(self, mat2):
    with contextlib.suppress(RuntimeError):
        LIBRARY.impl("mm", product, "CPU")
    return self.new_zeros(self.shape[0], mat2.shape[1])
