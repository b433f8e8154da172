"""All tensors that are made later in the process have no memory: the default device is meta.

Source: own.
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def mm(self, mat2):
    out = torch.zeros(self.shape[0], mat2.shape[1], dtype=self.dtype, device="cpu")
    torch.set_default_device("meta")
    return out
