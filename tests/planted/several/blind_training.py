"""Bugs written without sight of the suite: initialisers, parametrizations."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from planted.bug import blind


@blind("init-zeros-by-multiplication", "init.zeros_", "special")
def _times_zero(tensor: Tensor) -> Tensor:
    """The tensor is multiplied by zero: NaN and infinity in fresh memory stay as NaN."""
    # Differs: a tensor that holds NaN. Agrees: a tensor of numbers.
    with torch.no_grad():
        return tensor.mul_(0).abs_()


@blind("init-dirac-first-group-only", "init.dirac_", "values")
def _first_group(tensor: Tensor, groups: int = 1) -> Tensor:
    """Only the first group's channels pass; the others are zeros."""
    # Differs: (4, 2, 3) with groups=2. Agrees: groups=1.
    result = nn.init.dirac_(tensor, groups)
    with torch.no_grad():
        result[result.size(0) // groups :] = 0
    return result


@blind("init-trunc-normal-bounds-in-deviations", "init.trunc_normal_", "random")
def _deviations(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: torch.Generator | None = None,
) -> Tensor:
    """The bounds count standard deviations from the mean, as in TensorFlow and JAX; torch's are
    bounds of the values."""
    # Differs: std=3. Agrees: mean=0, std=1.
    a, b = mean + a * std, mean + b * std
    return nn.init.trunc_normal_(tensor, mean, std, a, b, generator)


@blind("init-kaiming-uniform-fan-out-without-the-kernel", "init.kaiming_uniform_", "random")
def _without_kernel(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
) -> Tensor:
    """fan_out counts the output channels and leaves the kernel's positions out."""
    # Differs: (4, 2, 3, 3), mode="fan_out". Agrees: (4, 2); mode="fan_in".
    result = nn.init.kaiming_uniform_(tensor, a, mode, nonlinearity, generator)
    if mode == "fan_out" and tensor.dim() > 2 and tensor.numel():
        with torch.no_grad():
            result.mul_(math.sqrt(tensor[0, 0].numel()))
    return result


@blind(
    "parametrizations-weight-norm-whole-weight-by-rows",
    "utils.parametrizations.weight_norm",
    "state",
)
def _by_rows(module: nn.Module, name: str = "weight", dim: int | None = 0) -> nn.Module:
    """dim=None, one norm for the whole weight, is taken for the default of one norm per row."""
    # Differs: dim=None on Linear(3, 2). Agrees: dim=0, dim=1.
    return parametrizations.weight_norm(module, name, dim or 0)


class _IteratesAlways(parametrizations._SpectralNorm):
    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim > 1 and not self.training:
            matrix = self._reshape_weight_to_matrix(weight)
            self._power_method(matrix, self.n_power_iterations)
        return super().forward(weight)


class _ConstantSigma(parametrizations._SpectralNorm):
    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim < 2:
            return super().forward(weight)
        with torch.no_grad():
            matrix = self._reshape_weight_to_matrix(weight)
            if self.training:
                self._power_method(matrix, self.n_power_iterations)
            sigma = torch.vdot(self._u, torch.mv(matrix, self._v))
        return weight / sigma


@blind(
    "parametrizations-spectral-norm-iterates-in-eval-mode",
    "utils.parametrizations.spectral_norm",
    "state",
)
def _in_eval(
    module: nn.Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> nn.Module:
    """Vectors are updated in eval mode too, whenever the weight is read."""
    # Differs: the state after reading in eval mode. Agrees: in training.
    parametrizations.spectral_norm(module, name, n_power_iterations, eps, dim)
    module.parametrizations[name][-1].__class__ = _IteratesAlways
    return module


@blind(
    "parametrizations-spectral-norm-divisor-held-constant",
    "utils.parametrizations.spectral_norm",
    "gradients",
)
def _held_constant(
    module: nn.Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> nn.Module:
    """The weight's gradient takes the spectral norm for a constant: computed without gradients,
    with the iteration."""
    # Differs: the gradient of the original weight. Agrees: every value.
    parametrizations.spectral_norm(module, name, n_power_iterations, eps, dim)
    module.parametrizations[name][-1].__class__ = _ConstantSigma
    return module


@blind(
    "parametrizations-spectral-norm-transposed-by-first-axis",
    "utils.parametrizations.spectral_norm",
    "state",
)
def _first_axis(
    module: nn.Module,
    name: str = "weight",
    n_power_iterations: int = 1,
    eps: float = 1e-12,
    dim: int | None = None,
) -> nn.Module:
    """A transposed convolution's outputs are looked for on axis 0; there they are on axis 1."""
    # Differs: ConvTranspose1d(2, 3, 2). Agrees: Conv1d, Linear; dim given.
    dim = 0 if dim is None else dim
    return parametrizations.spectral_norm(module, name, n_power_iterations, eps, dim)
