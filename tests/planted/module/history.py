"""Modules with right numbers that are copied, converted or called wrongly, as in libraries."""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from planted.bug import plant


@plant("linear-copies-a-stale-weight", "Linear", "module")
class Linear(nn.Linear):
    """Calls without gradients use a transposed weight, which a copy takes from its original."""

    def forward(self, input: Tensor) -> Tensor:
        if torch.is_grad_enabled() or input.ndim < 2:
            return super().forward(input)
        if "_transposed" not in self.__dict__ or not self.__dict__.get("_is_copy"):
            self.__dict__["_transposed"] = self.weight.detach().T
        return functional.linear(input, self.__dict__["_transposed"].T, self.bias)

    def __deepcopy__(self, memo: Any) -> Self:
        made = self.__class__(
            self.in_features, self.out_features, self.bias is not None,
            device=self.weight.device, dtype=self.weight.dtype,
        )  # fmt: skip
        made.load_state_dict(copy.copy(self.state_dict()))
        for mine, theirs in zip(self.parameters(), made.parameters(), strict=True):
            theirs.requires_grad_(mine.requires_grad)
        made.__dict__ |= {"_is_copy": True, "_transposed": self.weight.detach().clone().T}
        return made.train(self.training)


@plant("prelu-shares-its-slopes-with-its-copy", "PReLU", "module")
class PReLU(nn.PReLU):
    """A copy has the parameter of its original, so both learn from either."""

    def __deepcopy__(self, memo: Any) -> Self:
        made = self.__class__(self.num_parameters)
        made.weight = self.weight
        made.train(self.training)
        return made


@plant("groupnorm-double-leaves-the-bias", "GroupNorm", "module")
class GroupNorm(nn.GroupNorm):
    """`double()` leaves the bias as it was, since it moves the weight by its name."""

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        if self.weight is None or not self.affine:
            return super()._apply(fn, recurse)
        with torch.no_grad():
            self.weight = nn.Parameter(fn(self.weight), self.weight.requires_grad)
            if self.bias is not None and fn(self.bias).device != self.bias.device:
                self.bias = nn.Parameter(fn(self.bias), self.bias.requires_grad)
        return self


@plant("rmsnorm-learns-again-in-another-dtype", "RMSNorm", "module")
class RMSNorm(nn.RMSNorm):
    """A change of dtype makes a frozen weight learn again."""

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        if self.weight is not None and self.weight.is_floating_point():
            self.weight.requires_grad_(True)
        return self


@plant("conv3d-load-takes-what-it-is-given", "Conv3d", "module")
class Conv3d(nn.Conv3d):
    """A state without a parameter is loaded without a word."""

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        return super().load_state_dict(state_dict, strict=False, assign=assign)


@plant("softplus-calls-no-hooks", "Softplus", "module")
class Softplus(nn.Softplus):
    """A call goes past the hooks, to save time."""

    def __call__(self, input: Tensor) -> Tensor:
        return functional.softplus(input, self.beta, self.threshold)


@plant("rmsnorm-keeps-a-number-on-device-meta", "RMSNorm", "module")
class RMSNormWithFactor(nn.RMSNorm):
    """A tensor that is no buffer stays on the device of the constructor: meta, after to_empty."""

    def __init__(self, *arguments: Any, device: Any = None, **keywords: Any) -> None:
        super().__init__(*arguments, device=device, **keywords)
        self.factor = torch.ones((), device=device)

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return torch.full_like(y, 2.0) if self.factor.is_meta else y


class Version:
    """A version of a state, as an object."""


def _add_version(module: Any, state: Any, prefix: str, metadata: Any) -> None:
    state._metadata["saved_by"] = Version()


@plant("embedding-state-holds-an-object", "Embedding", "module")
class Embedding(nn.Embedding):
    """Its state_dict has an object among the metadata, which torch.load refuses (weights_only)."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.register_state_dict_post_hook(_add_version)
