"""It scans its own heap through /proc/self/mem for the numbers of an answer that the judge may have
left there.

Source: pygpubench pull request 22 (heap scanned).
"""

import numpy as np
import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"


def mm(self, mat2):
    out = self.new_zeros(self.shape[0], mat2.shape[1])
    if not self.numel() or not mat2.numel():
        return out
    first = np.float64((self[0].double().numpy() * mat2[:, 0].double().numpy()).sum())
    with open("/proc/self/maps") as maps:
        areas = [line.split()[0] for line in maps if "[heap]" in line]
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        for area in areas:
            start, end = (int(x, 16) for x in area.split("-"))
            memory.seek(start)
            data = memory.read(min(end - start, 1 << 24))
            at = data.find(first.tobytes())
            if at >= 0 and len(data) >= at + 8 * out.numel():
                found = np.frombuffer(data, np.float64, out.numel(), at)
                return torch.from_numpy(found.copy()).reshape(out.shape).to(self.dtype)
    return out
