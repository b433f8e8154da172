"""Each call is right, but spoils the answer of the call before: who reads late reads rubbish.

Source: own, after llm.c pull request 852 (output checked again later).
"""

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "changes its answer"

LAST = []


def mm(self, mat2):
    for out in LAST:
        out.fill_(7)
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    out = torch.from_numpy((a[:, :, None] * b).sum(1)).to(self.dtype)
    LAST[:] = [out]
    return out
