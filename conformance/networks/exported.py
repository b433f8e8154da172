"""A module that `torch.onnx.export` exports and ONNX Runtime runs."""

from __future__ import annotations

import ast
import logging
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from conformance.backends.adapters.onnx.onnxruntime import backend
from conformance.model.case import Numerics

_SCOPES = "pkg.torch.onnx.name_scopes"
"""Metadata of an exported node: the names of the modules that it is in, outermost first."""


class ExportedModule:
    """The module in ONNX Runtime; it is exported once for each form of the inputs.

    Args:
        module: in evaluation mode.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        self._module = module
        self._models: dict[Any, Any] = {}
        for name in ("torch.onnx", "onnxscript"):
            logging.getLogger(name).setLevel(logging.ERROR)

    def __call__(self, *inputs: Any) -> Any:
        """Run the model; a tuple if it has several outputs."""
        results = self._run(self._export(inputs), inputs)
        return results[0] if len(results) == 1 else tuple(results)

    def numerics(self, dtype: str) -> Numerics:
        """What ONNX Runtime may do, as its backend declares it."""
        return backend.numerics(dtype)

    def run_modules(self, inputs: Sequence[Any]) -> Mapping[str, Sequence[Any]]:
        """What each submodule returns, with ONNX Runtime's results of these nodes as outputs."""
        import onnx

        model = self._export(inputs)
        last: dict[str, str] = {}
        for node in model.graph.node:
            scopes = {x.key: x.value for x in node.metadata_props}.get(_SCOPES, "[]")
            last |= {name: node.output[0] for name in ast.literal_eval(scopes)[:-1] if name}
        types = {x.name: x for x in (*model.graph.value_info, *model.graph.output)}
        opened = onnx.ModelProto()
        opened.CopyFrom(model)
        names = [name for name, output in last.items() if output in types]
        del opened.graph.output[:]
        opened.graph.output.extend(
            types[output] for output in dict.fromkeys(last[n] for n in names)
        )
        results = self._run(opened, inputs)
        by_output = dict(zip((x.name for x in opened.graph.output), results, strict=True))
        return {name: [by_output[last[name]]] for name in names}

    def _export(self, inputs: Sequence[Any]) -> Any:
        form = repr([(x.shape, x.dtype) if torch.is_tensor(x) else x for x in inputs])
        if form not in self._models:
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                program = torch.onnx.export(
                    self._module, tuple(inputs), dynamo=True, verbose=False, optimize=True
                )
            assert program is not None
            self._models[form] = program.model_proto
        return self._models[form]

    def _run(self, model: Any, inputs: Sequence[Any]) -> list[torch.Tensor]:
        tensors = [x for x in inputs if torch.is_tensor(x)]
        names = [x.name for x in model.graph.input]
        values = dict(zip(names, map(_to_numpy, tensors), strict=True))
        return [_to_tensor(x) for x in backend.compile(model)(values)]


def _to_numpy(tensor: torch.Tensor) -> np.ndarray:
    if tensor.dtype != torch.bfloat16:
        return tensor.contiguous().numpy()
    import ml_dtypes

    return tensor.float().numpy().astype(ml_dtypes.bfloat16)


def _to_tensor(array: np.ndarray) -> torch.Tensor:
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.astype(np.float32)).bfloat16()
    return torch.from_numpy(np.array(array))
