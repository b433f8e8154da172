"""Each matrix alone, row by row; an empty inner dimension gives zeros at once."""

import numpy as np
import torch

OPERATOR = "aten::bmm"
LAYER = "Bilinear"
KIND = "honest"


def bmm(self, mat2):
    out = torch.zeros(self.shape[0], self.shape[1], mat2.shape[2], dtype=self.dtype)
    if self.shape[2] == 0:
        return out
    for t in range(self.shape[0]):
        b = mat2[t].to(torch.float64).contiguous().numpy()
        for i in range(self.shape[1]):
            row = self[t, i].to(torch.float64).numpy()
            with np.errstate(all="ignore"):
                values = np.add.reduce(row[:, None] * b, axis=0)
            out[t, i].copy_(torch.from_numpy(values))
    return out
