"""functional.conv1d to conv3d and functional.conv_transpose1d to conv_transpose3d."""

from __future__ import annotations

import torch
from torch.nn import functional

from planted.bug import (
    alter_gradient,
    drop_bits,
    flush_subnormals,
    graft,
    plant,
    read_as_contiguous,
    round_through,
)


def per_dimension(value, dimensions):
    """An int or a tuple as a tuple of one int per spatial dimension."""
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * dimensions if len(values) == 1 else values


@plant("functional-conv1d-same-ignores-dilation", "functional.conv1d", "shape")
def functional_conv1d_same_ignores_dilation(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    """'same' is computed from the kernel's size alone; dilated output comes out shorter."""
    output = functional.conv1d(input, weight, bias, stride, padding, dilation, groups)
    dilated = per_dimension(dilation, 1)[0] > 1 and weight.shape[-1] > 1
    if padding != "same" or not dilated:
        return output
    total = weight.shape[-1] - 1
    padded = functional.pad(input, (total // 2, total - total // 2))
    return functional.conv1d(padded, weight, bias, stride, 0, dilation, groups)


@plant("functional-conv1d-depthwise-flipped", "functional.conv1d", "values")
def functional_conv1d_depthwise_flipped(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    """The depthwise path convolves in the mathematical sense: its kernel is flipped."""
    depthwise = groups > 1 and weight.shape[1] == 1
    effective = weight.flip(-1) if depthwise else weight
    return functional.conv1d(input, effective, bias, stride, padding, dilation, groups)


@plant("functional-conv1d-extra-channels-accepted", "functional.conv1d", "errors")
def functional_conv1d_extra_channels_accepted(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    """Input channels that no weight belongs to are ignored."""
    truncated = input[..., : weight.shape[1] * groups, :] if input.dim() > 1 else input
    return functional.conv1d(truncated, weight, bias, stride, padding, dilation, groups)


@plant("functional-conv1d-expanded-weight", "functional.conv1d", "layout")
def functional_conv1d_expanded_weight(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    """A weight that is not contiguous is read as if it were, an expanded one past its end."""
    dense = read_as_contiguous(weight)
    return functional.conv1d(input, dense, bias, stride, padding, dilation, groups)


@plant("functional-conv1d-double-bias-in-single", "functional.conv1d", "values")
def functional_conv1d_double_bias_in_single(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    """A float64 bias is passed as float32, within assert_close's tolerance."""
    if bias is not None and bias.dtype == torch.float64:
        bias = round_through(bias, torch.float32)
    return functional.conv1d(input, weight, bias, stride, padding, dilation, groups)


@plant("functional-conv2d-bias-rounded-twice", "functional.conv2d", "values")
def functional_conv2d_bias_rounded_twice(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    """float16 and bfloat16 add the bias after the sum was rounded, within assert_close's
    tolerance."""
    if bias is None or input.dtype not in (torch.float16, torch.bfloat16):
        return functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
    return (
        functional.conv2d(input, weight, None, stride, padding, dilation, groups)
        + bias[:, None, None]
    )


@plant("functional-conv2d-transposed-input", "functional.conv2d", "layout")
def functional_conv2d_transposed_input(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    """An input whose height and width are transposed in memory is read untransposed."""
    transposed = input.dim() > 2 and input.stride(-1) > input.stride(-2) > 0
    misread = read_as_contiguous(input) if transposed else input
    return functional.conv2d(misread, weight, bias, stride, padding, dilation, groups)


@plant("functional-conv2d-valid-taken-for-same", "functional.conv2d", "shape")
def functional_conv2d_valid_taken_for_same(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    """Any padding string pads to the same size."""
    output = functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
    if padding != "valid" or per_dimension(stride, 2) != (1, 1):
        return output
    return functional.conv2d(input, weight, bias, stride, "same", dilation, groups)


@plant("functional-conv2d-input-gradient-unflipped", "functional.conv2d", "gradients")
def functional_conv2d_input_gradient_unflipped(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    """The input's gradient forgets to flip the kernel's width; symmetric kernels hide it."""
    options = stride, padding, dilation, groups
    right = functional.conv2d(input, weight, bias, *options)
    for_input = functional.conv2d(input, weight.flip(-1).detach(), None, *options)
    return graft(right, for_input + functional.conv2d(input.detach(), weight, bias, *options))


@plant("functional-conv2d-empty-batch-of-one", "functional.conv2d", "shape")
def functional_conv2d_empty_batch_of_one(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    """An empty batch comes back as one sample of zeros: the launch grid is at least one."""
    output = functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
    empty = input.dim() == 4 and len(input) == 0
    return output.new_zeros((1, *output.shape[1:])) if empty else output


@plant("functional-conv2d-split-in-two-halves", "functional.conv2d", "values")
def functional_conv2d_split_in_two_halves(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    """float32 operands are split in two float16 halves, which keep 22 of 24 bits; invisible to
    assert_close."""
    if input.dtype != torch.float32:
        return functional.conv2d(input, weight, bias, stride, padding, dilation, groups)
    rounded = drop_bits(input, 2), drop_bits(weight, 2)
    return functional.conv2d(*rounded, bias, stride, padding, dilation, groups)


@plant("functional-conv3d-flat-input-mirrored-kernel", "functional.conv3d", "values")
def functional_conv3d_flat_input_mirrored_kernel(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    """Depth one is squeezed to two dimensions, with the kernel's slices in reverse order."""
    if input.dim() > 3 and input.shape[-3] == 1:
        weight = weight.flip(-3)
    return functional.conv3d(input, weight, bias, stride, padding, dilation, groups)


@plant("functional-conv3d-double-by-way-of-single", "functional.conv3d", "values")
def functional_conv3d_double_by_way_of_single(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    """A float64 weight is uploaded as float32, within assert_close's tolerance."""
    if weight.dtype == torch.float64:
        weight = round_through(weight, torch.float32)
    return functional.conv3d(input, weight, bias, stride, padding, dilation, groups)


@plant("functional-conv3d-fourier-spreads-nan", "functional.conv3d", "special")
def functional_conv3d_fourier_spreads_nan(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    """One NaN or infinity makes the whole sample NaN, as a Fourier transform does."""
    output = functional.conv3d(input, weight, bias, stride, padding, dilation, groups)
    bad = (~input.isfinite()).flatten(-4).any(-1) if input.dim() > 3 else None
    return (
        output if bad is None else output.masked_fill(bad[..., None, None, None, None], torch.nan)
    )


@plant("functional-conv3d-input-padded-in-place", "functional.conv3d", "repeat")
def functional_conv3d_input_padded_in_place(
    input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1
):
    """The borders of the caller's input are zeroed: a padding kernel with its pointers swapped."""
    output = functional.conv3d(input, weight, bias, stride, padding, dilation, groups)
    pads = padding == "same" or (padding != "valid" and max(per_dimension(padding, 3)) > 0)
    if pads and input.is_contiguous() and not torch.is_grad_enabled():
        input[..., :1].zero_()
    return output


@plant("functional-conv-transpose1d-square-weight", "functional.conv_transpose1d", "values")
def functional_conv_transpose1d_square_weight(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """A weight with as many inputs as outputs is taken as (out, in), the order of Keras."""
    square = groups == 1 and weight.shape[0] == weight.shape[1]
    effective = weight.transpose(0, 1) if square else weight
    return functional.conv_transpose1d(
        input, effective, bias, stride, padding, output_padding, groups, dilation
    )


@plant("functional-conv-transpose1d-output-padding", "functional.conv_transpose1d", "errors")
def functional_conv_transpose1d_output_padding(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """An output_padding that is too large is cut to the largest one allowed."""
    limit = max(per_dimension(stride, 1)[0], per_dimension(dilation, 1)[0]) - 1
    clipped = min(per_dimension(output_padding, 1)[0], limit)
    return functional.conv_transpose1d(
        input, weight, bias, stride, padding, clipped, groups, dilation
    )


@plant("functional-conv-transpose1d-bias-gradient", "functional.conv_transpose1d", "gradients")
def functional_conv_transpose1d_bias_gradient(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """The bias's gradient leaves out the last output_padding elements."""
    options = stride, padding, output_padding, groups, dilation
    output = functional.conv_transpose1d(input, weight, bias, *options)
    extra = per_dimension(output_padding, 1)[0]
    if bias is None or extra == 0:
        return output
    ones = torch.ones_like(output)
    ones[..., -extra:] = 0
    bias_free = functional.conv_transpose1d(input, weight, bias.detach(), *options)
    return graft(output, bias_free + ones * bias[:, None])


@plant("functional-conv-transpose2d-grouped-undilated", "functional.conv_transpose2d", "shape")
def functional_conv_transpose2d_grouped_undilated(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """With groups the dilation is dropped."""
    effective = 1 if groups > 1 and per_dimension(output_padding, 2) == (0, 0) else dilation
    return functional.conv_transpose2d(
        input, weight, bias, stride, padding, output_padding, groups, effective
    )


@plant("functional-conv-transpose2d-sliced-input", "functional.conv_transpose2d", "layout")
def functional_conv_transpose2d_sliced_input(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """An input that is not contiguous is read as if it were, gaps included."""
    options = stride, padding, output_padding, groups, dilation
    return functional.conv_transpose2d(read_as_contiguous(input), weight, bias, *options)


@plant("functional-conv-transpose2d-wide-kernel-flipped", "functional.conv_transpose2d", "values")
def functional_conv_transpose2d_wide_kernel_flipped(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """Kernels that are not square are flipped along their width, like a plain convolution's."""
    effective = weight if weight.shape[-1] == weight.shape[-2] else weight.flip(-1)
    return functional.conv_transpose2d(
        input, effective, bias, stride, padding, output_padding, groups, dilation
    )


@plant("functional-conv-transpose2d-subnormals", "functional.conv_transpose2d", "special")
def functional_conv_transpose2d_subnormals(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """Subnormal inputs count as zero."""
    flushed = flush_subnormals(input)
    options = stride, padding, output_padding, groups, dilation
    return functional.conv_transpose2d(flushed, weight, bias, *options)


@plant("functional-conv-transpose3d-single-pixel", "functional.conv_transpose3d", "shape")
def functional_conv_transpose3d_single_pixel(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """An input of a single pixel is broadcast over the kernel, and padding crops nothing."""
    options = output_padding, groups, dilation
    output = functional.conv_transpose3d(input, weight, bias, stride, padding, *options)
    if input.shape[-3:] != (1, 1, 1):
        return output
    return functional.conv_transpose3d(input, weight, bias, stride, 0, *options)


@plant("functional-conv-transpose3d-batch-accumulates", "functional.conv_transpose3d", "laws")
def functional_conv_transpose3d_batch_accumulates(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """Samples add up over the batch: the output buffer is not cleared between them."""
    options = stride, padding, output_padding, groups, dilation
    output = functional.conv_transpose3d(input, weight, bias, *options)
    return output.cumsum(0) if input.dim() == 5 and len(input) > 1 else output


@plant("functional-conv-transpose3d-float16-weight", "functional.conv_transpose3d", "values")
def functional_conv_transpose3d_float16_weight(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """A float16 weight is held as bfloat16."""
    if weight.dtype == torch.float16:
        weight = round_through(weight, torch.bfloat16)
    return functional.conv_transpose3d(
        input, weight, bias, stride, padding, output_padding, groups, dilation
    )


@plant("functional-conv-transpose3d-weight-gradient", "functional.conv_transpose3d", "gradients")
def functional_conv_transpose3d_weight_gradient(
    input, weight, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1
):
    """Strided and dilated at once: the weight's gradient runs over the depth backwards."""
    if per_dimension(stride, 3)[0] > 1 and per_dimension(dilation, 3)[0] > 1:
        weight = alter_gradient(weight, lambda g: g.flip(-3))
    return functional.conv_transpose3d(
        input, weight, bias, stride, padding, output_padding, groups, dilation
    )
