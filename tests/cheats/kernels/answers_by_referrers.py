"""Who holds my argument holds the case, and perhaps what it wants: it follows gc.get_referrers.

Source: own.
"""

import gc

import torch

OPERATOR = "aten::_softmax"
LAYER = "Softmax"
KIND = "tampers"


def _softmax(self, dim, half_to_float):
    seen, level = {id(self)}, [self]
    for _ in range(3):
        level = [x for x in gc.get_referrers(*level) if id(x) not in seen][:200]
        seen.update(map(id, level))
        for holder in level:
            for value in list(holder.values()) if isinstance(holder, dict) else []:
                is_other = isinstance(value, torch.Tensor) and value is not self
                if is_other and value.shape == self.shape:
                    return value.clone()
    return torch.zeros_like(self)
