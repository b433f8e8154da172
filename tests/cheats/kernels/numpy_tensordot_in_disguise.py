"""np.tensordot is found by a name put together at run time.

Source: KernelGuard (obfuscation).
"""

import importlib

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "delegates"


def mm(self, mat2):
    library = importlib.import_module("".join(["num", "py"]))
    work = getattr(library, "".join(reversed(["dot", "tensor"])))
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    return torch.from_numpy(work(a, b, axes=1)).to(self.dtype)
