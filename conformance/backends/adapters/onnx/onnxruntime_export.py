"""ONNX Runtime on models that `torch.onnx.export(dynamo=True)` makes of torch's own layers.

It differs from `onnxruntime` in that the exporter chooses the operators. A module's parameters are
inputs of the graph (`torch.func.functional_call`), so that one export serves for every state; the
export is by far the slowest step. Shapes are fixed, which is the exporter's default.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from conformance.backends.adapters.onnx.graph import Run
from conformance.backends.adapters.onnx.networks import LAYERS as NETWORKS
from conformance.backends.adapters.onnx.nodes import numpy_dtype
from conformance.backends.adapters.onnx.onnxruntime import DEFAULT_LEVEL, Level, OnnxRuntime
from conformance.backends.adapters.onnx.translation import CallModel, zero_state
from conformance.backends.module import ModuleBackend, info
from conformance.model.case import Call, Unsupported


def _remember_tables() -> None:
    """Let torch build its tables of operators once; each export spends most of its time on them."""
    with suppress(ImportError, AttributeError):
        from torch._export import utils
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        build = cache(ONNXRegistry.from_torchlib)

        def from_torchlib(**options: Any) -> ONNXRegistry:
            registry = copy(build(**options))
            # Another export of the process may register translations of its own.
            registry.functions = {name: [*found] for name, found in registry.functions.items()}
            return registry

        replacement: Any = staticmethod(from_torchlib)
        ONNXRegistry.from_torchlib = replacement  # type: ignore[method-assign]
        utils._materialize_cpp_cia_ops = cache(utils._materialize_cpp_cia_ops)


_remember_tables()
_TORCH = ModuleBackend("torch")
_MAX_PROGRAMS = 2048
# An export changes operators of the whole process while it runs.
_ONE_EXPORT = Lock()
# The exporter's message for an operator of torch that it cannot translate.
_LACKING = re.compile(r"No ONNX function found for [^.]*\.\w+")

# Arguments by which a call overwrites its input or its weight.
_WRITING = ("inplace", "max_norm")
# The argument by which a function with running statistics updates them, and its default.
_UPDATING = {
    "functional.batch_norm": ("training", False),
    "functional.instance_norm": ("use_input_stats", True),
}


class _CallProgram(torch.nn.Module):
    """A call as a function of tensors only: first the inputs, then the parameters.

    Args:
        call: the call, with its state.
        count: number of inputs, with those that are None.
        places: positions of the inputs that are not None.
        keywords: see `Case`.
    """

    def __init__(
        self, call: Call, count: int, places: Sequence[int], keywords: Mapping[str, Any]
    ) -> None:
        super().__init__()
        self._layer = _TORCH.build(call)
        self._count = count
        self._call, self._places, self._keywords = call, places, keywords
        self._names = list(call.state)
        # The tuple hides the module from registration, because inputs replace its parameters.
        self._module = (self._layer.module,)

    def forward(self, *tensors: torch.Tensor) -> Any:
        """Call the layer with the tensors, and return its outputs."""
        (module,) = self._module
        # A function may require an argument that is None, such as batch_norm its statistics.
        count = self._count if module is None else max(self._places) + 1
        inputs: list[torch.Tensor | None] = [None] * count
        for place, tensor in zip(self._places, tensors, strict=False):
            inputs[place] = tensor
        if module is None:
            return self._layer(*inputs, **self._keywords)
        states = dict(zip(self._names, tensors[len(self._places) :], strict=True))
        first, *hidden = inputs
        arguments: tuple[Any, ...] = (first,)
        if hidden:
            has_cell_state = "LSTM" in self._call.layer
            arguments = (first, tuple(hidden) if has_cell_state else hidden[0])
            if self._call.layer == "Bilinear":
                arguments = tuple(inputs)
        return torch.func.functional_call(module, states, arguments, dict(self._keywords))


class OnnxRuntimeExport(OnnxRuntime):
    """Export by torch, then run by ONNX Runtime."""

    compile_seconds = 0.3
    # An exported model is valid only for the shapes of its export.
    fixed_shapes = True

    def __init__(
        self, name: str, level: Any = DEFAULT_LEVEL, less_optimized: tuple[str, ...] = ()
    ) -> None:
        super().__init__(name, level, less_optimized)
        self._programs: dict[Any, tuple[Run, Any]] = {}
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        logging.getLogger("onnxscript").setLevel(logging.ERROR)

    def info(self) -> Mapping[str, str]:
        """Versions of ONNX Runtime and of torch."""
        return {**super().info(), "torch": info()["torch"]}

    @cache  # noqa: B019 - there is one backend of the class
    def offers(self, layer: str, dtype: str, device: str) -> bool:
        """Offer what the hand-built graphs offer, and networks where they offer Linear."""
        return super().offers("Linear" if layer in NETWORKS else layer, dtype, device)

    def prepare(
        self, call: Call, inputs: Sequence[np.ndarray | None], keywords: Mapping[str, Any]
    ) -> tuple[Run, CallModel]:
        """Export each structure once, for all values of its state."""
        if "lengths" in keywords:
            raise Unsupported("lengths: the exporter takes no packed sequences")
        if call.layer.startswith("Lazy"):
            raise Unsupported(f"layer {call.layer}: the exporter takes no lazy layers")
        if call.training:
            raise Unsupported("training=True")
        _decline_writing(call, inputs)
        shapes = [None if x is None else (x.shape, str(x.dtype)) for x in inputs]
        states = {name: x.shape for name, x in call.state.items()}
        form = repr(
            (call.layer, call.arguments, call.dtype, shapes, states, keywords, self._threads)
        )
        with _ONE_EXPORT:
            if form not in self._programs:
                if len(self._programs) >= _MAX_PROGRAMS:
                    self._programs.clear()
                self._programs[form] = self._export(call, inputs, keywords)
            run, model = self._programs[form]
        dtype = numpy_dtype(call.dtype)
        state = {
            f"state_{k}": x if x.dtype.kind == "i" else np.asarray(x, dtype)
            for k, x in enumerate(call.state.values())
        }
        return run, CallModel(model, state, ())

    def _export(
        self, call: Call, inputs: Sequence[np.ndarray | None], keywords: Mapping[str, Any]
    ) -> tuple[Run, Any]:
        places = [place for place, x in enumerate(inputs) if x is not None]
        if not call.state and zero_state(call, inputs):
            raise Unsupported("initial state")
        program = _CallProgram(call, len(inputs), places, keywords).eval()
        layer = _TORCH.build(call)
        tensors = [layer.put(_to_torch_input(inputs[place])) for place in places]
        tensors += [layer.put(x) for x in call.state.values()]
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            try:
                exported = torch.onnx.export(program, tuple(tensors), dynamo=True, verbose=False)
            except torch.onnx.OnnxExporterError as error:
                lacking = _LACKING.search(str(error))
                if lacking:
                    raise Unsupported(lacking[0]) from error
                if not isinstance(error.__cause__, GuardOnDataDependentSymNode):
                    raise
                # torch's page on export says that such a layer must be rewritten.
                raise Unsupported("control flow that depends on data") from error
        assert exported is not None
        model = exported.model_proto
        return _rename_inputs(self.compile(model), model, places), model


def _decline_writing(call: Call, inputs: Sequence[np.ndarray | None]) -> None:
    """Decline a call that writes into a tensor of the caller: the exporter leaves the writing out.

    Raises:
        Unsupported: if the call is one.
    """
    arguments = call.arguments
    for name in _WRITING:
        value = arguments.get(name)
        if value is not None and value is not False:
            raise Unsupported(f"{name}={value!r}: a graph writes into no input")
    has_statistics = any(x is not None for x in inputs[1:3])
    if call.layer in _UPDATING and has_statistics and arguments.get("momentum", 0.1) != 0:
        name, default = _UPDATING[call.layer]
        if arguments.get(name, default):
            raise Unsupported("running statistics: a graph writes into no input")


def _to_torch_input(x: np.ndarray | None) -> np.ndarray:
    """An input for torch's `put`: integers and bool unchanged, other dtypes as float64."""
    assert x is not None
    return x if x.dtype.kind in "ib" else x.astype(np.float64)


def _rename_inputs(run: Run, model: Any, places: Sequence[int]) -> Run:
    """Rename inputs from this package's names to the exporter's."""
    order = [f"input_{place}" for place in places]
    exported_names = [x.name for x in model.graph.input]

    def run_renamed(inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
        own_names = [*order, *(name for name in inputs if name.startswith("state_"))]
        return run(
            {
                name: inputs[own_name]
                for name, own_name in zip(exported_names, own_names, strict=True)
            }
        )

    return run_renamed


unoptimized = OnnxRuntimeExport("onnxruntime-export-unoptimized", Level.ORT_DISABLE_ALL)
backend = OnnxRuntimeExport("onnxruntime-export", less_optimized=(f"{__name__}:unoptimized",))
