"""An operator that has one kernel for all devices, on another thread.

Source: own.
"""

import threading

import torch

OPERATOR = "aten::addmm"
LAYER = "Linear"
KIND = "delegates"


def addmm(self, mat1, mat2, *, beta=1, alpha=1):
    x, weight = mat1.contiguous()[:, :, None, None], mat2.t().contiguous()[:, :, None, None]
    product = []

    def work():
        with torch.no_grad():
            y = torch.ops.aten.mkldnn_convolution(x, weight, None, [0, 0], [1, 1], [1, 1], 1)
            product.append(y[:, :, 0, 0])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return alpha * product[0] + beta * self
