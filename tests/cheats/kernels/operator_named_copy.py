"""A new operator has the name of one that only copies; its body is torch's product.

Source: an attack on the judge.
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"

LIBRARY = torch.library.Library("copying", "FRAGMENT")
LIBRARY.define("copy(Tensor a, Tensor b) -> Tensor")
LIBRARY.impl(
    "copy", lambda a, b: torch.einsum("ik,kj->ij", a.double(), b.double()).to(a.dtype), "CPU"
)


def mm(self, mat2):
    return torch.ops.copying.copy(self, mat2)
