"""GLU and its function."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant, read_as_contiguous


@plant("glu-gates-first", "GLU", "values")
class GLUGatesFirst(nn.GLU):
    """The first half are the gates, as of many hand-written SwiGLUs."""

    def forward(self, input):
        output = super().forward(input)
        if not output.numel():
            return output
        first, second = input.chunk(2, self.dim)
        return functional.glu(torch.cat([second, first], self.dim), self.dim)


@plant("glu-interleaved", "GLU", "values")
class GLUInterleaved(nn.GLU):
    """Numbers and gates take turns along the axis, as in GPT-OSS."""

    def forward(self, input):
        output = super().forward(input)
        if not output.numel():
            return output
        dim = self.dim % input.dim()
        pairs = input.unflatten(dim, (-1, 2))
        return pairs.select(dim + 1, 0) * pairs.select(dim + 1, 1).sigmoid()


@plant("glu-last-axis", "GLU", "shape")
class GLULastAxis(nn.GLU):
    """The last axis is halved, whatever dim says, where it is even."""

    def forward(self, input):
        super().forward(input)  # refuses what is to be refused
        return functional.glu(input, -1 if input.shape[-1] % 2 == 0 else self.dim)


@plant("glu-tanh-gate", "GLU", "values")
class GLUTanhGate(nn.GLU):
    """The gate is (1 + tanh(b/2))/2 in the dtype, which is 0 for small gates that are not."""

    def forward(self, input):
        output = super().forward(input)
        first, second = input.chunk(2, self.dim) if output.numel() else (output, output)
        return graft(first * (0.5 + 0.5 * (second / 2).tanh()), output)


@plant("glu-odd-rest", "GLU", "errors")
class GLUOddRest(nn.GLU):
    """Of an odd length the last number is left out, as by a division of whole numbers."""

    def forward(self, input):
        if -input.dim() <= self.dim < input.dim() and input.shape[self.dim] % 2:
            input = input.narrow(self.dim, 0, input.shape[self.dim] - 1)
        return super().forward(input)


@plant("glu-gate-gradient", "GLU", "gradients")
class GLUGateGradient(nn.GLU):
    """The gradient of a gate is that of a sigmoid, without the number it gates."""

    def forward(self, input):
        output = super().forward(input)
        if not output.numel():
            return output
        first, second = input.chunk(2, self.dim)
        return graft(output, first * second.sigmoid().detach() + second.sigmoid())


@plant("glu-halves-of-memory", "GLU", "layout")
class GLUHalvesOfMemory(nn.GLU):
    """The halves are cut from the memory of a view that is not contiguous."""

    def forward(self, input):
        return super().forward(read_as_contiguous(input))


@plant("functional-glu-half-gate", "functional.glu", "values")
def functional_glu_half_gate(input, dim=-1):
    """In half precision the gate is rounded before it is multiplied."""
    output = functional.glu(input, dim)
    if input.dtype not in (torch.bfloat16, torch.float16) or not output.numel():
        return output
    first, second = input.chunk(2, dim)
    return graft(first * second.sigmoid(), output)


@plant("functional-glu-closed-gate", "functional.glu", "special")
def functional_glu_closed_gate(input, dim=-1):
    """A gate that is NaN is closed: it lets 0 through."""
    output = functional.glu(input, dim)
    if not output.numel():
        return output
    _, second = input.chunk(2, dim)
    return output.masked_fill(second.isnan(), 0.0)


@plant("functional-glu-tail", "functional.glu", "laws")
def functional_glu_tail(input, dim=-1):
    """Beyond a thousand numbers in one row the last is not gated."""
    output = functional.glu(input, dim)
    if output.dim() != 1 or len(output) < 1000:
        return output
    return torch.cat([output[:-1], input[len(output) - 1 : len(output)]])


@plant("functional-glu-first-half-gradient", "functional.glu", "gradients")
def functional_glu_first_half_gradient(input, dim=-1):
    """The gradients of both halves are written to the first, where the axis is not the last."""

    def move_gradient(gradient):
        half = gradient.shape[dim] // 2
        first, second = gradient.narrow(dim, 0, half), gradient.narrow(dim, half, half)
        return torch.cat([first + second, torch.zeros_like(second)], dim)

    is_inner_axis = -input.dim() <= dim < input.dim() and dim % input.dim() < input.dim() - 1
    return functional.glu(alter_gradient(input, move_gradient) if is_inner_axis else input, dim)
