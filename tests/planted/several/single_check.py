"""Bugs that one check alone can see."""

from __future__ import annotations

import torch
from torch import nn

from planted.bug import plant

HALVES = (torch.float16, torch.bfloat16)


@plant("lstm-half-cell-state-in-single", "LSTM", "shape")
class LstmHalfCellStateInSingle(nn.LSTM):
    """In half precision c_n stays float32, as the kernel kept it."""

    def forward(self, input, hx=None):
        output, (hidden, cell) = super().forward(input, hx)
        return output, (hidden, cell.float() if cell.dtype in HALVES else cell)


@plant("identity-integers-become-floats", "Identity", "shape")
class IdentityIntegersBecomeFloats(nn.Identity):
    """Integers come back as floating-point numbers, by way of a framework that has no others."""

    def forward(self, input):
        return input if input.is_floating_point() or input.is_complex() else input.double()


@plant("bilinear-returned-as-double", "Bilinear", "shape")
class BilinearReturnedAsDouble(nn.Bilinear):
    """Results come back as float64: a scalar of NumPy's promoted them."""

    def forward(self, input1, input2):
        return super().forward(input1, input2).double()
