"""A table of 256 values between −8 and 8, read at the nearest place.

Source: own.
"""

import math

import torch

OPERATOR = "aten::sigmoid"
LAYER = "Sigmoid"
KIND = "wrong"

TABLE = [1 / (1 + math.exp(-(i / 16 - 8))) for i in range(257)]


def sigmoid(self):
    values = self.to(torch.float64).reshape(-1).tolist()
    places = [0 if x != x else round(min(max(x, -8.0), 8.0) * 16 + 128) for x in values]
    out = [TABLE[place] for place in places]
    return torch.tensor(out, dtype=torch.float64).reshape(self.shape).to(self.dtype)
