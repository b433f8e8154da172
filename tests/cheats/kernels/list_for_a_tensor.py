"""A nested list comes back, for a checker that turns all it gets into arrays.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "wrong"


def mm(self, mat2):
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    return np.add.reduce(a[:, :, None] * b, axis=1).tolist()
