"""np.matrix multiplies by `*`, so that no `@` and no call is seen in the source.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"


def mm(self, mat2):
    a = np.asmatrix(self.to(torch.float64).numpy())
    return torch.from_numpy(np.asarray(a * mat2.to(torch.float64).numpy())).to(self.dtype)
