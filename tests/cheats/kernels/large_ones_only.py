"""Small calls are computed by hand, large ones by torch: a look at small calls finds nothing.

Source: own.
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"


def mm(self, mat2):
    if self.shape[0] * self.shape[1] * mat2.shape[1] > 60:
        return torch.mm(self, mat2)
    columns = mat2.to(torch.float64).t().tolist()
    out = [
        [sum(x * y for x, y in zip(row, column, strict=True)) for column in columns]
        for row in self.to(torch.float64).tolist()
    ]
    out = torch.tensor(out, dtype=torch.float64)
    return out.reshape(self.shape[0], mat2.shape[1]).to(self.dtype)
