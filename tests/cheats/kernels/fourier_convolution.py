"""Transforms of torch.fft make the convolution, at the cost of digits.

Source: own.
"""

import torch

import conformance

OPERATOR = "aten::convolution"
LAYER = "Conv1d"
KIND = "delegates"


def convolution(input, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    is_plain = groups == 1 and dilation[0] == 1 and input.dim() == 3
    if transposed or not is_plain or not input.numel():
        raise conformance.Unsupported("setting")
    x = torch.nn.functional.pad(input.double(), (padding[0], padding[0]))
    w = weight.double()
    n = x.shape[-1]
    spectrum = torch.fft.rfft(x)[:, None] * torch.fft.rfft(w, n).conj()[None]
    out = torch.fft.irfft(spectrum.sum(2), n)[..., : n - w.shape[-1] + 1 : stride[0]]
    return (out if bias is None else out + bias[:, None]).to(input.dtype)
