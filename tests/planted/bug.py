"""The `Bug` record, the decorator that plants one, and what several bugs share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from conformance.layers import CATALOGUE
from conformance.model.case import class_and_method, is_function
from conformance.model.checks import matrix_columns

CHECKS = tuple(sorted(matrix_columns(), key=lambda name: name != "values"))
"""The columns of the campaigns' tables: first the check that most bugs are planted for."""


@dataclass(frozen=True)
class Bug:
    """One look-alike of a torch layer that is wrong in exactly one way.

    Args:
        name: unique, kebab-case, led by the layer.
        layer: the layer it stands in for: `"Conv2d"`, `"functional.conv2d"`.
        check: the column expected to notice it; others may notice it too.
        story: what is wrong, and who made such a bug.
        implementation: a `torch.nn.Module` subclass, or a function with torch's signature.
        origin: `"history"`, of torch and its ports; `"blind"`, written without sight of the checks.
    """

    name: str
    layer: str
    check: str
    story: str
    implementation: Any
    origin: str = "history"

    @property
    def target(self) -> str:
        """The class or function, without its namespace, that it stands in for."""
        return target(self.layer)


PLANTED: list[Bug] = []
CONTAINERS = ("Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict")
"""Classes that hold modules or parameters; the layer `Sequential` is asked for all of them."""


def target(layer: str) -> str:
    """The class or function, without its namespace, that a bug of a layer stands in for."""
    return attribute_path(layer)[-1]


def attribute_path(layer: str) -> list[str]:
    """Names that lead from `torch.nn` to a layer's class or function."""
    return (layer if is_function(layer) else class_and_method(layer)[0]).split(".")


def replacement_namespaces(layer: str, implementation: Any, **extra: Any) -> dict[str, Any]:
    """Namespaces, as `ModuleBackend` takes them, with one class or function in place of torch's.

    Nothing else is there but the classes of modules that the layer is built of.

    Args:
        layer: whose class or function it stands in for.
        implementation: what stands there.
        extra: further classes, or functions if the implementation is one.
    """
    if implementation.__name__ in CONTAINERS:
        return {
            "nn": SimpleNamespace(**{**vars(torch.nn), implementation.__name__: implementation})
        }
    *names, last = attribute_path(layer)
    namespace = SimpleNamespace(**{last: implementation}, **extra)
    if names == ["functional"]:
        return {"functional": namespace}
    for name in reversed(names):
        namespace = SimpleNamespace(**{name: namespace})
    spec = CATALOGUE.get(layer)
    if spec is not None and spec.signature.module_arguments:
        namespace = SimpleNamespace(**{**vars(torch.nn), **vars(namespace)})
    return {"nn": namespace}


def plant(name: str, layer: str, check: str, origin: str = "history") -> Callable[[Any], Any]:
    """Register the decorated class or function as a bug; its docstring is the story.

    A class takes the name of the layer that it stands in for, as a user would read it; a container
    keeps its own, and stands beside the layer.
    """

    def register(implementation: Any) -> Any:
        if check not in CHECKS or any(bug.name == name for bug in PLANTED):
            raise ValueError(f"{name}: unknown check {check!r} or name already planted")
        if implementation.__name__ not in CONTAINERS:
            implementation.__name__ = implementation.__qualname__ = target(layer)
        story = " ".join(implementation.__doc__.split())
        PLANTED.append(Bug(name, layer, check, story, implementation, origin))
        return implementation

    return register


blind = partial(plant, origin="blind")
"""Plants a bug that was written without sight of the checks."""


class _Graft(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradient_source: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, gradient


def graft(value: Tensor, gradient_source: Tensor) -> Tensor:
    """The numbers of `value` with the gradients of `gradient_source`."""
    return _Graft.apply(value.detach(), gradient_source)


class _AlterGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.change = change
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.change(gradient), None


def alter_gradient(tensor: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The same tensor; the gradient that flows back through it is changed."""
    return _AlterGradient.apply(tensor, change)


class _ExchangeGradients(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return first.clone(), second.clone()

    @staticmethod
    def backward(ctx: Any, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return second, first


def exchange_gradients(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The same two tensors; each gets the other's gradient."""
    return _ExchangeGradients.apply(first, second)


class _Reroute(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, value: Tensor, source: Tensor, backward: Callable[[Tensor], Tensor]
    ) -> Tensor:
        ctx.wrong = backward
        return value.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        return None, ctx.wrong(gradient), None


def reroute(value: Tensor, source: Tensor, backward: Callable[[Tensor], Tensor]) -> Tensor:
    """The numbers of `value`; its gradient reaches `source` through `backward`."""
    return _Reroute.apply(value.detach(), source, backward)


def round_through(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """The tensor rounded to a narrower dtype and brought back; gradients pass untouched."""
    return graft(tensor.to(dtype).to(tensor.dtype), tensor)


def drop_bits(tensor: Tensor, count: int) -> Tensor:
    """A float32 tensor rounded to nearest even, with `count` of its 24 bits dropped."""
    bits = tensor.detach().contiguous().view(torch.int32)
    odd = (bits >> count) & 1
    truncated = ((bits + (1 << (count - 1)) - 1 + odd) >> count) << count
    return graft(torch.where(tensor.isfinite(), truncated.view(torch.float32), tensor), tensor)


def flush_subnormals(tensor: Tensor) -> Tensor:
    """The tensor with every subnormal number flushed to zero."""
    tiny = torch.finfo(tensor.dtype).tiny
    return graft(torch.where(tensor.abs() < tiny, torch.zeros_like(tensor), tensor), tensor)


def read_as_contiguous(tensor: Tensor) -> Tensor:
    """What a kernel reads that takes the tensor's memory for contiguous."""
    if tensor.is_contiguous() or tensor.numel() == 0:
        return tensor
    storage_size = tensor.untyped_storage().nbytes() // tensor.element_size()
    start, size = tensor.storage_offset(), tensor.numel()
    memory = tensor.detach().as_strided((storage_size - start,), (1,), start)
    copies = -(-size // memory.numel())
    return graft(memory.repeat(copies)[:size].view(tensor.shape), tensor)


def round_to_common_grid(tensor: Tensor) -> Tensor:
    """The tensor rounded to multiples of 2**-21 of its largest element."""
    if tensor.numel() == 0:
        return tensor
    step = tensor.detach().abs().amax() * 2.0**-21
    grid = torch.round(tensor.detach() / step) * step
    return graft(torch.where(grid.isfinite(), grid, tensor), tensor)


def reduce_losses(losses: Tensor, reduction: str) -> Tensor:
    """Losses as torch reduces them."""
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.mean()


def class_axis(scores: Tensor) -> int:
    """The axis of the classes: (C), or (N, C, d_1, …, d_K)."""
    return 1 if scores.dim() > 1 else 0
