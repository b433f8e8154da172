"""Computed weights: other norms, other axes, lost gradients, vectors that move or stand still."""

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize

from planted.bug import plant

WEIGHT = "utils.parametrizations.weight_norm"
SPECTRAL = "utils.parametrizations.spectral_norm"


class _WeightNorm(nn.Module):
    """weight_norm by its formula; `changed` makes another weight of g, v and the norm."""

    def __init__(self, dim, compute_weight):
        super().__init__()
        self.dim, self.changed = dim, compute_weight

    def _norm(self, v):
        if self.dim is None:
            return v.norm()
        axes = [axis for axis in range(v.dim()) if axis != self.dim % v.dim()]
        return v.norm(dim=axes, keepdim=True) if axes else v.abs()

    def forward(self, g, v):
        return self.changed(g, v, self._norm(v))

    def right_inverse(self, weight):
        return self._norm(weight), weight


def _find_weight(module, name, dim):
    weight = getattr(module, name, None)
    if weight is None:
        raise ValueError(f"no parameter {name}")
    if dim is not None and not -weight.dim() <= dim < weight.dim():
        raise IndexError("dim out of range")
    return weight


def _register_weight_norm(module, name, dim, compute_weight):
    _find_weight(module, name, dim)
    return parametrize.register_parametrization(
        module, name, _WeightNorm(dim, compute_weight), unsafe=True
    )


@plant("weight-norm-eps", WEIGHT, "values")
def weight_norm_eps(module, name="weight", dim=0):
    """1e-5 is added to the norm."""
    return _register_weight_norm(module, name, dim, lambda g, v, norm: g * v / (norm + 1e-5))


@plant("weight-norm-length-without-sign", WEIGHT, "values")
def weight_norm_length_without_sign(module, name="weight", dim=0):
    """A length is never negative."""
    return _register_weight_norm(module, name, dim, lambda g, v, norm: g.abs() * (v / norm))


@plant("weight-norm-of-the-largest", WEIGHT, "values")
def weight_norm_of_the_largest(module, name="weight", dim=0):
    """A direction is divided by its largest number."""

    def compute_weight(g, v, norm):
        axes = [k for k in range(v.dim()) if dim is None or k != dim % v.dim()]
        return g * v / v.abs().amax(dim=axes, keepdim=dim is not None) if axes else g * v / norm

    return _register_weight_norm(module, name, dim, compute_weight)


@plant("weight-norm-one-norm-for-all", WEIGHT, "values")
def weight_norm_one_norm_for_all(module, name="weight", dim=0):
    """The norm is that of the whole weight, whatever dim."""
    return _register_weight_norm(module, name, dim, lambda g, v, norm: g * v / v.norm())


@plant("weight-norm-direction-constant", WEIGHT, "gradients")
def weight_norm_direction_constant(module, name="weight", dim=0):
    """The norm is taken for a constant: the gradient of a direction goes along it, too."""
    return _register_weight_norm(module, name, dim, lambda g, v, norm: v * (g / norm.detach()))


@plant("weight-norm-length-not-learned", WEIGHT, "gradients")
def weight_norm_length_not_learned(module, name="weight", dim=0):
    """The gradient of a length is 0."""
    return _register_weight_norm(
        module, name, dim, lambda g, v, norm: v * (g.detach() / norm) + 0 * g
    )


@plant("weight-norm-squared-length", WEIGHT, "laws")
def weight_norm_squared_length(module, name="weight", dim=0):
    """A length counts as its square, with its sign."""
    return _register_weight_norm(module, name, dim, lambda g, v, norm: v * (g * g.abs() / norm))


@plant("weight-norm-old-names", WEIGHT, "state")
def weight_norm_old_names(module, name="weight", dim=0):
    """The state has the names that it had before there were parametrizations."""
    parametrizations.weight_norm(module, name, dim)

    def rename_entries(module, destination, prefix, local_metadata):
        for old, new in (("original0", "g"), ("original1", "v")):
            key = f"{prefix}parametrizations.{name}.{old}"
            if key in destination:
                destination[f"{prefix}{name}_{new}"] = destination.pop(key)

    module.register_state_dict_post_hook(rename_entries)
    return module


def _register_spectral_norm(module, name, steps, eps, dim, compute_weight):
    parametrizations.spectral_norm(module, name, steps, eps, dim)
    original = module.parametrizations[name][0]
    module.parametrizations[name][0] = _SpectralVariant(original, compute_weight)
    return module


