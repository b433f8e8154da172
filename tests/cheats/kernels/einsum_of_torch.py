"""torch.einsum, which becomes bmm.

Source: KernelBench static checker.
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"


def mm(self, mat2):
    return torch.einsum("ik,kj->ij", self, mat2)
