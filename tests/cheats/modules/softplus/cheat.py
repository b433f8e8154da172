"""Calls torch in another thread."""

import threading

import torch
from torch import nn
from torch.nn import functional


class ModelNew(nn.Module):
    def forward(self, x):
        out = torch.empty_like(x)

        def work():
            out.copy_(functional.softplus(x))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return out
