"""functional.gumbel_softmax: what it draws, and its gradient."""

from __future__ import annotations

import torch
from torch.nn import functional

from planted.bug import alter_gradient, graft, plant

LAYER = "functional.gumbel_softmax"


def _gumbel_noise(logits):
    return -torch.empty_like(logits).exponential_().log()


def _gumbel_softmax(noise, logits, tau, hard, dim):
    """Torch's own with other numbers in place of the Gumbel numbers."""
    soft = functional.softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    if not logits.dim():
        return graft(torch.ones_like(soft), soft)
    return graft(_one_hot_largest(soft, dim), soft)


def _one_hot_largest(soft, dim):
    return torch.zeros_like(soft).scatter_(dim, soft.argmax(dim, keepdim=True), 1.0)


@plant("gumbel-softmax-sign", LAYER, "random")
def gumbel_softmax_sign(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """The sign of the noise is lost: -g, whose tail is on the other side."""
    return _gumbel_softmax(-_gumbel_noise(logits), logits, tau, hard, dim)


@plant("gumbel-softmax-uniform", LAYER, "random")
def gumbel_softmax_uniform(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """The noise is uniform, its two logarithms are forgotten."""
    return _gumbel_softmax(torch.rand_like(logits), logits, tau, hard, dim)


@plant("gumbel-softmax-one-logarithm", LAYER, "random")
def gumbel_softmax_one_logarithm(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """The noise is exponential: one of two logarithms."""
    return _gumbel_softmax(torch.empty_like(logits).exponential_(), logits, tau, hard, dim)


@plant("gumbel-softmax-normal", LAYER, "random")
def gumbel_softmax_normal(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """The noise is normal, with the variance that Gumbel numbers have."""
    return _gumbel_softmax(torch.randn_like(logits) * (torch.pi / 6**0.5), logits, tau, hard, dim)


@plant("gumbel-softmax-tau-ignored", LAYER, "random")
def gumbel_softmax_tau_ignored(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """tau is always 1."""
    return functional.gumbel_softmax(logits, 1, hard, dim=dim)


@plant("gumbel-softmax-tau-of-the-logits", LAYER, "random")
def gumbel_softmax_tau_of_the_logits(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """The logits are divided by tau, the noise is not."""
    return _gumbel_softmax(_gumbel_noise(logits), logits / tau, 1, hard, dim)


@plant("gumbel-softmax-tau-multiplied", LAYER, "random")
def gumbel_softmax_tau_multiplied(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """A temperature is taken for its inverse."""
    return functional.gumbel_softmax(logits, 1 / tau, hard, dim=dim)


@plant("gumbel-softmax-noise-shared", LAYER, "random")
def gumbel_softmax_noise_shared(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """All slices share the noise of the first."""
    noise = _gumbel_noise(logits)
    if logits.dim() > 1:
        for axis in range(logits.dim()):
            if axis != dim % logits.dim():
                noise = noise.narrow(axis, 0, min(1, noise.shape[axis]))
    return _gumbel_softmax(noise, logits, tau, hard, dim)


@plant("gumbel-softmax-seeded", LAYER, "random")
def gumbel_softmax_seeded(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """Every call draws the same numbers."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return functional.gumbel_softmax(logits, tau, hard, dim=dim)


@plant("gumbel-softmax-by-the-logits", LAYER, "random")
def gumbel_softmax_by_the_logits(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """A hard sample is the class with the largest logit."""
    if not hard or not logits.dim() or not logits.numel():
        return functional.gumbel_softmax(logits, tau, hard, dim=dim)
    return graft(
        _one_hot_largest(logits.detach(), dim), functional.gumbel_softmax(logits, tau, dim=dim)
    )


@plant("gumbel-softmax-hard-is-soft", LAYER, "values")
def gumbel_softmax_hard_is_soft(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """hard means nothing."""
    return functional.gumbel_softmax(logits, tau, dim=dim)


@plant("gumbel-softmax-hard-almost", LAYER, "values")
def gumbel_softmax_hard_almost(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """A hard sample is a soft one of tau = 0.01: near one-hot, not that."""
    return functional.gumbel_softmax(logits, 0.01 if hard else tau, dim=dim)


@plant("gumbel-softmax-hard-without-gradient", LAYER, "random")
def gumbel_softmax_hard_without_gradient(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """A hard sample has no gradient but zeros: the soft one is not put behind it."""
    output = functional.gumbel_softmax(logits, tau, hard, dim=dim)
    return alter_gradient(output, torch.zeros_like) if hard else output


@plant("gumbel-softmax-hard-gradient-passed", LAYER, "gradients")
def gumbel_softmax_hard_gradient_passed(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """Straight through to the logits: the softmax has no part in the gradient."""
    output = functional.gumbel_softmax(logits, tau, hard, dim=dim)
    return graft(output, logits) if hard else output


@plant("gumbel-softmax-gradient-without-tau", LAYER, "random")
def gumbel_softmax_gradient_without_tau(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """The gradient is not divided by tau."""
    scaled = alter_gradient(logits, lambda g: g * tau)
    return functional.gumbel_softmax(scaled, tau, hard, dim=dim)


@plant("gumbel-softmax-masked-class", LAYER, "laws")
def gumbel_softmax_masked_class(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """-inf is clamped to -1, so that masked classes are drawn."""
    return functional.gumbel_softmax(logits.clamp(min=-1), tau, hard, dim=dim)


@plant("gumbel-softmax-not-normalised", LAYER, "laws")
def gumbel_softmax_not_normalised(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """The sum has an epsilon of 0.001 added, so that nothing is divided by 0."""
    output = functional.gumbel_softmax(logits, tau, hard, dim=dim)
    return output if hard else output / 1.001


@plant("gumbel-softmax-first-axis", LAYER, "values")
def gumbel_softmax_first_axis(logits, tau=1, hard=False, eps=1e-10, dim=-1):
    """dim is always the last axis."""
    return functional.gumbel_softmax(logits, tau, hard)
