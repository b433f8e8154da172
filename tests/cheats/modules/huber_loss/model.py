"""The Huber loss, smooth at one."""

import torch
from torch import nn
from torch.nn import functional


class Model(nn.Module):
    def forward(self, predictions, targets):
        return functional.smooth_l1_loss(predictions, targets)


def get_inputs():
    return [torch.randn(24, 40), torch.randn(24, 40)]


def get_init_inputs():
    return []
