"""torch.export: every layer is exported for the inputs of the call, and the program is run.

A program holds for one signature: shapes, dtypes, which inputs are left out, keywords, mode, and
whether gradients are recorded. It is kept, and called with the weights of each layer of the same
structure, as a deployed program is with those of another checkpoint.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.utils import _pytree as pytree

from conformance.backends.module import STORES, ModuleBackend, ModuleLayer
from conformance.layers import CATALOGUE
from conformance.model.case import Call, Unsupported

KEPT = 200


class _Function(torch.nn.Module):
    """A function as a module: these are what `torch.export` takes.

    Args:
        function: called by the module.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, *inputs: Any, **arguments: Any) -> Any:
        """The function."""
        return self._function(*inputs, **arguments)


class _Exported:
    """A module of which each call runs an exported program.

    Args:
        call: what was built.
        module: the module to export.
        programs: those kept, by structure and signature.
    """

    def __init__(
        self, call: Call, module: torch.nn.Module, programs: OrderedDict[Any, Any]
    ) -> None:
        self._module, self._programs = module, programs
        self._structure = (call.layer, repr(sorted(call.arguments.items())), call.dtype)

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Export, unless that is done, and run the program with the module's weights."""
        if any(isinstance(x, torch.nn.utils.rnn.PackedSequence) for x in inputs):
            raise Unsupported("lengths: shapes that depend on data")
        tensors = (x for x in pytree.tree_leaves(inputs) if isinstance(x, torch.Tensor))
        if any(x.is_leaf and x.grad is not None for x in tensors):
            raise Unsupported("gradients of parameters: a program is given tensors alone")
        lazy = getattr(self._module, "has_uninitialized_params", None)
        if lazy is not None and lazy():
            raise Unsupported("lazy module before its first call")
        state = {**dict(self._module.named_parameters()), **dict(self._module.named_buffers())}
        mode = (self._module.training, torch.is_grad_enabled())
        key = (*self._structure, *mode, _signature(state), _signature((inputs, keywords)))
        if key not in self._programs:
            try:
                program = torch.export.export(self._module, inputs, keywords, strict=False)
            except GuardOnDataDependentSymNode as error:
                # As torch's page on export has it: such a layer has to be written otherwise.
                raise Unsupported("control flow that depends on data") from error
            self._programs[key] = program.module()
            while len(self._programs) > KEPT:
                self._programs.popitem(last=False)
        return torch.func.functional_call(self._programs[key], state, inputs, keywords)


def _signature(tree: Any) -> tuple[Any, ...]:
    """What a program is specialised to."""
    leaves, form = pytree.tree_flatten(tree)
    facts = tuple(
        (tuple(x.shape), x.stride(), x.dtype, x.requires_grad)
        if isinstance(x, torch.Tensor)
        else repr(x)
        for x in leaves
    )
    return (str(form), *facts)


class ExportBackend(ModuleBackend):
    """torch's layers, run as exported programs."""

    # Two programs a structure, without and with gradients recorded.
    compile_seconds, budget = 0.1, "700"

    def __init__(self, name: str) -> None:
        super().__init__(name, stored=STORES)
        self._programs: OrderedDict[Any, Any] = OrderedDict()

    def info(self) -> Mapping[str, str]:
        """torch's, and how it is exported."""
        return {**super().info(), "export": "strict=False, static shapes"}

    def build(self, call: Call) -> ModuleLayer:
        """The module or function, to be exported at its first call."""
        layer = super().build(call)
        # A program's inputs are tensors and numbers: what torch has is a part of it.
        row = CATALOGUE.get(call.layer)
        parts = (
            frozenset()
            if row is None
            else row.signature.of_torch | row.signature.records.keys() | row.signature.modules
        )
        fixed = {k: x for k, x in layer.arguments.items() if k in parts}
        for name in fixed:
            del layer.arguments[name]
        module = layer.function
        if not isinstance(module, torch.nn.Module):
            module = _Function(partial(module, **fixed))
        layer.function = _Exported(call, module, self._programs)
        # A program has none; those of the module tell whether it happened to be exported.
        layer.attributes = dict  # type: ignore[method-assign]
        return layer


backend = ExportBackend("torch-export")
