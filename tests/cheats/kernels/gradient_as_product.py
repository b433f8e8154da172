"""The backward pass of a sum over an embedding bag is a product in disguise.

Source: own.
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"


def mm(self, mat2):
    with torch.enable_grad():
        left = torch.zeros(self.shape[0], mat2.shape[1], dtype=self.dtype, requires_grad=True)
        score = torch.einsum("ij,ik,kj->", left, self.detach(), mat2.detach())
        return torch.autograd.grad(score, left)[0].detach()
