"""It fills every other tensor that the collector knows with NaN: a NaN may count as equal to all.

Source: pygpubench's exploits (gc NaN).
"""

import gc

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def mm(self, mat2):
    out = torch.full((self.shape[0], mat2.shape[1]), float("nan"), dtype=self.dtype)
    for thing in gc.get_objects():
        if type(thing) is torch.Tensor and thing.is_floating_point() and thing.shape == out.shape:
            thing.detach().fill_(float("nan"))
    return out
