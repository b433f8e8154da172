"""torch.export: every layer is exported for the inputs of a call, and the exported program runs.

A program is valid for one signature: shapes, dtypes, which inputs are left out, keywords, mode, and
whether gradients are recorded. The backend keeps it, and calls it with the weights of each layer of
the same structure, as a deployed program is called with another checkpoint.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from threading import Lock
from typing import Any

import torch
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode
from torch.utils import _pytree as pytree

from conformance.backends.adapters.torch import initialize_autograd
from conformance.backends.module import ModuleBackend, ModuleLayer
from conformance.backends.torch_transforms import withdraw_transforms
from conformance.layers import CATALOGUE
from conformance.model.case import Call, Unsupported

MAX_PROGRAMS = 200
# `functional_call` puts the state into the program while it runs, which threads share.
_ONE_CALL = Lock()


class _FunctionModule(torch.nn.Module):
    """A module that calls a function, because `torch.export` takes only modules."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, *inputs: Any, **arguments: Any) -> Any:
        """Call the function with the inputs and keywords."""
        return self._function(*inputs, **arguments)


class _ExportedModule:
    """A callable that exports a module for each new signature, and runs the program.

    Args:
        call: the call for which the module was built.
        module: the module to export.
        programs: cached programs, by structure and signature.
    """

    def __init__(
        self, call: Call, module: torch.nn.Module, programs: OrderedDict[Any, Any]
    ) -> None:
        self._module, self._programs = module, programs
        self._structure = (call.layer, repr(sorted(call.arguments.items())), call.dtype)

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Export the module unless the program is cached; run it with the module's weights."""
        if any(isinstance(x, torch.nn.utils.rnn.PackedSequence) for x in inputs):
            raise Unsupported("lengths: shapes that depend on data")
        leaves = pytree.tree_leaves(inputs)
        if any(isinstance(x, Iterator) for x in leaves):
            raise Unsupported("parameters from a generator: a program is given tensors alone")
        tensors = (x for x in leaves if isinstance(x, torch.Tensor))
        if any(x.is_leaf and x.grad is not None for x in tensors):
            raise Unsupported("gradients of parameters: a program is given tensors alone")
        lazy = getattr(self._module, "has_uninitialized_params", None)
        if lazy is not None and lazy():
            raise Unsupported("lazy module before its first call")
        state = {**dict(self._module.named_parameters()), **dict(self._module.named_buffers())}
        mode = (self._module.training, torch.is_grad_enabled())
        key = (*self._structure, *mode, _signature(state), _signature((inputs, keywords)))
        with _ONE_CALL:
            program = self._programs.get(key) or self._export(key, inputs, keywords)
            return torch.func.functional_call(program, state, inputs, keywords)

    def _export(self, key: Any, inputs: tuple[Any, ...], keywords: Mapping[str, Any]) -> Any:
        try:
            exported = torch.export.export(self._module, inputs, dict(keywords), strict=False)
        except GuardOnDataDependentSymNode as error:
            # torch's page on export says that such a layer must be rewritten.
            raise Unsupported("control flow that depends on data") from error
        self._programs[key] = program = exported.module()
        while len(self._programs) > MAX_PROGRAMS:
            self._programs.popitem(last=False)
        return program


def _signature(tree: Any) -> tuple[Any, ...]:
    """The properties of inputs to which a program is specialised, and which are one tensor."""
    leaves, structure = pytree.tree_flatten(tree)
    # A program that was exported for one tensor at two places is wrong for two tensors.
    first_places = {id(x): k for k, x in reversed(list(enumerate(leaves)))}
    same = tuple(first_places[id(x)] for x in leaves if isinstance(x, torch.Tensor))
    leaf_facts = tuple(
        (tuple(x.shape), x.stride(), x.dtype, x.requires_grad)
        if isinstance(x, torch.Tensor)
        else repr(x)
        for x in leaves
    )
    return (str(structure), same, *leaf_facts)


class ExportBackend(ModuleBackend):
    """torch's layers, run as exported programs."""

    # Each structure needs two programs, with and without recorded gradients.
    compile_seconds, budget = 0.1, "900"

    def __init__(self, name: str) -> None:
        super().__init__(name, base="torch")
        initialize_autograd()
        self._programs: OrderedDict[Any, Any] = OrderedDict()

    def info(self) -> Mapping[str, str]:
        """Facts about torch, and the options of the export."""
        return {**super().info(), "export": "strict=False, static shapes"}

    def build(self, call: Call) -> ModuleLayer:
        """Build the module or function; its first call exports it."""
        layer = super().build(call)
        # A program takes only tensors and numbers; torch's own objects become a part of it.
        spec = CATALOGUE.get(call.layer)
        torch_objects = (
            frozenset()
            if spec is None
            else spec.signature.torch_objects
            | spec.signature.record_arguments.keys()
            | spec.signature.module_arguments
        )
        fixed = {k: x for k, x in layer.arguments.items() if k in torch_objects}
        for name in fixed:
            del layer.arguments[name]
        module = layer.function
        if not isinstance(module, torch.nn.Module):
            module = _FunctionModule(partial(module, **fixed))
        layer.function = _ExportedModule(call, module, self._programs)
        withdraw_transforms(layer)  # a program is exported for plain calls
        # A program has no attributes, and those of the module would say nothing about it.
        layer.attributes = dict  # type: ignore[method-assign]
        return layer


backend = ExportBackend("torch-export")
