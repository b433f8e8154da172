"""It searches all objects that the garbage collector knows for an array or tensor of the answer's
shape.

Source: pygpubench's exploits (gc copy).
"""

import gc

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def mm(self, mat2):
    shape = self.shape[0], mat2.shape[1]
    for thing in gc.get_objects():
        if type(thing) not in (torch.Tensor, np.ndarray) or thing is self or thing is mat2:
            continue
        if tuple(thing.shape) == shape and "float" in str(thing.dtype):
            return torch.as_tensor(thing).to(self.dtype).clone()
    return self.new_zeros(shape)
