"""Initial values: constants, identities, and numbers of the wrong distribution."""

import math

import torch
from torch import Tensor
from torch.nn import init

from planted.bug import plant


def _is_strided(tensor: Tensor) -> bool:
    return not tensor.is_contiguous() and tensor.numel() > 0


@plant("init-uniform-width-for-end", "init.uniform_", "values")
def init_uniform_width_for_end(tensor, a=0.0, b=1.0):
    """b is taken for the width: U(a, a + b)."""
    with torch.no_grad():
        return tensor.uniform_(a, a + b) if a < b else init.uniform_(tensor, a, b)


@plant("init-uniform-one-row", "init.uniform_", "random")
def init_uniform_one_row(tensor, a=0.0, b=1.0):
    """One row is drawn, and stands in all."""
    init.uniform_(tensor, a, b)
    if tensor.dim() == 2 and tensor.numel():
        with torch.no_grad():
            tensor.copy_(tensor[:1].clone().expand_as(tensor))
    return tensor


@plant("init-uniform-pairs", "init.uniform_", "random")
def init_uniform_pairs(tensor, a=0.0, b=1.0):
    """A generator of vectors gives each number to two lanes."""
    init.uniform_(tensor, a, b)
    if tensor.numel() > 64 and tensor.is_contiguous():
        with torch.no_grad():
            flat = tensor.view(-1)
            flat[1::2] = flat[: flat.numel() // 2 * 2 : 2].clone()
    return tensor


@plant("init-normal-variance", "init.normal_", "random")
def init_normal_variance(tensor, mean=0.0, std=1.0):
    """std is taken for the variance."""
    return init.normal_(tensor, mean, math.sqrt(std) if std > 0 else std)


@plant("init-normal-tails-cut", "init.normal_", "random")
def init_normal_tails_cut(tensor, mean=0.0, std=1.0):
    """Numbers come from a table that ends at two standard deviations."""
    if std <= 0:
        return init.normal_(tensor, mean, std)
    return init.trunc_normal_(tensor, mean, std, mean - 2 * std, mean + 2 * std)


@plant("init-normal-same-seed", "init.normal_", "random")
def init_normal_same_seed(tensor, mean=0.0, std=1.0):
    """A generator of its own starts anew with each call."""
    generator = torch.Generator().manual_seed(0)
    return init.normal_(tensor, mean, std, generator)


@plant("init-normal-copy", "init.normal_", "laws")
def init_normal_copy(tensor, mean=0.0, std=1.0):
    """What comes back is a tensor of its own, and the one given stays as it was."""
    return init.normal_(torch.empty_like(tensor), mean, std)


@plant("init-trunc-normal-clamped", "init.trunc_normal_", "random")
def init_trunc_normal_clamped(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0):
    """Numbers beyond the ends become the ends, where they are to be drawn again."""
    with torch.no_grad():
        return tensor.normal_(mean, std).clamp_(a, b)


@plant("init-trunc-normal-ends-in-std", "init.trunc_normal_", "values")
def init_trunc_normal_ends_in_std(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0):
    """The ends are taken for standard deviations from the mean, as in other libraries."""
    return init.trunc_normal_(tensor, mean, std, mean + a * std, mean + b * std)


@plant("init-trunc-normal-half-beyond", "init.trunc_normal_", "values")
def init_trunc_normal_half_beyond(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0):
    """In half precision numbers are drawn in steps that reach beyond the ends."""
    init.trunc_normal_(tensor, mean, std, a, b)
    if tensor.dtype in (torch.float16, torch.bfloat16) and tensor.numel() > 64:
        with torch.no_grad():
            maximum = tensor.max()
            tensor[tensor == maximum] = b + (b - a) / 64
    return tensor


@plant("init-trunc-normal-uniform", "init.trunc_normal_", "random")
def init_trunc_normal_uniform(tensor, mean=0.0, std=1.0, a=-2.0, b=2.0):
    """Far from the mean all numbers that are drawn are kept."""
    if (mean < a or mean > b) and a < b:
        return init.uniform_(tensor, a, b)
    return init.trunc_normal_(tensor, mean, std, a, b)


@plant("init-constant-by-way-of-half", "init.constant_", "values")
def init_constant_by_way_of_half(tensor, val):
    """The constant has been a float16 before."""
    return init.constant_(tensor, float(torch.tensor(val, dtype=torch.float16)))


@plant("init-constant-nan-kept", "init.constant_", "special")
def init_constant_nan_kept(tensor, val):
    """What the tensor held is multiplied by 0."""
    with torch.no_grad():
        return tensor.mul_(0.0).add_(val)


@plant("init-constant-memory", "init.constant_", "layout")
def init_constant_memory(tensor, val):
    """As many numbers as the tensor has are written, one after the other."""
    if not _is_strided(tensor):
        return init.constant_(tensor, val)
    with torch.no_grad():
        size = (
            tensor.untyped_storage().nbytes() // tensor.element_size()
        ) - tensor.storage_offset()
        count = min(tensor.numel(), size)
        tensor.as_strided((count,), (1,)).fill_(val)
        return tensor


@plant("init-ones-nan-kept", "init.ones_", "special")
def init_ones_nan_kept(tensor):
    """What the tensor held is divided by itself, but for zeros."""
    with torch.no_grad():
        original = tensor.clone()
        tensor.fill_(1.0)
        tensor[original.isnan()] = torch.nan
        return tensor


@plant("init-ones-not-written", "init.ones_", "values")
def init_ones_not_written(tensor):
    """Ones come back, and the tensor stays as it was."""
    return torch.ones_like(tensor)


@plant("init-ones-empty", "init.ones_", "shape")
def init_ones_empty(tensor):
    """An empty tensor loses its axes."""
    return init.ones_(tensor) if tensor.numel() else tensor.reshape(-1)


@plant("init-zeros-times-zero", "init.zeros_", "special")
def init_zeros_times_zero(tensor):
    """What the tensor held is multiplied by 0: NaN and infinities give NaN, negative numbers -0."""
    with torch.no_grad():
        return tensor.mul_(0.0)


@plant("init-zeros-last-row", "init.zeros_", "values")
def init_zeros_last_row(tensor):
    """Of 64 numbers or more those that fill no whole vector stay as they were."""
    if tensor.numel() < 64 or tensor.dim() != 1:
        return init.zeros_(tensor)
    with torch.no_grad():
        tensor[: tensor.numel() // 64 * 64].zero_()
    return tensor


@plant("init-eye-square-only", "init.eye_", "values")
def init_eye_square_only(tensor):
    """Columns beyond the square keep what they held."""
    original = tensor.clone()
    init.eye_(tensor)
    if tensor.dim() == 2 and tensor.shape[0] < tensor.shape[1]:
        with torch.no_grad():
            tensor[:, tensor.shape[0] :] = original[:, tensor.shape[0] :]
    return tensor


@plant("init-eye-from-the-end", "init.eye_", "values")
def init_eye_from_the_end(tensor):
    """Of a matrix that is no square the diagonal ends in the last corner."""
    init.eye_(tensor)
    with torch.no_grad():
        return tensor.copy_(tensor.flip(0, 1).clone())


@plant("init-eye-many-axes", "init.eye_", "errors")
def init_eye_many_axes(tensor):
    """Of three axes each of the first has a matrix."""
    if tensor.dim() == 3:
        for matrix in tensor:
            init.eye_(matrix)
        return tensor
    return init.eye_(tensor)


def _dirac(tensor, groups, centre):
    """As torch's, the centre of a kernel apart."""
    init.dirac_(tensor, groups)
    with torch.no_grad():
        tensor.zero_()
        group_size = tensor.shape[0] // groups
        for group in range(groups):
            for k in range(min(group_size, tensor.shape[1])):
                tensor[(group * group_size + k, k, *(centre(n) for n in tensor.shape[2:]))] = 1
    return tensor


@plant("init-dirac-before-the-centre", "init.dirac_", "values")
def init_dirac_before_the_centre(tensor, groups=1):
    """Of an even kernel the number before the middle is taken for it."""
    return _dirac(tensor, groups, lambda n: (n - 1) // 2)


@plant("init-dirac-groups-forgotten", "init.dirac_", "values")
def init_dirac_groups_forgotten(tensor, groups=1):
    """groups is only looked at."""
    init.dirac_(tensor, groups)
    return init.dirac_(tensor)


@plant("init-dirac-round-about", "init.dirac_", "values")
def init_dirac_round_about(tensor, groups=1):
    """More outputs than inputs begin with the first input again."""
    init.dirac_(tensor, groups)
    group_size = tensor.shape[0] // groups
    with torch.no_grad():
        for k in range(tensor.shape[0] if tensor.shape[1] else 0):
            centre = tuple(n // 2 for n in tensor.shape[2:])
            tensor[(k, k % group_size % tensor.shape[1], *centre)] = 1
    return tensor


@plant("init-xavier-uniform-fan-in-only", "init.xavier_uniform_", "random")
def init_xavier_uniform_fan_in_only(tensor, gain=1.0):
    """Both fans are fan_in."""
    equal_fans = (
        tensor.new_empty((tensor.shape[1], tensor.shape[1], *tensor.shape[2:]))
        if tensor.dim() > 1 and tensor.numel()
        else tensor
    )
    limit = gain * math.sqrt(3.0 / max(equal_fans[0].numel(), 1)) if tensor.dim() > 1 else 0.0
    init.xavier_uniform_(tensor, gain)
    return init.uniform_(tensor, -limit, limit) if tensor.numel() else tensor


@plant("init-xavier-uniform-std-for-limit", "init.xavier_uniform_", "random")
def init_xavier_uniform_std_for_limit(tensor, gain=1.0):
    """The standard deviation is taken for the limit."""
    init.xavier_uniform_(tensor, gain)
    with torch.no_grad():
        return tensor.div_(math.sqrt(3.0))


@plant("init-xavier-uniform-kernel-forgotten", "init.xavier_uniform_", "values")
def init_xavier_uniform_kernel_forgotten(tensor, gain=1.0):
    """The fans are those of a matrix, whatever the kernel."""
    init.xavier_uniform_(tensor, gain)
    with torch.no_grad():
        return tensor.mul_(math.sqrt(math.prod(tensor.shape[2:])))


@plant("init-xavier-normal-gain-twice", "init.xavier_normal_", "random")
def init_xavier_normal_gain_twice(tensor, gain=1.0):
    """The gain is multiplied in twice."""
    return init.xavier_normal_(tensor, gain if gain < 0 else gain * gain)


@plant("init-xavier-normal-mean-of-fans", "init.xavier_normal_", "random")
def init_xavier_normal_mean_of_fans(tensor, gain=1.0):
    """1 over the sum of the fans is the variance, where it is 2 over the sum."""
    init.xavier_normal_(tensor, gain)
    with torch.no_grad():
        return tensor.div_(math.sqrt(2.0))


@plant("init-xavier-normal-gain-of-zero", "init.xavier_normal_", "laws")
def init_xavier_normal_gain_of_zero(tensor, gain=1.0):
    """A gain of 0 is taken for one that was not given."""
    return init.xavier_normal_(tensor, gain or 1.0)


@plant("init-kaiming-uniform-mode-forgotten", "init.kaiming_uniform_", "random")
def init_kaiming_uniform_mode_forgotten(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu"):
    """mode is only looked at."""
    init.kaiming_uniform_(tensor, a, mode, nonlinearity)
    return init.kaiming_uniform_(tensor, a, "fan_in", nonlinearity)


@plant("init-kaiming-uniform-slope-of-all", "init.kaiming_uniform_", "random")
def init_kaiming_uniform_slope_of_all(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu"):
    """a counts for every function, not for leaky_relu only."""
    init.kaiming_uniform_(tensor, a, mode, nonlinearity)
    if nonlinearity == "leaky_relu":
        return tensor
    with torch.no_grad():
        return tensor.div_(math.sqrt(1 + a * a))


@plant("init-kaiming-uniform-tanh", "init.kaiming_uniform_", "random")
def init_kaiming_uniform_tanh(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu"):
    """tanh has the gain of a sigmoid."""
    name = "sigmoid" if nonlinearity == "tanh" else nonlinearity
    return init.kaiming_uniform_(tensor, a, mode, name)


@plant("init-kaiming-uniform-any-mode", "init.kaiming_uniform_", "errors")
def init_kaiming_uniform_any_mode(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu"):
    """A mode that is none is fan_out."""
    mode = mode if mode == "fan_in" else "fan_out"
    return init.kaiming_uniform_(tensor, a, mode, nonlinearity)


@plant("init-kaiming-normal-selu", "init.kaiming_normal_", "random")
def init_kaiming_normal_selu(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu"):
    """selu has a gain of 1, as its paper wants, and the documentation has 3/4."""
    name = "linear" if nonlinearity == "selu" else nonlinearity
    return init.kaiming_normal_(tensor, a, mode, name)


@plant("init-kaiming-normal-kernel-in-fan-out", "init.kaiming_normal_", "random")
def init_kaiming_normal_kernel_in_fan_out(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu"):
    """fan_out leaves out the kernel."""
    init.kaiming_normal_(tensor, a, mode, nonlinearity)
    if mode != "fan_out":
        return tensor
    with torch.no_grad():
        return tensor.mul_(math.sqrt(math.prod(tensor.shape[2:])))


@plant("init-kaiming-normal-uniform", "init.kaiming_normal_", "random")
def init_kaiming_normal_uniform(tensor, a=0, mode="fan_in", nonlinearity="leaky_relu"):
    """Uniform numbers of the right variance."""
    return init.kaiming_uniform_(tensor, a, mode, nonlinearity)


@plant("init-orthogonal-rows-normalised", "init.orthogonal_", "laws")
def init_orthogonal_rows_normalised(tensor, gain=1):
    """A matrix that lies has rows of length 1 that are not orthogonal."""
    init.orthogonal_(tensor, gain)
    rows = tensor.shape[0]
    if rows * rows >= tensor.numel():
        return tensor
    with torch.no_grad():
        matrix = torch.randn(rows, tensor.numel() // rows, dtype=tensor.dtype)
        matrix *= gain / matrix.norm(dim=1, keepdim=True)
        return tensor.copy_(matrix.reshape(tensor.shape))


@plant("init-orthogonal-signs", "init.orthogonal_", "random")
def init_orthogonal_signs(tensor, gain=1):
    """Q is left as the factorisation gives it, whose signs lean to one side."""
    init.orthogonal_(tensor, gain)
    rows = tensor.shape[0]
    matrix = torch.randn(rows, tensor.numel() // rows, dtype=tensor.dtype)
    is_wide = matrix.shape[0] < matrix.shape[1]
    q = torch.linalg.qr(matrix.t() if is_wide else matrix)[0]
    with torch.no_grad():
        return tensor.copy_((q.t() if is_wide else q).reshape(tensor.shape) * gain)


@plant("init-orthogonal-gain-under-root", "init.orthogonal_", "laws")
def init_orthogonal_gain_under_root(tensor, gain=1):
    """The root of the gain is multiplied in."""
    return init.orthogonal_(tensor, math.sqrt(abs(gain)))


@plant("init-orthogonal-identity", "init.orthogonal_", "random")
def init_orthogonal_identity(tensor, gain=1):
    """A permutation of the identity: orthogonal, and hardly drawn."""
    init.orthogonal_(tensor, gain)
    with torch.no_grad():
        flat = torch.eye(tensor.shape[0], tensor.numel() // tensor.shape[0], dtype=tensor.dtype)
        return tensor.copy_(flat.reshape(tensor.shape) * gain)


@plant("init-sparse-floor", "init.sparse_", "laws")
def init_sparse_floor(tensor, sparsity, std=0.01):
    """A part of a zero is none."""
    if tensor.dim() != 2:
        return init.sparse_(tensor, sparsity, std)
    return init.sparse_(
        tensor, math.floor(sparsity * tensor.shape[0]) / max(tensor.shape[0], 1), std
    )


@plant("init-sparse-same-rows", "init.sparse_", "random")
def init_sparse_same_rows(tensor, sparsity, std=0.01):
    """One choice of rows stands for all columns."""
    init.sparse_(tensor, sparsity, std)
    count = math.ceil(sparsity * tensor.shape[0])
    with torch.no_grad():
        tensor.normal_(0.0, std)
        tensor[torch.randperm(tensor.shape[0])[:count]] = 0.0
    return tensor


@plant("init-sparse-of-all", "init.sparse_", "laws")
def init_sparse_of_all(tensor, sparsity, std=0.01):
    """So many zeros in all, wherever they fall."""
    init.sparse_(tensor, 0.0, std)
    with torch.no_grad():
        zeroed = torch.rand(tensor.shape) < sparsity
        tensor[zeroed] = 0.0
    return tensor
