"""Each matrix alone, row by row; an empty inner dimension gives zeros at once."""

import numpy as np
import torch

OPERATOR = "aten::bmm"
LAYER = "Bilinear"
KIND = "honest"


def bmm(self, mat2):
    if 0 in self.shape:
        return torch.zeros(self.shape[0], self.shape[1], mat2.shape[2], dtype=self.dtype)
    # Few operators of torch: a sealed process records each of them.
    lefts, rights = (x.to(torch.float64).contiguous().numpy() for x in (self, mat2))
    with np.errstate(all="ignore"):
        products = [
            [np.add.reduce(row[:, None] * right, axis=0) for row in left]
            for left, right in zip(lefts, rights, strict=True)
        ]
    return torch.from_numpy(np.array(products)).to(self.dtype)
