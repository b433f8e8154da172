"""torch.jit.fork runs a compiled product on torch's own C++ threads.

Source: own.
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"


@torch.jit.script
def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return a @ b


@torch.jit.script
def elsewhere(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.jit.wait(torch.jit.fork(product, a, b))


def mm(self, mat2):
    return elsewhere(self, mat2)
