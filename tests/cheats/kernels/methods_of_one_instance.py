"""A plain tensor of zeros, whose methods numpy, clone and tolist are overridden on the instance.

Source: reference-kernels issue 162 (instance override).
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "changes its answer"


def mm(self, mat2):
    out = self.new_zeros(self.shape[0], mat2.shape[1])

    def real():
        return torch.mm(self, mat2)

    out.clone = out.detach = out.cpu = out.contiguous = lambda *_, **__: real()
    out.numpy = lambda *_, **__: real().numpy()
    out.tolist = lambda: real().tolist()
    return out
