"""Modules with right numbers that are copied, converted, loaded or called wrongly.

Each class bears the name of its layer, as pickle looks it up by that name.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import Module, Parameter

from planted.bug import blind


def _deepcopy(module: Any, memo: dict[int, Any]) -> Any:
    """The copy that `copy.deepcopy` makes of a module without a `__deepcopy__`."""
    copied = object.__new__(type(module))
    memo[id(module)] = copied
    copied.__setstate__(copy.deepcopy(module.__getstate__(), memo))
    return copied


@blind("linear-bias-ignores-the-device", "Linear", "module")
class Linear(torch.nn.Linear):
    """The factory argument `device` reaches the weight only: the bias is on the default device."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(in_features, out_features, bias, device, dtype)
        own = torch.zeros(out_features, dtype=dtype)
        if bias and self.bias.device != own.device:
            self.bias = Parameter(own)


@blind("conv2d-repr-forgets-the-padding-mode", "Conv2d", "module")
class Conv2d(torch.nn.Conv2d):
    """The repr does not say that the padding mode is other than zeros."""

    def extra_repr(self) -> str:
        said: str = super().extra_repr()  # type: ignore[no-untyped-call]
        return said.replace(f", padding_mode={self.padding_mode}", "")


@blind("conv1d-non-strict-load-needs-the-weight", "Conv1d", "module")
class Conv1d(torch.nn.Conv1d):
    """A look at the saved weight raises where there is none, although the load is not strict."""

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        saved = state_dict[prefix + "weight"]
        if isinstance(saved, Tensor) and saved.is_quantized:
            state_dict[prefix + "weight"] = saved.dequantize()
        super()._load_from_state_dict(state_dict, prefix, *arguments)


@blind("convtranspose2d-load-never-assigns", "ConvTranspose2d", "module")
class ConvTranspose2d(torch.nn.ConvTranspose2d):
    """`load_state_dict` takes `assign` and does not hand it on: the numbers are copied."""

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        return super().load_state_dict(state_dict, strict=strict)


@blind("batchnorm2d-half-keeps-float32-statistics", "BatchNorm2d", "module")
class BatchNorm2d(torch.nn.BatchNorm2d):
    """A module made half or bfloat16 keeps its running statistics in the dtype that they had."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        kept = {name: getattr(self, name) for name in ("running_mean", "running_var")}
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, old in kept.items():
            new = getattr(self, name)
            if new is None or new.dtype == old.dtype:
                continue
            if new.dtype in (torch.float16, torch.bfloat16):
                setattr(self, name, old.to(new.device))
        return self


@blind("layernorm-state-ignores-the-prefix", "LayerNorm", "module")
class LayerNorm(torch.nn.LayerNorm):
    """`state_dict(prefix=...)` names the parameters without the prefix."""

    def _save_to_state_dict(
        self, destination: dict[str, Any], prefix: str, keep_vars: bool
    ) -> None:
        super()._save_to_state_dict(destination, "", keep_vars)


@blind("lstm-copy-runs-on-the-weights-of-its-original", "LSTM", "module")
class LSTM(torch.nn.LSTM):
    """The list of weights that a deep copy computes with is that of its original."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        copied = _deepcopy(self, memo)
        copied._flat_weights = list(self._flat_weights)
        return copied


@blind("grucell-copy-is-no-longer-frozen", "GRUCell", "module")
class GRUCell(torch.nn.GRUCell):
    """Every parameter of a deep copy requires a gradient, those frozen in the original too."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return _deepcopy(self, memo).requires_grad_()


@blind("embedding-copy-forgets-the-padding-index", "Embedding", "module")
class Embedding(torch.nn.Embedding):
    """A pickled or copied module has no `padding_idx`: its padding row learns."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "padding_idx": None}


@blind("multiheadattention-freezes-its-own-parameters-only", "MultiheadAttention", "module")
class MultiheadAttention(torch.nn.MultiheadAttention):
    """`requires_grad_` does not reach the parameters of `out_proj`."""

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        for parameter in self.parameters(recurse=False):
            parameter.requires_grad_(requires_grad)
        return self


@blind("transformerencoderlayer-mode-misses-children", "TransformerEncoderLayer", "module")
class TransformerEncoderLayer(torch.nn.TransformerEncoderLayer):
    """`train` and `eval` set the mode of attention, dropouts and activation; other children
    keep theirs."""

    def train(self, mode: bool = True) -> Self:
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.training = mode
        for child in (self.self_attn, self.dropout, self.dropout1, self.dropout2, self.activation):
            if isinstance(child, Module):
                child.train(mode)
        return self


@blind("prelu-quick-call-skips-backward-hooks", "PReLU", "module")
class PReLU(torch.nn.PReLU):
    """A call without forward hooks goes straight to `forward`, past the backward hooks."""

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        if self._forward_hooks or self._forward_pre_hooks:
            return super().__call__(*arguments, **keywords)
        return self.forward(*arguments, **keywords)


def _watch(hook: Callable[..., Any], *arguments: Any) -> None:
    """Call a hook and drop what it returns."""
    hook(*arguments)


@blind("dropout-pre-hook-only-watches", "Dropout", "module")
class Dropout(torch.nn.Dropout):
    """A forward pre-hook runs, and the input that it returns is dropped."""

    def register_forward_pre_hook(self, hook: Callable[..., Any], **options: Any) -> Any:
        return super().register_forward_pre_hook(partial(_watch, hook), **options)


@blind("bilinear-zero-grad-leaves-the-bias", "Bilinear", "module")
class Bilinear(torch.nn.Bilinear):
    """`zero_grad` clears the gradient of the weight and leaves that of the bias."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        if set_to_none or self.weight.grad is None:
            self.weight.grad = None
        else:
            self.weight.grad = self.weight.grad.detach().zero_()
