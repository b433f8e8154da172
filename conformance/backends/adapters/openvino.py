"""OpenVINO on the CPU, on models of `onnx_graph`: as it comes, and held to float32.

On CPUs with AVX-512 BF16 or AMX its default precision of inference is bfloat16, whatever the model
says; `openvino` declares that, `openvino-f32` asks for float32. float64 and int64 are not offered:
the CPU plugin computes them in float32 and int32. A module's state is input of the models, which
are compiled once for every structure and shape.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import onnx
import openvino as ov

from conformance.backends.adapters.onnx.graph import GraphBackend, Made, Run
from conformance.backends.adapters.onnx.nodes import BFLOAT16
from conformance.model.case import Call, Numerics, Unsupported

DTYPES = ("float32", "float16", "bfloat16")
# What the report of a model that was not fully converted says it has no translation for.
_LACKS = re.compile(r"^Unsupported .*|^.* is (?:not|only) supported .*", re.MULTILINE)
# What the plugin says of an operator as it compiles, of none that it refuses.
_PLUGIN_LACKS = re.compile(r"^.* is supported only .*", re.MULTILINE)
# Elu, Celu and Selu are eˣ − 1 as a difference: measured 1.9·2⁻²⁴ on two million points, and of Elu
# in bfloat16 0.5·2⁻²⁴ besides the result's own rounding, at each of its numbers from −22 to 0.
EXPM1 = 2 * 2.0**-24
UNITS = {"f32": 2.0**-24, "bf16": 2.0**-8, "f16": 2.0**-11}


class OpenVino(GraphBackend):
    """OpenVINO's CPU plugin.

    Args:
        name: the backend's name.
        precision: the precision hint, `"f32"`; None = the plugin's own choice.
    """

    fixed = True
    constant = False
    compile_seconds = 0.1  # with the several shapes that a case's checks ask for
    refusals = (ov.frontend.GeneralFailure, ov.frontend.OpConversionFailure)

    def __init__(self, name: str, precision: str | None = None) -> None:
        super().__init__(name)
        self._core = ov.Core()
        self._options: dict[str, Any] = {}
        if precision:
            self._options["INFERENCE_PRECISION_HINT"] = precision
        threads = os.environ.get("OMP_NUM_THREADS", "")
        if threads.isdigit():
            self._options["INFERENCE_NUM_THREADS"] = int(threads)
        self._compiled = lru_cache(maxsize=256)(self._compile)

    @property
    def precision(self) -> str:
        """The precision in which float32 models are computed."""
        chosen = self._options.get("INFERENCE_PRECISION_HINT")
        if chosen is None:
            chosen = self._core.get_property("CPU", "INFERENCE_PRECISION_HINT").to_string()
        return {"bfloat16": "bf16", "float16": "f16"}.get(str(chosen), str(chosen))

    def info(self) -> Mapping[str, str]:
        """Versions, the processor and the precision."""
        return {
            **super().info(),
            "openvino": str(ov.__version__),
            "processor": str(self._core.get_property("CPU", "FULL_DEVICE_NAME")),
            "inference precision": self.precision,
        }

    def offers(self, layer: str, dtype: str, device: str) -> bool:
        """float32 and the half precisions; Einsum has no bfloat16."""
        einsum = layer in ("Bilinear", "functional.bilinear")
        offered = dtype in DTYPES and not (einsum and dtype == "bfloat16")
        return offered and super().offers(layer, dtype, device)

    def numerics(self, dtype: str) -> Numerics:
        """The precision of inference, where it is less than the dtype's."""
        unit = UNITS.get(self.precision, 0.0)
        own = UNITS["bf16" if dtype == "bfloat16" else dtype.replace("float", "f")]
        # x86 multiplies bfloat16 without subnormals, and a bias that is an input of the model is
        # added to a sum that was rounded already. What a model has in bfloat16 stays so, whatever
        # precision is asked for: each operator that the plugin makes of one stores its result.
        brief = max(unit, own) == UNITS["bf16"]
        declared = Numerics(
            accumulation="bfloat16" if brief else None, flush_to_zero=brief, stepwise=brief,
            absolute={"expm1": EXPM1},
        )  # fmt: skip
        if unit <= own:
            return declared
        # Operands are rounded as they are read.
        return replace(declared, unit_roundoff=unit, operand_roundoff=unit)

    def prepare(
        self, call: Call, inputs: Sequence[np.ndarray | None], keywords: Mapping[str, Any]
    ) -> tuple[Run, Made]:
        """As everywhere, but for int64, of which the CPU plugin keeps 32 bits, and other dtypes.

        What is cast in the midst of a model stays in the precision of inference.
        """
        within = call.arguments.get("dtype")
        if within not in (None, call.dtype):
            raise Unsupported(f"dtype={within!r}, which the CPU plugin has in its own precision")
        if any(x is not None and x.dtype == np.int64 for x in inputs):
            raise Unsupported("input of int64, which the CPU plugin has as int32")
        return super().prepare(call, inputs, keywords)

    def compile(self, model: onnx.ModelProto) -> Run:
        """Compile a model, or take what was compiled of one just like it."""
        return self._compiled(model.SerializeToString())

    def _compile(self, model: bytes) -> Run:
        try:
            read = self._core.read_model(model, b"")
        except RuntimeError as error:
            lacks = _LACKS.search(str(error))
            if lacks is None:
                raise
            raise Unsupported(lacks[0].strip()) from error
        try:
            compiled = self._core.compile_model(read, "CPU", self._options)
        except RuntimeError as error:
            lacks = _PLUGIN_LACKS.search(str(error))
            if lacks is None:
                raise
            raise Unsupported(lacks[0].strip()) from error
        request = compiled.create_infer_request()

        def run(inputs: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
            request.infer({name: _tensor(x) for name, x in inputs.items()})
            return [_array(output) for output in request.output_tensors]

        return run


def _tensor(x: np.ndarray) -> Any:
    """A tensor; bfloat16 by its bits."""
    if x.dtype != BFLOAT16:
        return x.copy(order="C")
    return ov.Tensor(x.view(np.uint16).copy(order="C"), x.shape, ov.Type.bf16)


def _array(tensor: Any) -> np.ndarray:
    """A copy; the bits of a bfloat16 tensor come as float16."""
    data = np.array(tensor.data)
    return data.view(BFLOAT16) if tensor.element_type == ov.Type.bf16 else data


backend = OpenVino("openvino")
f32 = OpenVino("openvino-f32", "f32")
