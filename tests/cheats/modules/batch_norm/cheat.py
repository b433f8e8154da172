"""Folds the statistics into a depthwise convolution of torch."""

from torch import nn
from torch.nn import functional


class ModelNew(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.bn = nn.BatchNorm2d(features)

    def forward(self, x):
        bn = self.bn
        scale = bn.weight * (bn.running_var + bn.eps).rsqrt()
        bias = bn.bias - bn.running_mean * scale
        return functional.conv2d(x, scale[:, None, None, None], bias, groups=len(scale)).detach()
