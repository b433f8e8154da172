"""Workspaces by shape are held by weak references: they go when memory is collected."""

import weakref

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "honest"


class Workspace:
    def __init__(self, shape):
        self.total = np.empty(shape)


SPACES = weakref.WeakValueDictionary()


@np.errstate(all="ignore")
def mm(self, mat2):
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    shape = a.shape[0], b.shape[1]
    space = SPACES.get(shape)
    if space is None:
        space = SPACES[shape] = Workspace(shape)
    space.total.fill(0)
    for k in range(a.shape[1]):
        space.total += a[:, k, None] * b[k]
    return torch.from_numpy(space.total.copy()).to(self.dtype)
