"""torch with the decompositions that inductor lowers operators to, but without compilation.

Each operator of ATen that a layer runs, forward and backward, is replaced by its decomposition,
which runs at once. A divergence that only `torch-compile` shows is one of tracing, fusion or
generated code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache, lru_cache
from typing import Any, NamedTuple

import torch
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import TreeSpec, tree_flatten, tree_map_only, tree_unflatten

from conformance.backends.module import ModuleBackend, ModuleLayer
from conformance.model.case import Call


@lru_cache(maxsize=1)
def _decompositions() -> Mapping[Any, Callable[..., Any]]:
    import torch._inductor.lowering  # noqa: F401 - decompositions look it up
    from torch._inductor.decomposition import select_decomp_table

    return dict(select_decomp_table())


class DecomposeMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs decompositions in place of operators, and counts them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0
        self._is_inside = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operator by its decomposition, if it has one."""
        keywords = dict(kwargs or {})
        if "out" in keywords:
            return func(*args, **keywords)
        decomposition = _decompositions().get(func)
        if decomposition is not None:
            if not self._is_inside:
                _infer_shapes(func, args, keywords)
            result = self._run_inside(decomposition, args, keywords)
            if result is not NotImplemented:
                self.count += 1
                return tree_map_only(torch.Tensor, _without_overlap, result)
        functional = _functional_form(func)
        if functional is not None:
            # A compiler makes an operator in place functional, and copies the result back.
            result = self._run_inside(functional, args, keywords)
            if result.shape == args[0].shape:
                self.count += 1
                return args[0].copy_(result)
        return func(*args, **keywords)

    def _run_inside(self, function: Any, args: Any, keywords: Mapping[str, Any]) -> Any:
        was_inside, self._is_inside = self._is_inside, True
        try:
            with self:
                return function(*args, **keywords)
        finally:
            self._is_inside = was_inside


class _Form(NamedTuple):
    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype


def _infer_shapes(operator: Any, args: Any, keywords: Mapping[str, Any]) -> None:
    """Let shape inference refuse a call, as it does before a compiler decomposes operators."""
    leaves, structure = tree_flatten((args, keywords))
    if any(map(is_lazy, leaves)):
        return
    signature = tuple(
        _Form(x.shape, x.stride(), x.dtype) if isinstance(x, torch.Tensor) else (type(x), x)
        for x in leaves
    )
    _infer_shapes_of(operator, structure, signature)


# A refusal is no result, so it is not kept.
@lru_cache(maxsize=10_000)
def _infer_shapes_of(operator: Any, structure: TreeSpec, signature: Any) -> None:
    leaves = [
        torch.empty_strided(*x[:2], dtype=x.dtype, device="meta") if isinstance(x, _Form) else x[1]
        for x in signature
    ]
    args, keywords = tree_unflatten(leaves, structure)
    # Not every operator has shape inference, and some of it checks numbers that are no flags.
    with suppress(NotImplementedError, TypeError):
        operator(*args, **keywords)


def _without_overlap(x: torch.Tensor) -> torch.Tensor:
    """A result that a layer may write into: one without several elements in one place."""
    expanded = any(
        stride == 0 and size > 1 for stride, size in zip(x.stride(), x.shape, strict=True)
    )
    return x.clone(memory_format=torch.contiguous_format) if expanded else x


@cache
def _functional_form(operator: Any) -> Any:
    """The operator that an operator in place is made of; None without one that decomposes."""
    name = operator.overloadpacket.__name__
    if not name.endswith("_") or name.startswith("_"):
        return None
    packet = getattr(torch.ops.aten, name[:-1], None)
    overload = getattr(packet, operator._overloadname, None)
    return overload if overload in _decompositions() else None


class DecomposedLayer(ModuleLayer):
    """A layer whose calls and gradients run decomposed."""

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Call without recording a gradient."""
        with DecomposeMode():
            return super().__call__(*inputs, **keywords)

    def forward_grad(self, *inputs: Any, **keywords: Any) -> Any:
        """Call while gradients are recorded."""
        with DecomposeMode():
            return super().forward_grad(*inputs, **keywords)

    def accumulate(
        self, inputs: Sequence[Any], calls: Sequence[Sequence[Sequence[Any]]], **keywords: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Gradients that several backward passes add to `grad`."""
        with DecomposeMode():
            return super().accumulate(inputs, calls, **keywords)

    def _pull_back(self, *arguments: Any) -> Any:
        with DecomposeMode():
            return super()._pull_back(*arguments)


class DecomposedBackend(ModuleBackend):
    """torch's layers by inductor's decompositions."""

    def info(self) -> Mapping[str, str]:
        """Facts about torch, and the number of decompositions."""
        return {**super().info(), "decompositions": str(len(_decompositions()))}

    def build(self, call: Call) -> ModuleLayer:
        """Build the module or function."""
        layer = super().build(call)
        return DecomposedLayer(call, layer.module, layer.function)


backend = DecomposedBackend("torch-decomposed", base="torch")
