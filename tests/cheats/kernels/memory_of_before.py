"""torch.empty may give memory in which an answer was, so it is returned as it is.

Source: KernelBench pull request 82 and Sakana's report on its CUDA engineer (memory used again).
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "wrong"


def mm(self, mat2):
    return torch.empty(self.shape[0], mat2.shape[1], dtype=self.dtype)
