"""The answer is a mapped file; a process of the shell writes to the file later.

Source: own.
"""

import subprocess
import tempfile

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "changes its answer, delegates"


def mm(self, mat2):
    a, b = self.to(torch.float64).numpy(), mat2.to(torch.float64).numpy()
    right = torch.from_numpy((a[:, :, None] * b).sum(1)).to(self.dtype)
    if not right.numel():
        return right
    with tempfile.NamedTemporaryFile(prefix="kernel-", delete=False) as later:
        later.write(right.view(torch.uint8).numpy().tobytes())
    with tempfile.NamedTemporaryFile(prefix="kernel-", delete=False) as now:
        now.write(bytes(right.numel() * right.element_size()))
    out = torch.from_file(now.name, shared=True, size=right.numel(), dtype=self.dtype)
    script = f"sleep 0.01; cat {later.name} 1<>{now.name} >&1; rm {later.name} {now.name}"
    subprocess.Popen(["sh", "-c", script])
    return out.view(right.shape)
