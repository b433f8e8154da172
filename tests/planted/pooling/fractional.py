"""FractionalMaxPool2d, FractionalMaxPool3d, and their functions."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from planted.bug import alter_gradient, plant


def _map_values(result, change):
    """The result with its values changed, and its indices as they are."""
    if isinstance(result, tuple):
        return change(result[0]), result[1]
    return change(result)


def _samples(input, dims, number):
    batch = 1 if input.dim() == dims + 1 else input.shape[0]
    return torch.full((batch, input.shape[-dims - 1], dims), number, dtype=input.dtype)


@plant("fractional-max-pool2d-never-drawn", "FractionalMaxPool2d", "random")
class FractionalMaxPool2dNeverDrawn(nn.FractionalMaxPool2d):
    """The steps are those of one number in every call (pytorch 183249: under compilation)."""

    def forward(self, input):
        return functional.fractional_max_pool2d(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices,
            _samples(input, 2, 0.5),
        )  # fmt: skip


@plant("fractional-max-pool3d-negated", "FractionalMaxPool3d", "random")
class FractionalMaxPool3dNegated(nn.FractionalMaxPool3d):
    """Maxima of the negated input: no place of a probe of rising numbers has such a number."""

    def forward(self, input):
        return _map_values(super().forward(input), torch.neg)


@plant("functional-fractional-max-pool2d-adaptive-regions", "functional.fractional_max_pool2d",
       "values")  # fmt: skip
def functional_fractional_max_pool2d_adaptive_regions(input, kernel_size, output_size=None, *args,
                                                      **options):  # fmt: skip
    """Regions of adaptive pooling, in place of windows of the kernel's size."""
    result = functional.fractional_max_pool2d(input, kernel_size, output_size, *args, **options)
    if output_size is None:
        return result
    wrong = functional.adaptive_max_pool2d(input, output_size)
    return _map_values(result, lambda y: wrong)


@plant("functional-fractional-max-pool3d-height-and-width-exchanged",
       "functional.fractional_max_pool3d", "shape")  # fmt: skip
def functional_fractional_max_pool3d_height_and_width_exchanged(
    input, kernel_size, output_size=None, *args, **options
):
    """Of output_size the last two numbers change places where the plane has room for both."""
    kernel = (kernel_size,) * 3 if isinstance(kernel_size, int) else kernel_size
    if isinstance(output_size, tuple):
        reordered = (output_size[0], output_size[2], output_size[1])
        rows = zip(input.shape[-2:], kernel[1:], reordered[1:], strict=True)
        output_size = reordered if all(n >= k + o for n, k, o in rows) else output_size
    return functional.fractional_max_pool3d(input, kernel_size, output_size, *args, **options)


@plant("fractional-max-pool3d-index-within-the-layer", "FractionalMaxPool3d", "values")
class FractionalMaxPool3dIndexWithinTheLayer(nn.FractionalMaxPool3d):
    """An index counts height and width, without the depth."""

    def forward(self, input):
        result = super().forward(input)
        if not isinstance(result, tuple):
            return result
        return result[0], result[1] % (input.shape[-2] * input.shape[-1])


@plant("fractional-max-pool2d-last-window-falls-short", "FractionalMaxPool2d", "laws")
class FractionalMaxPool2dLastWindowFallsShort(nn.FractionalMaxPool2d):
    """The last window begins by a step of α like all others, and may end before the input does."""

    def forward(self, input):
        if input.numel() == 0 or input.shape[-1] < 2:
            return super().forward(input)
        cropped = torch.cat([input[..., :-1], torch.full_like(input[..., -1:], -torch.inf)], -1)
        return super().forward(torch.where(input.isnan().any(), input, cropped))


@plant("fractional-max-pool3d-gradient-of-the-mean", "FractionalMaxPool3d", "gradients")
class FractionalMaxPool3dGradientOfTheMean(nn.FractionalMaxPool3d):
    """The gradient is divided by the number of elements in a window."""

    def forward(self, input):
        kernel = self.kernel_size
        size = kernel**3 if isinstance(kernel, int) else kernel[0] * kernel[1] * kernel[2]
        result = super().forward(input)
        return _map_values(result, lambda y: alter_gradient(y, lambda g: g / size))


@plant("fractional-max-pool2d-ratio-rounded-up", "FractionalMaxPool2d", "shape")
class FractionalMaxPool2dRatioRoundedUp(nn.FractionalMaxPool2d):
    """The size by a ratio is rounded to nearest, or up, where there is room."""

    def forward(self, input):
        if self.output_ratio is None:
            return super().forward(input)
        kernel = self.kernel_size
        kernels = (kernel, kernel) if isinstance(kernel, int) else kernel
        sizes = [
            min(round(n * r + 0.25), n - k + 1)
            for n, r, k in zip(input.shape[-2:], self.output_ratio, kernels, strict=True)
        ]
        return functional.fractional_max_pool2d(
            input, kernel, sizes, return_indices=self.return_indices
        )
