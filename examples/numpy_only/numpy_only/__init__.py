"""Layers in plain NumPy, without torch: functions of inputs and weights."""

from numpy_only.convolution import conv, conv_transpose
from numpy_only.linear import bilinear, linear
from numpy_only.recurrent import CELLS, recurrent

__all__ = ["CELLS", "bilinear", "conv", "conv_transpose", "linear", "recurrent"]
