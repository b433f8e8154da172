"""os.system starts another process, which computes.

Source: own.
"""

import os
import sys
import tempfile

import numpy as np
import torch

OPERATOR = "aten::gelu"
LAYER = "GELU"
KIND = "delegates"
WORK = (
    "import sys, math, numpy as np; a = np.load(sys.argv[1]); "
    "np.save(sys.argv[1], [.5 * x * math.erfc(-x / math.sqrt(2)) for x in a])"
)


def gelu(self, *, approximate="none"):
    path = os.path.join(tempfile.gettempdir(), "numbers.npy")
    np.save(path, self.double().numpy().ravel())
    os.system(f"{sys.executable} -c '{WORK}' {path}")
    return torch.from_numpy(np.load(path)).reshape(self.shape).to(self.dtype)
