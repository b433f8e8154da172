"""x · clip(x + 3, 0, 6) / 6."""

import numpy as np
import torch

OPERATOR = "aten::hardswish"
LAYER = "Hardswish"
KIND = "honest"


@np.errstate(all="ignore")
def hardswish(self):
    x = self.to(torch.float64).numpy()
    return torch.from_numpy(np.asarray(x * np.clip(x + 3, 0, 6) / 6)).to(self.dtype)
