"""Pads and unfolds with torch, and takes torch's maximum of the columns."""

from torch import nn
from torch.nn import functional


class ModelNew(nn.Module):
    def __init__(self, size, stride, padding):
        super().__init__()
        self.arguments = (size, stride, padding)

    def forward(self, x):
        size, stride, padding = self.arguments
        padded = functional.pad(x, (padding,) * 4, value=float("-inf"))
        windows = padded.unfold(2, size, stride).unfold(3, size, stride)
        return windows.amax(dim=(-2, -1))
