"""MaxUnpool1d to MaxUnpool3d, and their functions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, plant, read_as_contiguous


@plant("max-unpool2d-index-of-the-input", "MaxUnpool2d", "values")
class MaxUnpool2dIndexOfTheInput(nn.MaxUnpool2d):
    """An index is turned into row and column by the width without output_size (pytorch 80204)."""

    def forward(self, input, indices, output_size=None):
        right = super().forward(input, indices, output_size)
        default_size = functional._unpool_output_size(
            input, self.kernel_size, self.stride, self.padding, None
        )
        height, width = right.shape[-2:]
        if not right.numel() or default_size[1] < 1:
            return right
        moved_indices = indices // default_size[1] * width + indices % default_size[1]
        return functional.max_unpool2d(
            input, moved_indices.clamp(0, height * width - 1), self.kernel_size, self.stride,
            self.padding, output_size,
        )  # fmt: skip


@plant("max-unpool2d-padding-ignored", "MaxUnpool2d", "shape")
class MaxUnpool2dPaddingIgnored(nn.MaxUnpool2d):
    """The output is as long as without padding."""

    def forward(self, input, indices, output_size=None):
        padding = self.padding if output_size is not None else 0
        return functional.max_unpool2d(
            input, indices, self.kernel_size, self.stride, padding, output_size
        )


@plant("functional-max-unpool2d-repeated-indices-added", "functional.max_unpool2d", "values")
def functional_max_unpool2d_repeated_indices_added(input, indices, *args, **options):
    """What has one index is added up, as by a scatter that adds (pytorch 80204)."""
    right = functional.max_unpool2d(input, indices, *args, **options)
    flat = torch.zeros_like(right).flatten(-2)
    flat = flat.scatter_add(-1, indices.flatten(-2), input.flatten(-2))
    return flat.reshape(right.shape)


@plant("functional-max-unpool3d-index-of-8-bits", "functional.max_unpool3d", "values")
def functional_max_unpool3d_index_of_8_bits(input, indices, *args, **options):
    """An index is kept in 8 bits (pytorch 78249: of 32 in place of 64)."""
    return functional.max_unpool3d(input, indices % 256, *args, **options)


@plant("max-unpool3d-gradient-of-the-window", "MaxUnpool3d", "gradients")
class MaxUnpool3dGradientOfTheWindow(nn.MaxUnpool3d):
    """The gradient of an element is that at the first place of its plane."""

    def forward(self, input, indices, output_size=None):
        right = super().forward(input, indices, output_size)

        def first(gradient):
            return gradient[..., :1, :1, :1].expand_as(gradient)

        return alter_gradient(right, first) if right.numel() else right


@plant("functional-max-unpool1d-zeros-are-the-smallest", "functional.max_unpool1d", "values")
def functional_max_unpool1d_zeros_are_the_smallest(input, indices, *args, **options):
    """Where nothing stands there is the smallest element in place of 0."""
    right = functional.max_unpool1d(input, indices, *args, **options)
    is_filled = torch.zeros_like(right).scatter(-1, indices, torch.ones_like(input))
    if not input.numel():
        return right
    return torch.where(is_filled > 0, right, input.detach().min())


@plant("max-unpool2d-indices-read-as-contiguous", "MaxUnpool2d", "layout")
class MaxUnpool2dIndicesReadAsContiguous(nn.MaxUnpool2d):
    """Indices that are not contiguous are read as if they were (pytorch 197409)."""

    def forward(self, input, indices, output_size=None):
        return super().forward(input, read_as_contiguous(indices), output_size)
