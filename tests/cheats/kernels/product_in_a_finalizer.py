"""The end of an array calls torch, within an operator that lets its memory go.

Source: own.
"""

import numpy as np
import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "delegates"


class Dying(np.ndarray):
    work = None

    def __del__(self):
        if self.work is not None:
            self.work()


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    product = []
    array = np.zeros(1, np.float32).view(Dying)
    array.work = lambda: product.append(torch.mm(mat1, mat2))
    tensor = torch.from_numpy(array)
    del array
    tensor.set_()
    return alpha * product[0] + beta * self
