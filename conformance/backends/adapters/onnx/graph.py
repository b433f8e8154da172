"""The base class of the backends that run ONNX models, and its layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx

from conformance.backends.adapters.onnx.nodes import numpy_dtype
from conformance.backends.adapters.onnx.translation import (
    BATCH_COUNT,
    BY_RANK,
    FUNCTIONS,
    CallModel,
    build_model,
)
from conformance.backends.numpy_layouts import apply_layout
from conformance.model.case import Call, Unsupported, is_function

Run = Callable[[Mapping[str, np.ndarray]], Sequence[np.ndarray]]


class GraphBackend:
    """A backend that runs ONNX models on the CPU; a subclass defines `compile`."""

    # Whether a model contains the shapes of its inputs, and a module's state.
    fixed_shapes = False
    constant_state = True
    budget = "900"
    script_printer = "conformance.diagnosis.script_onnx:OnnxPrinter"
    # Source of the import lines, and of a function `compiled(model)`; see the printer.
    script_imports: tuple[str, ...] = ()
    script_compiled = ""

    def __init__(self, name: str) -> None:
        self.name = name

    def info(self) -> Mapping[str, str]:
        """The version of the package onnx."""
        return {"onnx": onnx.__version__}

    def devices(self) -> Sequence[str]:
        """The CPU only."""
        return ("cpu",)

    def offers(self, layer: str, dtype: str, device: str) -> bool:
        """Offer the layers that a graph can express; only Identity has complex numbers."""
        return layer in FUNCTIONS and (layer == "Identity" or not dtype.startswith("complex"))

    def compile(self, model: onnx.ModelProto) -> Run:
        """Compile a model to a function: inputs by name → outputs in the model's order."""
        raise NotImplementedError

    def call_model(
        self, call: Call, inputs: Sequence[np.ndarray | None], keywords: Mapping[str, Any]
    ) -> CallModel:
        """The model of a call for inputs of these shapes."""
        return build_model(
            call, inputs, keywords, fixed=self.fixed_shapes, constant=self.constant_state
        )

    def prepare(
        self, call: Call, inputs: Sequence[np.ndarray | None], keywords: Mapping[str, Any]
    ) -> tuple[Run, CallModel]:
        """Compile the model of a call for inputs of these shapes; return both."""
        call_model = self.call_model(call, inputs, keywords)
        return self.compile(call_model.model), call_model

    def build(self, call: Call) -> GraphLayer:
        """Create a layer that builds its models when it is called."""
        if call.layer not in FUNCTIONS:
            raise Unsupported(f"layer {call.layer}")
        if any(layout != "contiguous" for layout in call.layouts.values()):
            raise Unsupported("layout of a constant")
        if call.dtype.startswith("complex") and call.layer != "Identity":
            raise Unsupported(f"dtype={call.dtype!r}")
        return GraphLayer(self, call)


class GraphLayer:
    """A layer of a `GraphBackend`, with one model for each form of its inputs.

    The form is the dtypes and the shapes or ranks.
    """

    def __init__(self, backend: GraphBackend, call: Call) -> None:
        self._backend, self._call = backend, call
        self._runs: dict[Any, tuple[Run, CallModel]] = {}
        self.updated: dict[str, Any] = {}

    def put(self, array: np.ndarray, layout: str = "contiguous", dtype: str | None = None) -> Any:
        """Convert a host array to a NumPy array of the dtype, in a memory layout."""
        default_dtype = {"i": "int64", "b": "bool"}.get(array.dtype.kind, self._call.dtype)
        with np.errstate(over="ignore"):
            return apply_layout(
                np.asarray(array, dtype=numpy_dtype(dtype or default_dtype)), layout
            )

    def __call__(self, *inputs: Any, **keywords: Any) -> Any:
        """Run the model for inputs of this form, after building it if necessary."""
        by_shape = self._backend.fixed_shapes or bool(keywords) or self._call.layer not in BY_RANK
        form = (repr(keywords), *(
            None if x is None else (x.dtype, x.shape if by_shape else x.ndim) for x in inputs
        ))  # fmt: skip
        if form not in self._runs:
            self._runs[form] = self._backend.prepare(self._call, inputs, keywords)
        run, call_model = self._runs[form]
        arrays = {f"input_{place}": x for place, x in enumerate(inputs) if x is not None}
        outputs = list(run({**arrays, **call_model.weights}))
        if call_model.updates:
            outputs, updates = (
                outputs[: -len(call_model.updates)],
                outputs[-len(call_model.updates) :],
            )
            self._update(dict(zip(call_model.updates, updates, strict=True)))
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _update(self, values: Mapping[str, np.ndarray]) -> None:
        """Store the updates of a call: a module's state, or the inputs that a function wrote."""
        if is_function(self._call.layer):
            self.updated = dict(values)
            return
        if not self._call.state:
            return  # no state was loaded, and zeros stand in for the initial values
        self.updated = dict(values)
        state = {**self._call.state, **{name: self.get(x) for name, x in values.items()}}
        if BATCH_COUNT in state:
            state[BATCH_COUNT] = state[BATCH_COUNT] + 1
        self.load(state)

    def get(self, native: Any) -> np.ndarray:
        """Copy an array to float64, complex128, int64 or bool."""
        wide = {"c": np.complex128, "i": np.int64, "b": np.bool_}.get(native.dtype.kind, np.float64)
        return np.array(native, dtype=wide)

    def dtype(self, native: Any) -> str:
        """torch's name of the array's dtype."""
        return str(native.dtype)

    def aliases(self, a: Any, b: Any) -> bool:
        """Whether two arrays share memory."""
        return bool(np.may_share_memory(a, b))

    def state(self) -> Mapping[str, Any]:
        """The state as arrays of the call's dtype."""
        return {name: self.put(array) for name, array in self._call.state.items()}

    def load(
        self, state: Mapping[str, np.ndarray], layouts: Mapping[str, str] | None = None
    ) -> None:
        """Replace the state, and discard all models."""
        self._call = replace(self._call, state=dict(state))
        self._runs.clear()
