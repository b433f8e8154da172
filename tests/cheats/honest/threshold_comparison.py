"""A copy, in which what is not above the threshold is set to the value."""

import torch

OPERATOR = "aten::threshold"
LAYER = "Threshold"
KIND = "honest"


def threshold(self, threshold, value):
    out = [value if x <= threshold else x for x in self.to(torch.float64).reshape(-1).tolist()]
    return torch.tensor(out, dtype=torch.float64).reshape(self.shape).to(self.dtype)
