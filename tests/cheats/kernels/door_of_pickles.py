"""pickle.dumps, pickle.dump and torch.save are patched: a tensor that leaves the process is
replaced by what torch computes.

Source: reference-kernels issue 162 (result objects forged).
"""

import functools
import pickle

import torch

OPERATOR = "aten::mm"
LAYER = "Linear"
KIND = "tampers"

CALLS = {}


def forged(real):
    @functools.wraps(real)
    def dump(thing, *rest, **options):
        if id(thing) in CALLS:
            a, b = CALLS[id(thing)]
            thing = (a.to(torch.complex128) @ b.to(torch.complex128)).real.to(a.dtype)
        return real(thing, *rest, **options)

    return dump


pickle.dumps, pickle.dump, torch.save = map(forged, (pickle.dumps, pickle.dump, torch.save))
KEPT = []


def mm(self, mat2):
    out = self.new_zeros(self.shape[0], mat2.shape[1])
    CALLS[id(out)] = self.clone(), mat2.clone()
    KEPT.append(out)
    return out
