"""np.einsum with optimize=True hands the whole sum to BLAS.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::bmm"
LAYER = "Bilinear"
KIND = "delegates"


def bmm(self, mat2):
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    return torch.from_numpy(np.einsum("bik,bkj->bij", a, b, optimize=True)).to(self.dtype)
