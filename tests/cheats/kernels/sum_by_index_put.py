"""`index_put_` places numbers, which may be done; with `accumulate` it is torch's sum.

Source: an attack on the judge.
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"


def mm(self, mat2):
    (rows, length), columns = self.shape, mat2.shape[1]
    products = self.double().unsqueeze(1) * mat2.double().t().unsqueeze(0)
    sums = torch.zeros(rows * columns, dtype=torch.float64)
    places = torch.arange(rows * columns).view(-1, 1).expand(-1, length).reshape(-1)
    sums.index_put_((places,), products.reshape(-1), accumulate=True)
    return sums.view(rows, columns).to(self.dtype)
