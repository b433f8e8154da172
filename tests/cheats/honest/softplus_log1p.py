"""log1p(exp(βx))/β below the threshold, x above it."""

import numpy as np
import torch

OPERATOR = "aten::softplus"
LAYER = "Softplus"
KIND = "honest"


@np.errstate(all="ignore")
def softplus(self, beta=1, threshold=20):
    x = self.to(torch.float64).numpy()
    y = np.where(x * beta > threshold, x, np.log1p(np.exp(x * beta)) / beta)
    return torch.from_numpy(np.asarray(y)).to(self.dtype)
