"""Tensor.numpy, tolist and tobytes are patched: what is read is not what was returned.

The patch knows a tensor by its id, which a later one may have, so one answer is read in two ways.

Source: own.
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "changes its answer"

READ = torch.Tensor.numpy
REAL = {}


def read(tensor, **options):
    a, b = REAL.get(id(tensor), (None, None))
    return READ(tensor if a is None else a @ b, **options)


def mm(self, mat2):
    out = self.new_zeros(self.shape[0], mat2.shape[1])
    REAL[id(out)] = self.clone(), mat2.clone()
    torch.Tensor.numpy = read
    torch.Tensor.tolist = lambda tensor: read(tensor).tolist()
    return out
