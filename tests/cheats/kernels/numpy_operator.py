"""One `@` on whole matrices: it looks like a tile, but the tile is as large as the call.

Source: own.
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"

TILE = 1 << 20


def mm(self, mat2):
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    parts = [a[i : i + TILE] @ b for i in range(0, max(len(a), 1), TILE)]
    return torch.from_numpy(parts[0]).to(self.dtype)
