"""ONNX Runtime on the CPU, on models of `onnx.graph`, with its default optimisations."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from conformance.backends.adapters.onnx.graph import GraphBackend, Run
from conformance.backends.adapters.onnx.networks import LAYERS as NETWORKS
from conformance.backends.adapters.onnx.nodes import BFLOAT16, Graph, Value, numpy_dtype
from conformance.backends.adapters.onnx.translation import (
    BY_RANK,
    FUNCTIONS,
    build_model,
    main_operator,
)
from conformance.layers import CATALOGUE
from conformance.model.case import Call, Numerics, Unsupported

PROVIDERS = ["CPUExecutionProvider"]
MISSING_KERNEL = "Could not find an implementation"


Level: Any = ort.GraphOptimizationLevel
DEFAULT_LEVEL: Any = Level.ORT_ENABLE_ALL


def session_options(level: Any = DEFAULT_LEVEL, threads: int | None = None) -> Any:
    """Session options: a level of optimisation, the number of threads, and no log."""
    session_options_object = ort.SessionOptions()
    session_options_object.log_severity_level = 4
    session_options_object.graph_optimization_level = level
    number = os.environ.get("OMP_NUM_THREADS", "") if threads is None else str(threads)
    if number.isdigit():
        session_options_object.intra_op_num_threads = int(number)
    return session_options_object


def create_session(
    model: onnx.ModelProto, level: Any = DEFAULT_LEVEL, threads: int | None = None
) -> Any:
    """Create a session for a model; `threads` is None for the number at the start.

    Raises:
        Unsupported: if ONNX Runtime reports that it lacks a kernel for an operator and dtype.
    """
    try:
        return ort.InferenceSession(
            model.SerializeToString(), session_options(level, threads), providers=PROVIDERS
        )
    except errors.NotImplemented as error:
        reason = str(error).rpartition(" : ")[2].partition(" with name")[0]
        raise Unsupported(reason) from error


_SCRIPT_COMPILED = '''
def compiled(model):
    """A function that returns the outputs of a model."""
    options = ort.SessionOptions()
    options.graph_optimization_level = LEVEL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda **inputs: session.run(None, inputs)
'''


class OnnxRuntime(GraphBackend):
    """ONNX Runtime; a call without a kernel is Unsupported.

    Args:
        level: which optimisations of the graph run.
        less_optimized: the same with fewer of them.
    """

    script_compiled = _SCRIPT_COMPILED
    refusals = (errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.RuntimeException)

    def __init__(
        self, name: str, level: Any = DEFAULT_LEVEL, less_optimized: tuple[str, ...] = ()
    ) -> None:
        super().__init__(name)
        self._level, self.less_optimized = level, less_optimized
        self._threads: int | None = None
        level_text = f"LEVEL = ort.GraphOptimizationLevel.{level.name}"
        self.script_imports = ("import onnxruntime as ort", "", level_text)

    def info(self) -> Mapping[str, str]:
        """Versions, execution providers, and the number of threads."""
        return {
            **super().info(),
            "onnxruntime": ort.__version__,
            "providers": ", ".join(PROVIDERS),
            "threads": str(session_options().intra_op_num_threads or "default"),
        }

    def numerics(self, dtype: str, device: str = "cpu", layer: str = "") -> Numerics:
        """Declare absolute errors of tanh, the logistic function and eˣ − 1.

        RNN, LSTM and GRU use rational approximations of tanh and the logistic function in float32.
        Their error is absolute, even for small values. Measured: LSTM's tanh within 3.5·2⁻²⁴, GRU's
        within 10.1·2⁻²⁴ (it is 1 + 8·2⁻²⁴ from x = 10 on), the logistic function within 5.1·2⁻²⁴.

        Elu, Celu and Selu compute eˣ − 1 as a difference: eˣ ≤ 1 within 1.3·2⁻²⁴, and half a unit
        for the difference. Measured: 1.2·2⁻²⁴ on six million points.

        float16 is computed in float32 and rounded after each operator. In float64 the recurrent
        kernels report that they do not support double yet. Sigmoid has an absolute error there,
        too: measured 1.5·2⁻⁵³ on 300,000 points from −700 to 40.

        The constants of a network are stored in float16, also those that an optimisation computes:
        a norm that is folded into a convolution.
        """
        if dtype == "float64":
            return Numerics(absolute={"sigmoid": 2 * 2.0**-53})
        u = 2.0**-24
        absolute = {"tanh": 11 * u, "sigmoid": 6 * u, "expm1": 2 * u}
        if layer in NETWORKS and dtype == "float16":
            return Numerics(absolute=absolute, stepwise=True)
        return Numerics(absolute=absolute, grade="one rounding")

    @cache  # noqa: B019 - there is one backend of the class
    def offers(self, layer: str, dtype: str, device: str) -> bool:
        """Create a session to find out whether the layer's operator has a kernel for the dtype."""
        if dtype.startswith("complex") or layer not in FUNCTIONS:
            return False
        if layer not in BY_RANK:
            return _has_kernels(layer, dtype)
        operator = main_operator(layer)
        graph = Graph(numpy_dtype(dtype))
        ranks = {"Identity": 1, "Einsum": 1, "MatMul": 2}.get(operator, 3)
        form = (0,) * ranks
        count = {"Identity": 1, "RNN": 3, "LSTM": 3, "GRU": 3}.get(operator, 2)
        inputs = [Value(f"input_{k}", form, graph.dtype) for k in range(count)]
        attributes: dict[str, Any] = {"hidden_size": 1} if count == 3 else {}
        if operator == "Einsum":
            attributes["equation"] = "i,i->i"
        output = graph.add(operator, *(x.name for x in inputs), **attributes)
        try:
            create_session(graph.build_model(inputs, [output], fixed=False))
        except (Unsupported, errors.InvalidGraph):
            return False
        return True

    def use_threads(self, count: int | None) -> None:
        """Give so many threads to the sessions that are created from now on."""
        self._threads = count

    def compile(self, model: onnx.ModelProto) -> Run:
        """Create a session, and return a function that runs it."""
        session_object = create_session(model, self._level, self._threads)
        # An embedding with a constant weight has bfloat16 only in its output.
        places = (*session_object.get_inputs(), *session_object.get_outputs())
        by_bits = any(place.type == "tensor(bfloat16)" for place in places)

        def run(inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
            if by_bits:
                values = session_object.run_with_ort_values(
                    None, {k: _to_ort_value(x) for k, x in inputs.items()}
                )
                return [_to_array(value) for value in values]
            return [np.asarray(y) for y in session_object.run(None, dict(inputs))]

        return run


def _has_kernels(layer: str, dtype: str) -> bool:
    """Whether a session for the layer's first workload can be created."""
    spec = CATALOGUE[layer]
    workload = spec.benchmark.workloads[0]
    integer_inputs = {*spec.benchmark.filling.array_makers, *workload.index_limits}
    inputs = [
        np.broadcast_to(
            numpy_dtype("int64" if place.name in integer_inputs else dtype).type(0), shape
        )
        for place, shape in zip(spec.signature.inputs, workload.inputs, strict=False)
    ]
    call = Call(layer, workload.arguments, {}, dtype, "cpu")
    try:
        create_session(build_model(call, inputs, {}, fixed=False, constant=False).model)
    except Unsupported as reason:
        return not str(reason).startswith(MISSING_KERNEL)
    except errors.InvalidGraph:
        return False
    return True


def _to_ort_value(x: np.ndarray) -> Any:
    """Convert an array to an OrtValue; ONNX Runtime takes NumPy's bfloat16 only as bits."""
    if x.dtype != BFLOAT16:
        return ort.OrtValue.ortvalue_from_numpy(x)
    bits = x.view(np.uint16).copy(order="C")
    return ort.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, onnx.TensorProto.BFLOAT16)


def _to_array(value: Any) -> np.ndarray:
    if value.data_type() != "tensor(bfloat16)":
        return value.numpy()  # type: ignore[no-any-return]
    size = value.tensor_size_in_bytes()
    raw = ctypes.string_at(value.data_ptr(), size) if size else b""
    return np.frombuffer(raw, dtype=BFLOAT16).reshape(value.shape())


extended = OnnxRuntime("onnxruntime-extended", Level.ORT_ENABLE_EXTENDED)
basic = OnnxRuntime("onnxruntime-basic", Level.ORT_ENABLE_BASIC)
unoptimized = OnnxRuntime("onnxruntime-unoptimized", Level.ORT_DISABLE_ALL)
_LESS_OPTIMIZED = tuple(f"{__name__}:{name}" for name in ("extended", "basic", "unoptimized"))
backend = OnnxRuntime("onnxruntime", less_optimized=_LESS_OPTIMIZED)