class _SpectralVariant(nn.Module):
    """torch's own parametrization, its buffers as they are, with another forward."""

    def __init__(self, original, compute_weight):
        super().__init__()
        self.dim, self.eps = original.dim, original.eps
        self.n_power_iterations = getattr(original, "n_power_iterations", 0)
        for name, buffer in original.named_buffers():
            self.register_buffer(name, buffer)
        self.changed = compute_weight

    def right_inverse(self, value):
        return value

    def matrix(self, weight):
        """The weight with `dim` first."""
        return weight.movedim(self.dim, 0).flatten(1)

    @torch.no_grad()
    def iterate(self, weight, count):
        """Of the power method."""
        matrix = self.matrix(weight)
        for _ in range(count):
            self._u.copy_(functional.normalize(matrix @ self._v, dim=0, eps=self.eps))
            self._v.copy_(functional.normalize(matrix.t() @ self._u, dim=0, eps=self.eps))

    def sigma(self, weight):
        """The estimate of the largest singular value."""
        return self._u.clone() @ (self.matrix(weight) @ self._v.clone())

    def forward(self, weight):
        if weight.dim() < 2:
            return functional.normalize(weight, dim=0, eps=self.eps)
        return self.changed(self, weight)


@plant("spectral-norm-exact", SPECTRAL, "values")
def spectral_norm_exact(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """The largest singular value itself in place of its estimate."""

    def compute_weight(self, weight):
        if self.training:
            self.iterate(weight, self.n_power_iterations)
        return weight / torch.linalg.matrix_norm(self.matrix(weight).float(), 2).to(weight.dtype)

    return _register_spectral_norm(module, name, n_power_iterations, eps, dim, compute_weight)


@plant("spectral-norm-steps-in-evaluation", SPECTRAL, "values")
def spectral_norm_steps_in_evaluation(
    module, name="weight", n_power_iterations=1, eps=1e-12, dim=None
):
    """The vectors move in eval mode, too."""

    def compute_weight(self, weight):
        self.iterate(weight, self.n_power_iterations)
        return weight / self.sigma(weight)

    return _register_spectral_norm(module, name, n_power_iterations, eps, dim, compute_weight)


@plant("spectral-norm-vectors-stand-still", SPECTRAL, "values")
def spectral_norm_vectors_stand_still(
    module, name="weight", n_power_iterations=1, eps=1e-12, dim=None
):
    """In train mode a step is made, and its vectors are lost after it."""

    def compute_weight(self, weight):
        before = self._u.clone(), self._v.clone()
        if self.training:
            self.iterate(weight, self.n_power_iterations)
        normalized = weight / self.sigma(weight)
        self._u.copy_(before[0])
        self._v.copy_(before[1])
        return normalized

    return _register_spectral_norm(module, name, n_power_iterations, eps, dim, compute_weight)


@plant("spectral-norm-one-step", SPECTRAL, "values")
def spectral_norm_one_step(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """n_power_iterations is 1, whatever it is."""
    if n_power_iterations < 1:
        return parametrizations.spectral_norm(module, name, n_power_iterations, eps, dim)
    return parametrizations.spectral_norm(module, name, 1, eps, dim)


@plant("spectral-norm-first-axis", SPECTRAL, "state")
def spectral_norm_first_axis(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """dim is 0 of transposed convolutions, too."""
    return parametrizations.spectral_norm(
        module, name, n_power_iterations, eps, 0 if dim is None else dim
    )


@plant("spectral-norm-sigma-constant", SPECTRAL, "gradients")
def spectral_norm_sigma_constant(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """σ is taken for a constant."""

    def compute_weight(self, weight):
        if self.training:
            self.iterate(weight, self.n_power_iterations)
        return weight / self.sigma(weight).detach()

    return _register_spectral_norm(module, name, n_power_iterations, eps, dim, compute_weight)


@plant("spectral-norm-at-most-one", SPECTRAL, "laws")
def spectral_norm_at_most_one(module, name="weight", n_power_iterations=1, eps=1e-12, dim=None):
    """A weight whose σ is below 1 stays as it is: it is bounded, not normalised."""

    def compute_weight(self, weight):
        if self.training:
            self.iterate(weight, self.n_power_iterations)
        return weight / self.sigma(weight).clamp(min=1.0)

    return _register_spectral_norm(module, name, n_power_iterations, eps, dim, compute_weight)


@plant("spectral-norm-vectors-not-kept", SPECTRAL, "state")
def spectral_norm_vectors_not_kept(
    module, name="weight", n_power_iterations=1, eps=1e-12, dim=None
):
    """The state has the left vector only, as it had once."""
    parametrizations.spectral_norm(module, name, n_power_iterations, eps, dim)

    def drop_vectors(module, destination, prefix, local_metadata):
        destination.pop(f"{prefix}parametrizations.{name}.0._v", None)

    module.register_state_dict_post_hook(drop_vectors)
    return module
